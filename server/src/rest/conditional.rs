//! Conditions on interactions: versions, dates, criteria. <https://hl7.org/fhir/R4/http.html#concurrency>,
//! <https://hl7.org/fhir/R4/http.html#ccreate>, <https://hl7.org/fhir/R4/http.html#cread>
//!
//! | condition | where | not met |
//! |---|---|---|
//! | `If-Match` | update, patch, delete | 412 |
//! | `If-None-Match: *` | update, patch, delete | 412 |
//! | `If-None-Match`, `If-Modified-Since` | read | 304 |
//! | `If-None-Exist: criteria` | create | one match: 200 and no new resource; more: 412 |
//! | `PUT Type?criteria` | update | more than one match: 412 |
//! | `PATCH Type?criteria` | patch | no match: 404; more than one: 412 |
//! | `DELETE Type?criteria` | delete | more than one match: 412, unless `conditional-delete` is `multiple` |
//!
//! Criteria are answered inside the caller's view, and refused to callers bound to patients on types that identify
//! people or things beyond their compartment. (LK-26) A parameter that is unknown is 400 always. (LK-43)

use actix_web::HttpRequest;
use fhir::date::{SECOND, parse_http_date};
use fhir::definitions::is_resource_type;
use fhir::outcome::{Issue, IssueCode};
use search::parse::{Options, criteria};
use search::query::{Elements, Query};
use search::view::Compartment;
use store::{Store, Stored, Tx};

use crate::access::{self, Interaction};
use crate::error::Error;
use crate::rest::Context;
use crate::rest::request::{self, Pairs};
use crate::rest::search::terminology::Lookup;

/// Types whose matches may lie outside of a patient's compartment: there a conditional write of a caller bound to
/// patients would make duplicates of what it cannot see.
const IDENTITY: &[&str] = &[
    "Coverage",
    "Device",
    "Group",
    "Location",
    "Organization",
    "Patient",
    "Person",
    "Practitioner",
    "PractitionerRole",
    "RelatedPerson",
];

/// How often criteria are asked anew where other transactions change what they match.
const ATTEMPTS: usize = 8;

/// Conditions on the version of the instance that a write is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// `If-Match`.
    pub if_match: Option<String>,
    /// `If-None-Match`, for writes only `*`.
    pub if_none_match: Option<String>,
}

/// Search criteria that say which resource is meant.
#[derive(Clone, Debug)]
pub struct Criteria {
    /// What is searched; two matches are enough to know that there are several.
    query: Query,
    /// The same criteria, however written, have the same key: only one transaction at a time works on them.
    lock_key: String,
}

impl Preconditions {
    /// From the headers of a write.
    pub fn of(request: &HttpRequest) -> Result<Self, Error> {
        let text = |name| request::header(request, name).map(|value| value.map(str::to_owned));
        Preconditions { if_match: text("If-Match")?, if_none_match: text("If-None-Match")? }.checked()
    }

    /// Refuses what would be ignored.
    pub fn checked(self) -> Result<Self, Error> {
        match self.if_none_match.as_deref().map(str::trim) {
            None | Some("*") => Ok(self),
            Some(_) => Err(Error::bad_request("If-None-Match on a write is supported as * only")),
        }
    }

    /// Whether they hold for what is there now.
    pub fn check(&self, current: Option<&Stored>) -> Result<(), Error> {
        let version = current.filter(|stored| !stored.deleted).map(|stored| stored.version);
        if self.if_none_match.is_some() && version.is_some() {
            return Err(Error::precondition_failed("If-None-Match: the resource exists"));
        }
        match (&self.if_match, version) {
            (None, _) => Ok(()),
            (Some(tags), Some(version)) if matches_tag(tags, version) => Ok(()),
            (Some(_), Some(version)) => {
                Err(Error::precondition_failed(format!("If-Match: the current version is {version}")))
            }
            (Some(_), None) => Err(Error::precondition_failed("If-Match: there is no current version")),
        }
    }
}

impl Criteria {
    /// Reads criteria on `resource_type`, as in `If-None-Exist`, and checks that the caller may use them. Codes that they
    /// ask for are looked up at once: they are asked inside of transactions, too.
    pub async fn prepare(
        lookup: &mut Lookup<'_>,
        context: &Context,
        resource_type: &str,
        text: &str,
    ) -> Result<Self, Error> {
        let confined = matches!(context.caller.view.compartment(), Compartment::Patients(_));
        if confined && IDENTITY.contains(&resource_type) {
            let text = format!("conditional writes of {resource_type} need a token that is not bound to patients");
            return Err(Error::forbidden(text));
        }
        Self::of_reference(lookup, context, resource_type, text).await
    }

