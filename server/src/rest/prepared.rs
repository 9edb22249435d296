//! What is written: a resource with its index entries, made before the transaction, and what came of the write.

use std::sync::Arc;

use fhir::date::format_instant;
use fhir::json::{Json, Object, write_string};
use fhir::outcome::{Issue, IssueCode, Severity};
use search::entry::Extracted;
use store::{Change, Method, Tx};

use super::{Context, elements, operation};
use crate::access;
use crate::error::Error;
use crate::search_parameters;

/// A resource that is checked, indexed and written but for its version: what is left costs a transaction nothing.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Resource type.
    pub resource_type: String,
    /// Logical id.
    pub id: String,
    /// The resource without `meta.versionId` and `meta.lastUpdated`.
    pub resource: Json,
    /// Its index entries.
    pub extracted: Arc<Extracted>,
    /// Generation of the search parameters that made them.
    generation: i64,
    /// The text up to the version, and after `meta.lastUpdated`.
    head: String,
    tail: String,
}

/// What a write did.
#[derive(Clone, Debug)]
pub struct Written {
    /// Whether the resource did not exist before.
    pub created: bool,
    /// Whether anything was written: if not, the audit trail has no event of a write.
    pub changed: bool,
    /// Resource type.
    pub resource_type: String,
    /// Logical id.
    pub id: String,
    /// The version that is current now.
    pub version: i64,
    /// Its `meta.lastUpdated`.
    pub last_updated: i64,
    /// What is served from now on.
    pub body: Arc<str>,
}

impl Written {
    /// Tells the audit trail of what was there already and is handed out.
    pub fn tell(&self, context: &Context) {
        if self.changed {
            return;
        }
        context.caller.saw(&self.body);
        if !context.is_part {
            let found = self.reference();
            context.caller.trail.note(|noted| (noted.version, noted.found) = (Some(self.version), Some(found)));
        }
    }

    /// Where this version is.
    pub fn reference(&self) -> String {
        format!("{}/{}/_history/{}", self.resource_type, self.id, self.version)
    }
}

impl Prepared {
    /// Checks `resource` against the definitions and the caller's rights, and indexes it as `resource_type/id`.
    pub fn new(context: &Context, resource_type: &str, id: &str, resource: Json) -> Result<Self, Error> {
        elements::refuse_subsetted(&resource)?;
        operation::refuse_own(resource_type, id)?;
        let resource = ordered(resource, resource_type, id)?;
        let issues: Vec<Issue> = validation::validate(&resource);
        if issues.iter().any(|issue| issue.severity >= Severity::Error) {
            return Err(Error::bad_request(issues));
        }
        Self::indexed(context, resource_type, id, resource)
    }

    /// The same resource under another id, which was checked already.
    pub fn renamed(&self, context: &Context, id: &str) -> Result<Self, Error> {
        let resource = ordered(self.resource.clone(), &self.resource_type, id)?;
        Self::indexed(context, &self.resource_type, id, resource)
    }

    /// The same but for references, which `rewrite` changes.
    pub fn rewritten(&self, context: &Context, rewrite: impl FnOnce(&mut Json)) -> Result<Self, Error> {
        let mut resource = self.resource.clone();
        rewrite(&mut resource);
        Self::indexed(context, &self.resource_type, &self.id, resource)
    }

    fn indexed(context: &Context, resource_type: &str, id: &str, resource: Json) -> Result<Self, Error> {
        let generation = search::registry::registry().generation();
        let extracted = extract(&resource, &context.base)?;
        access::check_write(&context.caller, &resource, &extracted)?;
        let (head, tail) = halves(&resource);
        Ok(Prepared {
            resource_type: resource_type.into(),
            id: id.into(),
            resource,
            extracted: Arc::new(extracted),
            generation,
            head,
            tail,
        })
    }

    /// The text that is stored and served.
    pub fn text(&self, version: i64, last_updated: i64) -> String {
        let (head, tail) = (&self.head, &self.tail);
        format!("{head}{version}\",\"lastUpdated\":\"{}\"{tail}", format_instant(last_updated))
    }

    /// Whether `stored` says the same apart from `meta.versionId` and `meta.lastUpdated`.
    pub fn says_the_same(&self, stored: &str) -> bool {
        const BETWEEN: &str = "\",\"lastUpdated\":\"";
        const INSTANT: usize = "2026-01-02T03:04:05.678901Z\"".len();
        let rest = stored.strip_prefix(self.head.as_str()).and_then(|rest| rest.split_once(BETWEEN));
        rest.is_some_and(|(_, rest)| rest.get(INSTANT..) == Some(self.tail.as_str()))
    }

    /// Writes it as `version`.
    pub async fn put(
        &self,
        tx: &mut Tx,
        context: &Context,
        (version, last_updated): (i64, i64),
        method: Method,
    ) -> Result<Written, Error> {
        let anew = search_parameters::indexed_anew(tx, context, self.generation, &self.resource).await?;
        let text = self.text(version, last_updated);
        let body: Arc<str> = text.as_str().into();
        tx.put(Change {
            resource_type: self.resource_type.clone(),
            id: self.id.clone(),
            version,
            last_updated,
            method,
            body: Some(text),
            extracted: anew.map_or_else(|| self.extracted.clone(), Arc::new),
            actor: context.caller.actor().to_owned(),
            event: context.event(),
        })
        .await?;
        search_parameters::written(tx, context, (&self.resource_type, &self.id), Some(&self.resource)).await?;
        let (resource_type, id) = (self.resource_type.clone(), self.id.clone());
        Ok(Written { created: version == 1, changed: true, resource_type, id, version, last_updated, body })
    }
}

