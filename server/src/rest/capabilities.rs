//! What this server can do: `GET [base]/metadata`. <https://hl7.org/fhir/R4/http.html#capabilities>
//!
//! Made of the tables that run: resource types and search parameters from the registry, interactions from
//! [`INTERACTIONS`], addresses from the routes. Needs no token; made once for each base URL.

use std::fmt::Write as _;
use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use fhir::definitions::resource_types;
use fhir::json::{Json, Object};
use fhir::{array, object};
use search::query::ParamKind;
use search::registry::{Kind, Parameter, registry};
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::error::Error;
use crate::rest::request;
use crate::rest::response::{Answer, Presentation};

/// Interactions on every type, by their codes in the CapabilityStatement.
pub const INTERACTIONS: &[&str] = &["read", "vread", "update", "delete", "history-instance", "create", "search-type"];

/// Interactions on the whole system.
pub const SYSTEM_INTERACTIONS: &[&str] = &["transaction", "batch"];

/// When the capabilities of this version were settled.
const PUBLISHED: &str = "2026-11-22";

/// The statement and its entity tag.
#[derive(Clone)]
struct Statement {
    body: Arc<str>,
    etag: Arc<str>,
}

/// Made once; lives with the routes of one worker.
#[derive(Default)]
pub struct Cache(std::sync::OnceLock<Statement>);

/// `GET` and `HEAD`; needs no token.
pub async fn handler(
    request: HttpRequest,
    app: web::Data<App>,
    cache: web::Data<Cache>,
) -> Result<HttpResponse, Error> {
    let presentation = Presentation::of(&request)?;
    for (_, value) in request::only(request.query_string(), &["mode"])? {
        if value != "full" {
            return Err(Error::bad_request(format!("mode={value} is not supported; known: full")));
        }
    }
    let Statement { body, etag } = cache.0.get_or_init(|| made(&app.config.base_url)).clone();
    let has = request::header(&request, "If-None-Match")?;
    let has =
        has.is_some_and(|tags| tags.split(',').any(|tag| matches!(tag.trim(), tag if tag == "*" || *tag == *etag)));
    let answer = if has { Answer::empty(StatusCode::NOT_MODIFIED) } else { Answer::resource(body.to_string()) };
    let mut response = answer.respond(presentation)?;
    if let Ok(value) = header::HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("public, max-age=60"));
    response.headers_mut().insert(header::VARY, header::HeaderValue::from_static("Accept"));
    Ok(response)
}

/// The statement as a resource, also for entries of a batch.
pub fn execute(app: &App) -> Answer {
    Answer::resource(statement(&app.config.base_url).to_string())
}

fn made(base_url: &str) -> Statement {
    let body = statement(base_url).to_string();
    let digest = Sha256::digest(body.as_bytes());
    let hex = digest.iter().take(8).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    Statement { body: body.into(), etag: format!("W/\"{hex}\"").into() }
}

/// The CapabilityStatement of a server at `base_url`.
pub fn statement(base_url: &str) -> Json {
    let version = env!("CARGO_PKG_VERSION");
    let resources: Vec<Json> = resource_types().iter().map(|name| resource(name)).collect();
    object! {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": PUBLISHED,
        "kind": "instance",
        "software": object! { "name": "Tributary", "version": version },
        "implementation": object! { "description": "Tributary FHIR R4 server", "url": format!("{base_url}/fhir") },
        "fhirVersion": "4.0.1",
        "format": array!["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "rest": array![object! {
            "mode": "server",
            "security": security(base_url),
            "resource": resources,
            "interaction": codes(SYSTEM_INTERACTIONS),
        }],
    }
}

/// How apps get tokens. <https://hl7.org/fhir/smart-app-launch/conformance.html>
fn security(base_url: &str) -> Json {
    let uri = |name: &str, path: &str| object! { "url": name, "valueUri": format!("{base_url}{path}") };
    object! {
        "extension": array![object! {
            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
            "extension": array![
                uri("authorize", "/oauth/authorize"),
                uri("token", "/oauth/token"),
                uri("revoke", "/oauth/revoke"),
            ],
        }],
        "service": array![object! {
            "coding": array![object! {
                "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                "code": "SMART-on-FHIR",
            }],
            "text": "OAuth2 with SMART on FHIR; see .well-known/smart-configuration",
        }],
    }
}

fn resource(name: &str) -> Json {
    let mut resource = Object::new();
    resource.insert("type", name);
    resource.insert("profile", format!("http://hl7.org/fhir/StructureDefinition/{name}"));
    resource.insert("interaction", codes(INTERACTIONS));
    resource.insert("versioning", "versioned");
    resource.insert("readHistory", true);
    resource.insert("updateCreate", true);
    resource.insert("conditionalCreate", true);
    resource.insert("conditionalRead", "full-support");
    resource.insert("conditionalUpdate", true);
    resource.insert("conditionalDelete", "not-supported");
    let registry = registry();
    let parameters: Vec<&Arc<Parameter>> =
        registry.parameters(name).filter(|parameter| parameter.param().is_some()).collect();
    let includes = parameters.iter().filter(|parameter| parameter.kind == Kind::Indexed(ParamKind::Reference));
    let includes: Vec<Json> = includes.map(|parameter| format!("{name}:{}", parameter.code).into()).collect();
    if !includes.is_empty() {
        resource.insert("searchInclude", includes);
    }
    let special = [("_id", "token"), ("_lastUpdated", "date")].map(|(code, kind)| {
        object! {
            "name": code,
            "definition": format!("http://hl7.org/fhir/SearchParameter/Resource-{}", code.trim_start_matches('_')),
            "type": kind,
        }
    });
    let special =
        special.into_iter().filter(|it| !parameters.iter().any(|known| Some(known.code.as_str()) == it.str("name")));
    let indexed = parameters.iter().map(|parameter| {
        object! {
            "name": parameter.code.as_str(),
            "definition": parameter.url.as_str(),
            "type": parameter.kind.as_str(),
        }
    });
    resource.insert("searchParam", special.chain(indexed).collect::<Vec<_>>());
    Json::Object(resource)
}

fn codes(codes: &[&str]) -> Vec<Json> {
    codes.iter().map(|code| object! { "code": *code }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_states_what_works_for_it() {
        let statement = statement("http://s");
        let resources = statement.at(&["rest", "resource"]);
        assert!(resources.is_some());
        let rest = &statement.list("rest")[0];
        assert_eq!(rest.list("resource").len(), resource_types().len());
        for resource in rest.list("resource") {
            let names: Vec<_> = resource.list("searchParam").iter().filter_map(|it| it.str("name")).collect();
            assert!(names.contains(&"_id") && names.contains(&"_lastUpdated"), "{names:?}");
            let mut unique = names.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), names.len(), "{:?}", resource.str("type"));
        }
    }

    #[test]
    fn the_statement_is_valid() {
        assert_eq!(validation::validate(&statement("http://s")), []);
    }

    #[test]
    fn its_tag_depends_on_what_it_says() {
        assert_eq!(made("http://s").etag, made("http://s").etag);
        assert_ne!(made("http://s").etag, made("http://t").etag);
    }
}