    /// Reads criteria that stand in a reference of a transaction.
    pub async fn of_reference(
        lookup: &mut Lookup<'_>,
        context: &Context,
        resource_type: &str,
        text: &str,
    ) -> Result<Self, Error> {
        access::decide(&context.caller, Interaction::Search, resource_type)?;
        let text = text.strip_prefix('?').unwrap_or(text);
        let mut pairs: Pairs = request::without_general(request::pairs(text)?);
        let options = Options::at_most(2, context.base.to_string(), context.clock.now());
        let mut query = criteria(resource_type, &pairs, &options).map_err(Error::bad_request)?;
        access::decide_search(&context.caller, &mut query)?;
        let more = !query.includes.is_empty()
            || !query.sort.is_empty()
            || query.cursor.is_some()
            || query.elements != Elements::All
            || query.explain;
        if query.filters.is_empty() || more {
            let text = format!(
                "the criteria \"{text}\" must say by at least one search parameter which {resource_type} is meant, and nothing else"
            );
            return Err(Error::bad_request(Issue::error(IssueCode::Invalid, text)));
        }
        lookup.resolve(&mut query).await?;
        query.count = 2;
        query.total = false;
        pairs.sort_unstable();
        Ok(Criteria { query, lock_key: named(resource_type, &pairs) })
    }

    /// The key on which transactions with the same criteria wait for each other.
    pub fn lock_key(&self) -> &str {
        &self.lock_key
    }

    /// The conditions, to ask a resource that is not in the store yet.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// The one visible match, if there is one; several are 412.
    pub async fn find(&self, tx: &mut Tx, context: &Context) -> Result<Option<Stored>, Error> {
        single(self.matches(tx, context).await?)
    }

    /// The same criteria, which find up to `count` matches instead of two.
    #[must_use]
    pub fn up_to(mut self, count: usize) -> Self {
        self.query.count = count;
        self
    }

    /// The one visible match as it stands, locked until the transaction ends; several are 412.
    pub async fn find_current(&self, tx: &mut Tx, context: &Context) -> Result<Option<Stored>, Error> {
        let found = self.all_current(tx, context).await?;
        single(found)
    }

    /// All visible matches as they stand, locked until the transaction ends. What another transaction changed between
    /// the search and the lock need not match any more: then they are asked anew.
    pub async fn all_current(&self, tx: &mut Tx, context: &Context) -> Result<Vec<Stored>, Error> {
        for _ in 0..ATTEMPTS {
            let found = self.matches(tx, context).await?;
            let names: Vec<(&str, &str)> =
                found.iter().map(|stored| (stored.resource_type.as_str(), stored.id.as_str())).collect();
            tx.lock(&names).await?;
            let mut changed = false;
            for stored in &found {
                let current = tx.current(&context.caller.view, &stored.resource_type, &stored.id).await?;
                changed |= current.is_none_or(|current| current.version != stored.version);
            }
            if !changed {
                return Ok(found);
            }
        }
        Err(Error::conflict("what the criteria match is changed again and again; try again"))
    }

    /// The visible matches as this transaction sees them: two at most, unless [`up_to`](Self::up_to) says otherwise.
    pub async fn matches(&self, tx: &mut Tx, context: &Context) -> Result<Vec<Stored>, Error> {
        Ok(tx.search(&context.caller.view, &self.query).await?.matches)
    }

    /// What [`Criteria::matches`] will probably find: lets the costly work be done before the transaction.
    pub async fn matches_before(&self, store: &Store, context: &Context) -> Result<Vec<Stored>, Error> {
        Ok(store.search(&context.caller.view, &self.query).await?.matches)
    }

    /// The id that [`Criteria::find`] will probably find.
    pub async fn guess(&self, store: &Store, context: &Context) -> Result<Option<String>, Error> {
        Ok(self.matches_before(store, context).await?.into_iter().next().map(|stored| stored.id))
    }
}

/// Whether a client that has these validators has this version already.
pub fn is_not_modified(if_none_match: Option<&str>, if_modified_since: Option<&str>, stored: &Stored) -> bool {
    match (if_none_match, if_modified_since) {
        (Some(tags), _) => matches_tag(tags, stored.version),
        (None, Some(date)) => parse_http_date(date)
            .is_some_and(|since| stored.last_updated.div_euclid(SECOND) <= since.div_euclid(SECOND)),
        (None, None) => false,
    }
}

