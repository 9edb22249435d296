//! `$validate`: what is wrong with a resource. <https://hl7.org/fhir/R4/resource-operation-validate.html>
//!
//! | `mode` | checked besides what R4 defines |
//! |---|---|
//! | none, `profile` | nothing |
//! | `create` | that the token may create it |
//! | `update` | that the instance is there, and the token may change it into this |
//! | `delete` | that the instance is there, and the token may delete it |
//!
//! The answer is 200 with an OperationOutcome, whatever is found. Profiles other than the type itself are refused: it
//! is not known whether a resource satisfies what is not checked.

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode, Severity, outcome};

use super::{Invocation, Level, invalid};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::{Error, Kind};
use crate::rest::read::{self, Read};
use crate::rest::response::Answer;
use crate::rest::update::{check_standing, check_stated};
use crate::rest::{Context, Prepared};

/// What is told of a resource in which nothing was found.
const CHECKED: &str =
    "nothing is wrong with elements, types, cardinalities and narrative; codes and profiles are not checked";

/// Validates; what the store has is read with the caller's rights.
pub(super) async fn execute(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Answer, Error> {
    let resource_type = invocation.target.resource_type.as_str();
    check_profile(invocation.input.text("profile"), resource_type)?;
    let given = invocation.input.value("resource");
    let issues = match invocation.input.text("mode") {
        None | Some("profile") => match given {
            Some(resource) => of(resource, resource_type),
            None => of(&stored(app, caller, invocation).await?, resource_type),
        },
        Some("create") => {
            let resource = needed(given)?;
            let context = Context::new(app, caller);
            let id = context.random.uuid();
            let tried = access::decide(caller, Interaction::Create, resource_type);
            issues_of(tried.and_then(|()| Prepared::new(&context, resource_type, &id, resource.clone()).map(drop)))?
        }
        Some("update") => {
            let resource = needed(given)?;
            instance(invocation)?;
            issues_of(update(app, caller, invocation, resource).await)?
        }
        Some("delete") => {
            instance(invocation)?;
            issues_of(delete(app, caller, invocation).await)?
        }
        Some(other) => {
            let text = format!("mode {other} is unknown; there are create, update, delete and profile");
            return Err(invalid(IssueCode::Value, text));
        }
    };
    let issues = if issues.is_empty() {
        vec![Issue::information(IssueCode::Informational, CHECKED).details("All OK")]
    } else {
        issues
    };
    Ok(Answer::resource(outcome(&issues).to_string()))
}

/// What is wrong with a resource of this type.
fn of(resource: &Json, resource_type: &str) -> Vec<Issue> {
    let stated = resource.str("resourceType").unwrap_or("nothing");
    if stated != resource_type {
        let text = format!("resourceType must be {resource_type}, found {stated}");
        return vec![Issue::error(IssueCode::Invalid, text).at(resource_type)];
    }
    validation::validate(resource)
}

async fn update(app: &App, caller: &Caller, invocation: &Invocation, resource: &Json) -> Result<(), Error> {
    let (resource_type, id) = (invocation.target.resource_type.as_str(), invocation.target.id.as_str());
    access::decide(caller, Interaction::Update, resource_type)?;
    let context = Context::new(app, caller);
    // Where nothing stands there, an update creates it.
    if let Some(before) = app.store.read(&caller.view, resource_type, id).await?.filter(|before| !before.deleted) {
        check_standing(&context, &before.body)?;
    }
    check_stated(resource_type, id, resource)?;
    Prepared::new(&context, resource_type, id, resource.clone()).map(drop)
}

async fn delete(app: &App, caller: &Caller, invocation: &Invocation) -> Result<(), Error> {
    access::decide(caller, Interaction::Delete, &invocation.target.resource_type)?;
    let before = current(app, caller, invocation).await?;
    check_standing(&Context::new(app, caller), &before)
}

/// The stored resource, with the right to read it.
async fn stored(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Json, Error> {
    if invocation.target.level() != Level::Instance {
        return needed(None).cloned();
    }
    access::decide(caller, Interaction::Read, &invocation.target.resource_type)?;
    let body = current(app, caller, invocation).await?;
    Json::parse(body.as_bytes()).map_err(Error::internal)
}

/// What stands there, if the caller can see it.
async fn current(app: &App, caller: &Caller, invocation: &Invocation) -> Result<String, Error> {
    let (resource_type, id) = (invocation.target.resource_type.as_str(), invocation.target.id.as_str());
    let read = Read { resource_type, id, if_none_match: None, if_modified_since: None };
    let answer = read::answer(app.store.read(&caller.view, resource_type, id).await?, read)?;
    Ok(answer.body.unwrap_or_default().to_string())
}

fn needed(resource: Option<&Json>) -> Result<&Json, Error> {
    resource.ok_or_else(|| invalid(IssueCode::Required, "parameter resource is missing; send what is to be validated"))
}

fn instance(invocation: &Invocation) -> Result<(), Error> {
    if invocation.target.level() == Level::Instance {
        return Ok(());
    }
    let text = "the modes update and delete are about an instance: [type]/[id]/$validate";
    Err(invalid(IssueCode::Required, text))
}

fn check_profile(profile: Option<&str>, resource_type: &str) -> Result<(), Error> {
    let base = format!("http://hl7.org/fhir/StructureDefinition/{resource_type}");
    match profile.map(|profile| profile.split('|').next().unwrap_or(profile)) {
        Some(profile) if profile != base => {
            let text = format!("profile {profile} is not known to the validator; only {base} is");
            Err(invalid(IssueCode::NotSupported, text))
        }
        _ => Ok(()),
    }
}

/// What an attempt was refused for; a failure of the server is one here too.
fn issues_of(tried: Result<(), Error>) -> Result<Vec<Issue>, Error> {
    match tried {
        Ok(()) => Ok(Vec::new()),
        Err(error) if matches!(error.kind(), Kind::Internal | Kind::Unavailable) => Err(error),
        Err(error) => {
            let mut issues = error.issues().to_vec();
            for issue in &mut issues {
                issue.severity = issue.severity.max(Severity::Error);
            }
            Ok(issues)
        }
    }
}
