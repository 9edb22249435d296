//! `$meta`, `$meta-add`, `$meta-delete`: profiles, tags and security labels.
//! <https://hl7.org/fhir/R4/resource-operation-meta.html>, <https://hl7.org/fhir/R4/resource-operation-meta-add.html>,
//! <https://hl7.org/fhir/R4/resource-operation-meta-delete.html>
//!
//! Changes go the way of every update, so they make a version: what was said about a resource, and by whom, stays
//! known. Where nothing changes there is none. (LK-28)

use std::sync::Arc;

use fhir::json::{Json, Object};
use fhir::object;
use fhir::outcome::IssueCode;
use search::parse::parse;
use search::query::{Filter, Query};
use search::view::TypeRule;

use super::{Invocation, Level, invalid, parameters};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::{Error, Kind};
use crate::rest::conditional::Preconditions;
use crate::rest::read::{self, Read};
use crate::rest::response::{Answer, etag};
use crate::rest::search::options;
use crate::rest::update::{self, Aim, Aimed};
use crate::rest::{Context, Prepared, Written, patch, vread};

/// The members that are sets of labels.
const SETS: [&str; 3] = ["profile", "security", "tag"];
/// Most resources that are looked at for the labels of a type or of the system.
const MAX_RESOURCES: usize = 10_000;

/// What is done with labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// They are added where they are not there.
    Add,
    /// They are taken out where they are there.
    Delete,
}

/// `$meta`.
pub(super) async fn read(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Answer, Error> {
    let target = &invocation.target;
    let (resource_type, id) = (target.resource_type.as_str(), target.id.as_str());
    let read = Read { resource_type, id, if_none_match: None, if_modified_since: None };
    let answer = match target.level() {
        Level::System | Level::Type => {
            return in_use(app, caller, resource_type).await.map(|meta| returned(meta.into()));
        }
        Level::Instance => read::execute(app, caller, read).await?,
        Level::Version => vread::execute(app, caller, read, &target.version).await?,
    };
    let resource = parsed(&answer.body.unwrap_or_default())?;
    Ok(returned(resource.get("meta").cloned().unwrap_or_else(|| Object::new().into())))
}

/// `$meta-add`, `$meta-delete`.
pub(super) async fn change(
    app: &App,
    caller: &Caller,
    invocation: &Invocation,
    change: Change,
) -> Result<Answer, Error> {
    let (resource_type, id) = (invocation.target.resource_type.as_str(), invocation.target.id.as_str());
    access::decide(caller, Interaction::Update, resource_type)?;
    let labels = invocation.input.resource("meta")?;
    check(labels)?;
    let context = Context::new(app, caller);
    let wanted = &invocation.preconditions;
    let read = Read { resource_type, id, if_none_match: None, if_modified_since: None };
    let current = app.store.read(&caller.view, resource_type, id).await?;
    caller.saw_one(current.as_ref());
    let current = read::answer(current, read)?;
    let written = if *wanted == Preconditions::default() {
        let mut resource = parsed(&current.body.unwrap_or_default())?;
        apply(&mut resource, labels, change);
        let unchanged = Preconditions { if_match: current.version.map(etag), ..Preconditions::default() };
        let aimed = Aimed { resource_type, aim: Aim::Id(id) };
        let update = update::prepare(app, &context, aimed, resource, unchanged).await?;
        match update::run(app, &context, update).await {
            Err(error) if error.kind() == Kind::PreconditionFailed => {
                change_of_current(app, &context, (resource_type, id), labels, change, wanted).await
            }
            done => done,
        }?
    } else {
        change_of_current(app, &context, (resource_type, id), labels, change, wanted).await?
    };
    let meta = parsed(&written.body)?.get("meta").cloned();
    Ok(returned(meta.unwrap_or_else(|| Object::new().into())))
}

/// The same inside of the transaction, where another change came before it, or the caller says of which version: then
/// it is the current version that counts.
async fn change_of_current(
    app: &App,
    context: &Context,
    (resource_type, id): (&str, &str),
    labels: &Json,
    change: Change,
    wanted: &Preconditions,
) -> Result<Written, Error> {
    let all = Arc::new((context.clone(), resource_type.to_owned(), id.to_owned(), labels.clone(), wanted.clone()));
    app.store
        .write(move |tx| {
            let all = all.clone();
            Box::pin(async move {
                let (context, resource_type, id, labels, wanted) = &*all;
                let current = tx.current(&context.caller.view, resource_type, id).await?;
                let current = patch::living(current, resource_type, Some(id))?;
                update::check_standing(context, &current.body)?;
                let mut resource = parsed(&current.body)?;
                apply(&mut resource, labels, change);
                let prepared = Prepared::new(context, resource_type, id, resource)?;
                update::execute_prepared(tx, context, &prepared, wanted, update::Origin::Known).await
            })
        })
        .await
}

/// All labels of what the caller can see of a type, or of all types.
async fn in_use(app: &App, caller: &Caller, resource_type: &str) -> Result<Object, Error> {
    let types: Vec<&str> = if resource_type.is_empty() {
        let may = |it: &&str| {
            access::decide(caller, Interaction::Search, it).is_ok() && *caller.view.rule(it) != TypeRule::Denied
        };
        let types: Vec<&str> = fhir::definitions::resource_types().iter().map(String::as_str).filter(may).collect();
        if types.is_empty() {
            access::decide(caller, Interaction::Search, "Patient")?;
        }
        types
    } else {
        access::decide(caller, Interaction::Search, resource_type)?;
        vec![resource_type]
    };
    let mut queries = types.into_iter().map(|it| labelled(app, it)).collect::<Result<Vec<Query>, Error>>()?;
    let (mut meta, mut seen) = (Object::new(), 0);
    while !queries.is_empty() {
        let page = match queries.as_slice() {
            [only] => app.store.search(&caller.view, only).await?,
            several => app.store.search_types(&caller.view, several).await?,
        };
        seen += page.matches.len();
        if seen > MAX_RESOURCES {
            let text =
                format!("more than {MAX_RESOURCES} resources have labels; ask for those of a type or an instance");
            return Err(invalid(IssueCode::TooCostly, text));
        }
        for stored in &page.matches {
            if let Some(Json::Object(labels)) = parsed(&stored.body)?.get("meta") {
                add(&mut meta, labels);
            }
        }
        let Some(next) = page.next else { break };
        for query in &mut queries {
            query.cursor = Some(next.clone());
        }
    }
    Ok(meta)
}

/// The resources of a type that have a label.
fn labelled(app: &App, resource_type: &str) -> Result<Query, Error> {
    let options = options(app, false);
    let mut alternatives = Vec::new();
    for name in ["_profile:missing", "_security:missing", "_tag:missing"] {
        let pairs = [(name.to_owned(), "false".to_owned())];
        let parsed = parse(resource_type, &pairs, &options).map_err(Error::bad_request)?;
        alternatives.extend(parsed.query.filters);
    }
    let mut query = Query::of(resource_type, options.max_count);
    query.filters.push(Filter::Or(alternatives));
    Ok(query)
}

/// Labels only; nothing that would have no effect.
fn check(labels: &Json) -> Result<(), Error> {
    let issues = validation::validate(
        &object! { "resourceType": "Basic", "code": object! { "text": "x" }, "meta": labels.clone() },
    );
    if !issues.is_empty() {
        return Err(Error::bad_request(issues));
    }
    for (name, _) in labels.as_object().into_iter().flat_map(Object::iter) {
        if !SETS.contains(&name) {
            let text = format!("meta.{name} cannot be added or taken out; profile, security and tag can");
            return Err(invalid(IssueCode::NotSupported, text));
        }
    }
    Ok(())
}

fn apply(resource: &mut Json, labels: &Json, change: Change) {
    let Some(resource) = resource.as_object_mut() else { return };
    let mut meta = resource.remove("meta").and_then(|meta| meta.as_object().cloned()).unwrap_or_default();
    let labels = labels.as_object().cloned().unwrap_or_default();
    match change {
        Change::Add => add(&mut meta, &labels),
        Change::Delete => delete(&mut meta, &labels),
    }
    if !meta.is_empty() {
        resource.insert("meta", meta);
    }
}

fn add(meta: &mut Object, labels: &Object) {
    for name in SETS {
        let mut set = meta.get(name).map(|set| set.items().to_vec()).unwrap_or_default();
        for label in labels.get(name).map(Json::items).unwrap_or_default() {
            if !set.iter().any(|known| is_same(known, label)) {
                set.push(label.clone());
            }
        }
        if !set.is_empty() {
            meta.insert(name, set);
        }
    }
}

fn delete(meta: &mut Object, labels: &Object) {
    for name in SETS {
        let unwanted = labels.get(name).map(Json::items).unwrap_or_default();
        let Some(set) = meta.get(name) else { continue };
        let keep = |known: &&Json| !unwanted.iter().any(|label| is_same(known, label));
        let kept: Vec<Json> = set.items().iter().filter(keep).cloned().collect();
        if kept.is_empty() {
            meta.remove(name);
        } else {
            meta.insert(name, kept);
        }
    }
}

/// "The identity of a tag or security label is the system+code."
fn is_same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Object(_), Json::Object(_)) => {
            one.str("system") == other.str("system") && one.str("code") == other.str("code")
        }
        _ => one == other,
    }
}