/// Index entries of a resource.
pub fn extract(resource: &Json, base: &str) -> Result<Extracted, Error> {
    search::extract::extract(resource, base)
        .map_err(|error| Error::unprocessable(Issue::error(IssueCode::Processing, error.to_string())))
}

/// The resource with `resourceType`, `id` and `meta` first; what the server sets in `meta` is taken out.
fn ordered(resource: Json, resource_type: &str, id: &str) -> Result<Json, Error> {
    let Json::Object(mut resource) = resource else {
        return Err(Error::bad_request(Issue::error(IssueCode::Structure, "the body is not a JSON object")));
    };
    let stated = resource.remove("resourceType");
    if stated.as_ref().and_then(Json::as_str) != Some(resource_type) {
        let found = stated.as_ref().and_then(Json::as_str).unwrap_or("nothing");
        let text = format!("resourceType must be {resource_type}, found {found}");
        return Err(Error::bad_request(Issue::error(IssueCode::Invalid, text).at(resource_type)));
    }
    resource.remove("id");
    let mut meta = match resource.remove("meta") {
        None => Object::new(),
        Some(Json::Object(meta)) => meta,
        Some(_) => {
            let issue = Issue::error(IssueCode::Structure, "meta must be an object");
            return Err(Error::bad_request(issue.at(format!("{resource_type}.meta"))));
        }
    };
    for name in ["versionId", "_versionId", "lastUpdated", "_lastUpdated"] {
        meta.remove(name);
    }
    resource.insert_at(0, "resourceType", resource_type);
    resource.insert_at(1, "id", id);
    if !meta.is_empty() {
        resource.insert_at(2, "meta", meta);
    }
    Ok(Json::Object(resource))
}

/// The text of an ordered resource up to the version, and after `meta.lastUpdated`.
fn halves(resource: &Json) -> (String, String) {
    let text = |name: &str| resource.str(name).unwrap_or_default();
    let mut head = String::from("{\"resourceType\":");
    write_string(text("resourceType"), &mut head);
    head.push_str(",\"id\":");
    write_string(text("id"), &mut head);
    head.push_str(",\"meta\":{\"versionId\":\"");
    let mut tail = String::new();
    let meta = resource.get("meta").and_then(Json::as_object);
    for (name, value) in meta.into_iter().flat_map(Object::iter) {
        write_member(name, value, &mut tail);
    }
    tail.push('}');
    for (name, value) in resource.as_object().into_iter().flat_map(Object::iter) {
        if !["resourceType", "id", "meta"].contains(&name) {
            write_member(name, value, &mut tail);
        }
    }
    tail.push('}');
    (head, tail)
}

fn write_member(name: &str, value: &Json, out: &mut String) {
    out.push(',');
    write_string(name, out);
    out.push(':');
    value.write(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::object;

    fn prepared(resource: Json) -> Prepared {
        let id = "a";
        let resource = ordered(resource, "Patient", id).unwrap();
        let (head, tail) = halves(&resource);
        Prepared {
            resource_type: "Patient".into(),
            id: id.into(),
            resource,
            extracted: Arc::default(),
            generation: 0,
            head,
            tail,
        }
    }

    #[test]
    fn identity_and_meta_stand_first_and_the_rest_keeps_its_order() {
        let meta =
            object! { "versionId": "77", "profile": fhir::array!["http://p"], "lastUpdated": "1999-01-01T00:00:00Z" };
        let sent = object! { "gender": "male", "meta": meta, "id": "zzz", "active": true, "resourceType": "Patient" };
        let text = prepared(sent).text(3, 1_767_323_045_678_901);
        assert_eq!(
            text,
            "{\"resourceType\":\"Patient\",\"id\":\"a\",\"meta\":{\"versionId\":\"3\",\"lastUpdated\":\
             \"2026-01-02T03:04:05.678901Z\",\"profile\":[\"http://p\"]},\"gender\":\"male\",\"active\":true}"
        );
        assert!(Json::parse(text.as_bytes()).is_ok());
    }

    #[test]
    fn a_resource_of_identity_only_is_well_formed() {
        let text = prepared(object! { "resourceType": "Patient" }).text(1, 0);
        assert_eq!(Json::parse(text.as_bytes()).unwrap().str("resourceType"), Some("Patient"));
    }

    #[test]
    fn equal_content_is_seen_whatever_the_version() {
        let active = prepared(object! { "resourceType": "Patient", "active": true });
        assert!(active.says_the_same(&active.text(12, 1_000_000)));
        let other = prepared(object! { "resourceType": "Patient", "active": false });
        assert!(!other.says_the_same(&active.text(12, 1_000_000)));
        let tagged = prepared(object! { "resourceType": "Patient", "meta": object! { "source": "x" }, "active": true });
        assert!(!tagged.says_the_same(&active.text(12, 1_000_000)));
        assert!(!active.says_the_same(""));
    }

    #[test]
    fn another_type_than_that_of_the_path_is_refused() {
        let error = ordered(object! { "resourceType": "Device" }, "Patient", "a").unwrap_err();
        assert_eq!(error.status(), 400);
        assert!(ordered(Json::Null, "Patient", "a").is_err());
    }
}
