//! Outbound: the Bundle of `Claim/$inquire`, made of what was sent.
//! <https://hl7.org/fhir/us/davinci-pas/OperationDefinition-Claim-inquiry.html>
//!
//! An inquiry is a query by example: patient, payer, provider and cover say which claims are meant. It goes out under the
//! identifier of the claim: a payer that looks for that finds it, one that does not finds the patient's claims, and only
//! those that name ours are believed ([`super::answer`]).

use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};

use super::parcel::{Source, Sources, entry};
use super::{DEFINITIONS, request};
use crate::{Context, error};

/// The Bundle that asks for a claim that was sent; `reference` is the payer's number of it, if it is known.
pub(super) fn build(sent: &Json, reference: &str, context: &Context<'_>) -> Result<Json, Vec<Issue>> {
    let sources = Sources::of(sent, context.namespace);
    let Some(subject) = subject(&sources) else {
        return Err(vec![error(IssueCode::Required, "the Bundle must begin with the Claim", "Bundle.entry[0]")]);
    };
    let claim = example(subject.resource, reference);
    let along = sources.reached(&claim);
    let mut urls: Vec<&str> = along.iter().map(|it| it.url.as_str()).collect();
    urls.push(&subject.url);
    let mut entries = vec![entry(&subject.url, sources.written(&claim, &urls))];
    entries.extend(along.iter().map(|it| entry(&it.url, sources.written(it.resource, &urls))));
    let what = format!("{}|{}", subject.url, context.now);
    let is_pas = claim.str("use") == Some(request::PAS);
    let profile = is_pas.then_some("profile-pas-inquiry-request-bundle");
    Ok(request::collection("inquiry", &what, profile, entries, context))
}

/// The claim whose fate is asked for: of a withdrawal the one that is withdrawn.
pub(super) fn subject<'s, 'a>(sources: &'s Sources<'a>) -> Option<&'s Source<'a>> {
    let mut claims = sources.all.iter().filter(|it| it.resource.str("resourceType") == Some("Claim"));
    let first = claims.next()?;
    if request::is_cancellation(first.resource) { claims.next() } else { Some(first) }
}

fn example(claim: &Json, reference: &str) -> Json {
    let mut example = Object::new();
    example.insert("resourceType", "Claim");
    if claim.str("use") == Some(request::PAS) {
        example.insert("meta", request::declared("profile-claim-inquiry"));
    }
    if !reference.is_empty() {
        let url = format!("{DEFINITIONS}/extension-authorizationNumber");
        example.insert("extension", fhir::array![fhir::object! { "url": url, "valueString": reference }]);
    }
    if let Some((system, value)) = request::identifier(claim) {
        example.insert("identifier", fhir::array![fhir::object! { "system": system, "value": value }]);
    }
    example.insert("status", "active");
    for element in
        ["type", "use", "patient", "billablePeriod", "created", "insurer", "provider", "priority", "insurance"]
    {
        if let Some(value) = claim.get(element) {
            example.insert(element, value.clone());
        }
    }
    // No service in particular.
    let nothing = fhir::object! {
        "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "not-applicable",
    };
    let item = fhir::object! { "sequence": 1, "productOrService": fhir::object! { "coding": fhir::array![nothing] } };
    example.insert("item", fhir::array![item]);
    example.into()
}