fn parsed(body: &str) -> Result<Json, Error> {
    Json::parse(body.as_bytes()).map_err(Error::internal)
}

/// The Meta; where there is nothing in it, no parameter: nothing in FHIR is empty.
fn returned(meta: Json) -> Answer {
    let is_empty = meta.as_object().is_some_and(Object::is_empty);
    let returned = (!is_empty).then(|| object! { "name": "return", "valueMeta": meta });
    Answer::resource(parameters(returned.into_iter().collect()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::array;

    #[test]
    fn labels_are_sets_by_system_and_code() {
        let tag = |code: &str, display: &str| object! { "system": "s", "code": code, "display": display };
        let mut resource = object! { "resourceType": "Patient", "meta": object! { "tag": array![tag("a", "A")] } };
        let labels = object! { "tag": array![tag("a", "other"), tag("b", "B")], "profile": array!["http://p"] };
        apply(&mut resource, &labels, Change::Add);
        let expected = object! { "tag": array![tag("a", "A"), tag("b", "B")], "profile": array!["http://p"] };
        assert_eq!(resource.get("meta"), Some(&expected));
        apply(&mut resource, &labels, Change::Delete);
        assert_eq!(resource.get("meta"), None);
        apply(&mut resource, &labels, Change::Delete);
        assert_eq!(resource.get("meta"), None);
    }

    #[test]
    fn only_labels_are_taken() {
        assert!(check(&object! { "tag": array![object! { "code": "a" }] }).is_ok());
        assert!(check(&object! { "versionId": "7" }).is_err());
        assert!(check(&object! { "tag": "a" }).is_err());
    }
}
