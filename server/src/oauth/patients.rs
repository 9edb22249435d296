//! The patients and visits among whom a person may choose: at consent, and in the built-in EHR. (SM-37, SM-39)
//!
//! What is offered is what the store answers under a view of just these patients, and what a form sends back is asked
//! of it again: a changed field chooses nothing that was not on offer. Whoever is shown stands in the audit event of the
//! request. (CO-01)

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use fhir::date::DateTime;
use fhir::json::Json;
use search::parse::{Options, literal, parse};
use search::view::{Compartment, TypeRule, View};
use smart::error::OAuthError;
use smart::grant::FhirUser;
use store::Stored;

use super::error::server_error;
use crate::access;
use crate::app::App;
use crate::audit;

mod words;

pub use words::of_patient;

/// Most that are shown at once; more are found by typing.
const MAX_SHOWN: usize = 50;

/// One patient or visit to choose.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Logical id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What tells namesakes apart; may be empty.
    pub detail: String,
}

/// What there is to choose among.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// In order, at most fifty.
    pub shown: Vec<Choice>,
    /// How many there are besides.
    pub more: u64,
}

/// The patients of a person by name; of those that fit, where words are given: beginnings of names, and birth dates.
/// `limit` names the only ones that matter, where there is one.
pub async fn patients(
    app: &App,
    http: &HttpRequest,
    user: &FhirUser,
    limit: Option<&[String]>,
    words: &str,
) -> Result<Choices, OAuthError> {
    let allowed = allowed(app, user, limit).await?;
    let mut pairs = vec![pair("_sort", "family,given,_id")];
    for word in words.split_whitespace() {
        let name = if DateTime::parse(word).is_some() { "birthdate" } else { "name" };
        pairs.push(pair(name, &literal(word)));
    }
    let found = find(app, allowed, "Patient", pairs, words::of_patient).await?;
    audit::note(http, |noted| noted.patients.extend(found.shown.iter().map(|patient| patient.id.clone())));
    Ok(found)
}

/// One patient of a person; none if there is no such patient, or not for this person, or not within the limit.
pub async fn patient(
    app: &App,
    http: &HttpRequest,
    user: &FhirUser,
    limit: Option<&[String]>,
    id: &str,
) -> Result<Option<Choice>, OAuthError> {
    let allowed = allowed(app, user, limit).await?;
    if !allowed.iter().any(|patient| patient == id) {
        return Ok(None);
    }
    let found = read(app, http, id, ("Patient", id)).await?;
    Ok(found.map(|patient| words::of_patient(id, &patient)))
}

/// The visits of a patient, latest first.
pub async fn visits(app: &App, http: &HttpRequest, patient: &str) -> Result<Choices, OAuthError> {
    let sorted = vec![pair("_sort", "-date,_id")];
    let found = find(app, vec![patient.to_owned()], "Encounter", sorted, words::of_visit).await?;
    audit::note(http, |noted| noted.patients.extend((!found.shown.is_empty()).then(|| patient.to_owned())));
    Ok(found)
}

/// A visit of that patient; none if it is another's, or nobody's.
pub async fn visit(app: &App, http: &HttpRequest, patient: &str, id: &str) -> Result<Option<Choice>, OAuthError> {
    let found = read(app, http, patient, ("Encounter", id)).await?;
    Ok(found.map(|visit| words::of_visit(id, &visit)))
}

async fn allowed(app: &App, user: &FhirUser, limit: Option<&[String]>) -> Result<Vec<String>, OAuthError> {
    let mut allowed = access::patients_of(app, user).await.map_err(|error| server_error(&error))?;
    allowed.retain(|patient| limit.is_none_or(|limit| limit.contains(patient)));
    Ok(allowed)
}

/// All that one view of these patients holds of a type.
fn view(patients: Vec<String>, resource_type: &str) -> View {
    View::listed(Compartment::Patients(patients), BTreeMap::from([(resource_type.to_owned(), TypeRule::Whole)]))
}

async fn find(
    app: &App,
    patients: Vec<String>,
    resource_type: &str,
    mut pairs: Vec<(String, String)>,
    describe: impl Fn(&str, &Json) -> Choice,
) -> Result<Choices, OAuthError> {
    pairs.push(pair("_total", "accurate"));
    let options = Options::at_most(MAX_SHOWN, app.config.fhir_base(), app.clock.now());
    // What cannot be searched for, a lone wildcard or so, fits nobody.
    let Ok(parsed) = parse(resource_type, &pairs, &options) else { return Ok(Choices::default()) };
    let view = view(patients, resource_type);
    let page = app.store.search(&view, &parsed.query).await.map_err(|error| server_error(&error))?;
    let choice = |stored: &Stored| {
        let resource = Json::parse(stored.body.as_bytes()).ok()?;
        Some(describe(&stored.id, &resource))
    };
    let shown: Vec<Choice> = page.matches.iter().filter_map(choice).collect();
    let more = page.total.unwrap_or(0).saturating_sub(page.matches.len() as u64);
    Ok(Choices { shown, more })
}

async fn read(
    app: &App,
    http: &HttpRequest,
    patient: &str,
    (resource_type, id): (&str, &str),
) -> Result<Option<Json>, OAuthError> {
    let view = view(vec![patient.to_owned()], resource_type);
    let stored = app.store.read(&view, resource_type, id).await.map_err(|error| server_error(&error))?;
    let found = stored.filter(|stored| !stored.deleted);
    audit::note(http, |noted| noted.patients.extend(found.as_ref().map(|_| patient.to_owned())));
    Ok(found.and_then(|stored| Json::parse(stored.body.as_bytes()).ok()))
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