/// The same name for the same criteria, and another one for all others: values are quoted, so that a `&` or `=` in a
/// value is not taken for the end of it.
fn named(resource_type: &str, pairs: &[(String, String)]) -> String {
    pairs.iter().fold(format!("{resource_type}?"), |key, (name, value)| format!("{key}{name:?}={value:?}&"))
}

/// The only match, if there is one; several are 412.
pub fn single(matches: Vec<Stored>) -> Result<Option<Stored>, Error> {
    if matches.len() > 1 {
        let text = "the criteria match more than one resource";
        return Err(Error::precondition_failed(Issue::error(IssueCode::MultipleMatches, text)));
    }
    Ok(matches.into_iter().next())
}

/// The type that a reference searches, if it is criteria: `Patient?identifier=…`.
pub fn searched_type(reference: &str) -> Option<&str> {
    reference.split_once('?').map(|(resource_type, _)| resource_type).filter(|name| is_resource_type(name))
}

/// Whether a list of entity tags, weak or strong, names the version.
fn matches_tag(tags: &str, version: i64) -> bool {
    tags.split(',').map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) == Some(version.to_string().as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Method;

    fn stored(version: i64, deleted: bool) -> Stored {
        Stored {
            resource_type: "Patient".into(),
            id: "a".into(),
            version,
            last_updated: 1_500_000,
            deleted,
            body: "{}".into(),
            method: Method::Put,
        }
    }

    #[test]
    fn entity_tags() {
        for yes in ["W/\"3\"", "\"3\"", "*", "W/\"1\", W/\"3\""] {
            assert!(matches_tag(yes, 3), "{yes}");
        }
        for no in ["3", "W/3", "W/\"33\"", "\"\"", ""] {
            assert!(!matches_tag(no, 3), "{no}");
        }
    }

    #[test]
    fn if_match_needs_the_current_version() {
        let wants = |tag: &str| Preconditions { if_match: Some(tag.to_owned()), if_none_match: None };
        assert!(wants("W/\"3\"").check(Some(&stored(3, false))).is_ok());
        assert_eq!(wants("W/\"2\"").check(Some(&stored(3, false))).unwrap_err().status(), 412);
        assert_eq!(wants("W/\"3\"").check(Some(&stored(3, true))).unwrap_err().status(), 412);
        assert_eq!(wants("*").check(None).unwrap_err().status(), 412);
        let new = Preconditions { if_match: None, if_none_match: Some("*".into()) };
        assert!(new.check(None).is_ok() && new.check(Some(&stored(2, true))).is_ok());
        assert_eq!(new.check(Some(&stored(1, false))).unwrap_err().status(), 412);
        assert!(Preconditions { if_match: None, if_none_match: Some("W/\"1\"".into()) }.checked().is_err());
    }

    #[test]
    fn not_modified_is_to_the_second_and_tags_go_first() {
        let at = stored(2, false);
        assert!(is_not_modified(Some("W/\"2\""), None, &at));
        assert!(!is_not_modified(Some("W/\"1\""), Some("Thu, 01 Jan 1970 00:00:09 GMT"), &at));
        assert!(is_not_modified(None, Some("Thu, 01 Jan 1970 00:00:01 GMT"), &at));
        assert!(!is_not_modified(None, Some("Thu, 01 Jan 1970 00:00:00 GMT"), &at));
        assert!(!is_not_modified(None, Some("yesterday"), &at));
    }

    #[test]
    fn other_criteria_have_another_name() {
        let name = |pairs: &[(&str, &str)]| {
            let owned: Vec<_> = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            named("Patient", &owned)
        };
        assert_ne!(name(&[("name", "a&gender=male")]), name(&[("name", "a"), ("gender", "male")]));
        assert_ne!(name(&[("name", "a\"&\"gender\"=\"b")]), name(&[("name", "a"), ("gender", "b")]));
        assert_eq!(name(&[("name", "a")]), name(&[("name", "a")]));
    }

    #[test]
    fn several_matches_are_412() {
        assert!(single(Vec::new()).unwrap().is_none());
        assert_eq!(single(vec![stored(1, false), stored(1, false)]).unwrap_err().status(), 412);
    }
}
