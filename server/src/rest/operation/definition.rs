//! What the CapabilityStatement says of the operations, and the definitions of those that are not HL7's.
//! <https://hl7.org/fhir/R4/operationdefinition.html>
//!
//! HL7's operations are stated by HL7's canonical URLs. Our own definition stands at
//! `[base]/OperationDefinition/tributary-[code]`: no resource is stored under such an id, and a search by id or URL finds
//! them beside stored ones.

use actix_web::{HttpRequest, HttpResponse};
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use fhir::{array, object};
use search::filter;
use search::query::{Filter, Query};
use store::{Method, SearchPage, Stored};

use super::table::{Level, Operation, TABLE};
use crate::app::App;
use crate::error::Error;
use crate::rest::request;
use crate::rest::response::{Answer, Presentation};

/// The type of definitions.
const TYPE: &str = "OperationDefinition";

/// The id of a definition of ours begins with it.
const OWN: &str = "tributary-";

/// `GET` and `HEAD` of a definition; needs no token, as the CapabilityStatement does.
pub async fn definition_handler(request: HttpRequest, app: actix_web::web::Data<App>) -> Result<HttpResponse, Error> {
    let presentation = Presentation::of(&request)?;
    let elements = request::elements(request.query_string(), TYPE)?;
    let id = format!("{OWN}{}", request::segment(&request, "own"));
    let own = own(&app, TYPE, &id)
        .ok_or_else(|| Error::not_found(Issue::error(IssueCode::NotFound, format!("{TYPE}/{id} is not known"))))?;
    own.cut(&elements)?.respond(presentation)
}

/// The operations that are defined here.
fn ours() -> impl Iterator<Item = &'static Operation> {
    TABLE.iter().filter(|operation| operation.definition.is_none())
}

/// The operation of which this is our own definition.
fn defined_by(resource_type: &str, id: &str) -> Option<&'static Operation> {
    let code = id.strip_prefix(OWN).filter(|_| resource_type == TYPE)?;
    ours().find(|operation| operation.code == code)
}

/// Whether this is one of our own definitions, which anybody may read.
pub fn is_own(resource_type: &str, id: &str) -> bool {
    defined_by(resource_type, id).is_some()
}

/// Refuses to store what would never be read, because a definition of ours stands there.
pub fn refuse_own(resource_type: &str, id: &str) -> Result<(), Error> {
    if !is_own(resource_type, id) {
        return Ok(());
    }
    let text = format!("{TYPE}/{id} is the server's own definition of an operation; use another id");
    Err(Error::method_not_allowed(text).with_header("Allow", "GET, HEAD, OPTIONS"))
}

/// Adds the definitions of ours that a search by id or URL finds to its first page, after what is stored.
pub fn add_own(page: &mut SearchPage, query: &Query, base: &str) {
    let names_one = |filter: &Filter| match filter {
        Filter::Id(_) => true,
        Filter::Any { param, negated, .. } => param.code == "url" && !negated,
        _ => false,
    };
    if query.resource_type != TYPE || query.cursor.is_some() || !query.filters.iter().any(names_one) {
        return;
    }
    let matches = |definition: &Json| query.filters.iter().all(|one| filter::matches(one, definition, base));
    let found: Vec<Json> = ours().map(|operation| definition(operation, base)).filter(matches).collect();
    page.total = page.total.map(|total| total + found.len() as u64);
    if query.count > 0 {
        page.matches.extend(found.iter().map(as_stored));
    }
}

/// A definition in the form of what is stored, as pages have it.
fn as_stored(definition: &Json) -> Stored {
    Stored {
        resource_type: TYPE.to_owned(),
        id: definition.str("id").unwrap_or_default().to_owned(),
        version: 1,
        last_updated: 0,
        deleted: false,
        body: definition.to_string().into(),
        method: Method::Put,
    }
}

