//! `$diff`: what turns one version or resource into another, as a FHIRPath Patch.
//! <https://hl7.org/fhir/R4/fhirpatch.html>
//!
//! Both are read as any read would: what the caller cannot see is not known.

use fhir::difference::{DifferenceError, difference};
use fhir::json::Json;
use fhir::outcome::IssueCode;
use fhir::reference::Reference;

use super::{Invocation, Level, invalid};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::read::{self, Read};
use crate::rest::response::Answer;
use crate::rest::vread;

/// Compares.
pub(super) async fn execute(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Answer, Error> {
    let (from, to) = (invocation.input.text("from"), invocation.input.text("to"));
    let (from, to) = if invocation.target.level() == Level::Type {
        let both = |name: &str, text: Option<&str>| {
            let text = text.ok_or_else(|| invalid(IssueCode::Required, format!("parameter {name} is missing")))?;
            referred(&invocation.target.resource_type, text, &app.config.fhir_base())
        };
        let (from, to) = (both("from", from)?, both("to", to)?);
        (one(app, caller, &from).await?.0, one(app, caller, &to).await?.0)
    } else {
        versions(app, caller, invocation, from, to).await?
    };
    match difference(&from, &to) {
        Ok(parameters) => Ok(Answer::resource(parameters.to_string())),
        Err(error @ DifferenceError::TooMany) => Err(invalid(IssueCode::TooCostly, error.to_string())),
        Err(error @ (DifferenceError::Types(..) | DifferenceError::Undefined(_))) => {
            Err(invalid(IssueCode::Processing, error.to_string()))
        }
    }
}

/// Which resource, and which version of it.
struct Which {
    resource_type: String,
    id: String,
    version: Option<String>,
}

/// Two versions of an instance: those that are named, else the current one and the one before the other.
async fn versions(
    app: &App,
    caller: &Caller,
    invocation: &Invocation,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<(Json, Json), Error> {
    let target = &invocation.target;
    let which =
        |version: Option<String>| Which { resource_type: target.resource_type.clone(), id: target.id.clone(), version };
    let (to, version) = one(app, caller, &which(to.map(str::to_owned))).await?;
    let from = match from {
        Some(from) => from.to_owned(),
        None if version > 1 => (version - 1).to_string(),
        None => return Err(invalid(IssueCode::Required, "there is no version before the first; name from and to")),
    };
    Ok((one(app, caller, &which(Some(from))).await?.0, to))
}

async fn one(app: &App, caller: &Caller, which: &Which) -> Result<(Json, i64), Error> {
    let Which { resource_type, id, version } = which;
    let read = Read { resource_type, id, if_none_match: None, if_modified_since: None };
    let answer = match version {
        None => read::execute(app, caller, read).await?,
        Some(version) => vread::execute(app, caller, read, version).await?,
    };
    let version = answer.version.unwrap_or_default();
    Ok((Json::parse(answer.body.unwrap_or_default().as_bytes()).map_err(Error::internal)?, version))
}

fn referred(resource_type: &str, text: &str, base: &str) -> Result<Which, Error> {
    match Reference::parse(text, base) {
        Reference::Local { resource_type: found, id, version } if found == resource_type => {
            Ok(Which { resource_type: found, id, version })
        }
        _ => {
            let text = format!(
                "{text:?} must be {resource_type}/[id] or {resource_type}/[id]/_history/[version] of this server"
            );
            Err(invalid(IssueCode::Value, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_of_the_type() {
        let of = |text: &str| referred("Patient", text, "http://s/fhir").map(|it| (it.id, it.version)).ok();
        assert_eq!(of("Patient/a"), Some(("a".to_owned(), None)));
        assert_eq!(of("http://s/fhir/Patient/a/_history/2"), Some(("a".to_owned(), Some("2".to_owned()))));
        for bad in ["Device/a", "a", "http://other/fhir/Patient/a", "#a"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