/// The answer to a read of one of our own definitions; nothing for other resources.
pub fn own(app: &App, resource_type: &str, id: &str) -> Option<Answer> {
    let operation = defined_by(resource_type, id)?;
    Some(Answer::resource(definition(operation, &app.config.fhir_base()).to_string()))
}

/// `rest.resource.operation` of a type; `base` is the FHIR base URL.
pub fn of_type(resource_type: &str, base: &str) -> Vec<Json> {
    let is_here = |operation: &&Operation| operation.levels != [Level::System] && operation.is_of(resource_type);
    TABLE.iter().filter(is_here).map(|operation| stated(operation, base)).collect()
}

/// `rest.operation`.
pub fn of_system(base: &str) -> Vec<Json> {
    let is_here = |operation: &&Operation| operation.levels.contains(&Level::System);
    TABLE.iter().filter(is_here).map(|operation| stated(operation, base)).collect()
}

fn stated(operation: &Operation, base: &str) -> Json {
    let url = match operation.definition {
        Some(url) if url.contains("://") => url.to_owned(),
        Some(id) => format!("http://hl7.org/fhir/OperationDefinition/{id}"),
        None => format!("{base}/OperationDefinition/{OWN}{}", operation.code),
    };
    object! { "name": operation.code, "definition": url }
}

fn definition(operation: &Operation, base: &str) -> Json {
    let at = |level| operation.levels.contains(&level);
    let of = if operation.types.is_empty() { &["Resource"] } else { operation.types };
    let id = format!("{OWN}{}", operation.code);
    let parameters = operation.parameters.iter().map(|parameter| {
        object! {
            "name": parameter.name,
            "use": "in",
            "min": i64::from(parameter.required),
            "max": if parameter.repeats { "*" } else { "1" },
            "documentation": parameter.what,
            "type": parameter.kind,
        }
    });
    let returned =
        object! { "name": "return", "use": "out", "min": 1_i64, "max": "1", "type": returned(operation.code) };
    object! {
        "resourceType": "OperationDefinition",
        "id": id.as_str(),
        "url": format!("{base}/OperationDefinition/{id}"),
        "version": env!("CARGO_PKG_VERSION"),
        "name": computable(operation.code),
        "status": "active",
        "kind": "operation",
        "description": operation.what,
        "affectsState": operation.changes,
        "code": operation.code,
        "resource": of.iter().map(|it| Json::from(*it)).collect::<Vec<_>>(),
        "system": at(Level::System),
        "type": at(Level::Type),
        "instance": at(Level::Instance),
        "parameter": parameters.chain(array![returned].items().iter().cloned()).collect::<Vec<_>>(),
    }
}

/// A code as a name that programs can use: `close-visit` is `CloseVisit`.
fn computable(code: &str) -> String {
    let capital = |part: &str| part.split_at_checked(1).map(|(first, rest)| format!("{}{rest}", first.to_uppercase()));
    code.split('-').filter_map(capital).collect()
}

/// The type of what an operation of ours answers.
fn returned(code: &str) -> &'static str {
    match code {
        "submit" => "Resource", // a ClaimResponse, or a Bundle of them
        "withdraw" | "send-diagnoses" => "ClaimResponse",
        "fetch-visit" | "merge-visit" | "close-visit" | "fetch-copay" => "Bundle",
        _ => "Parameters",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_of_ours_are_valid() {
        for operation in TABLE.iter().filter(|operation| operation.definition.is_none()) {
            let definition = definition(operation, "http://s/fhir");
            assert_eq!(validation::validate(&definition), Vec::new());
        }
    }

    #[test]
    fn statements_name_each_operation_once() {
        for name in ["Patient", "Observation", "Encounter", "Device"] {
            let stated = of_type(name, "http://s/fhir");
            let mut names: Vec<_> = stated.iter().filter_map(|it| it.str("name")).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{name}");
        }
        assert_eq!(of_system("http://s/fhir").len(), 3);
    }
}
