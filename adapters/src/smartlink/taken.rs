//! The answer to a claim: SmartLink has taken it. That is no decision about it.

use fhir::json::{Json, Object};
use fhir::outcome::IssueCode;

use super::answer::{content, unreadable};
use super::facts::{concept, hl7, member};
use super::{Facts, Publication};
use crate::{Mapping, Refusal, bundle, error};

/// Whether this is the answer to a claim.
pub(super) fn recognises(json: &Json) -> bool {
    json.get("code").is_some() && content(json).first().is_some_and(|it| it.get("id").is_some())
}

/// The vendor's id of a claim that was taken, and what it says.
pub(super) fn taken(json: &Json) -> Option<(String, String)> {
    let id = member(content(json).first()?, "id")?;
    Some((id, member(json, "message").unwrap_or_else(|| "Claim received".to_owned())))
}

/// A ClaimResponse that waits.
pub(super) fn read(json: &Json, facts: &Facts<'_>) -> Result<Mapping, Refusal> {
    let Some((id, message)) = taken(json) else {
        return Err(unreadable("the answer to the claim has no content.id; its state is unknown", "content.id"));
    };
    let told = (facts.patient_number(), facts.told("payerCode"), facts.invoice());
    let (Some(patient), Some(payer), Some(invoice)) = told else {
        let text = "Patient, payer and invoice of the claim must be known from the question; the answer does not say";
        return Ok(Mapping::Quarantine { issues: vec![error(IssueCode::Required, text, "content")] });
    };
    let mut response = response(&patient, &payer, &invoice, facts);
    response.insert("meta", facts.meta("claim/", &id));
    response.insert("identifier", fhir::array![facts.identifier("claim", &id)]);
    response.insert("status", "active");
    response.insert("outcome", "queued");
    response.insert("disposition", message);
    let entry = bundle::put("ClaimResponse", &facts.system("claim"), &id, response.into());
    Ok(Mapping::Publish(Publication::of(bundle::transaction(vec![entry]), Vec::new())))
}

/// What every answer about a claim says.
pub(super) fn response(patient: &str, payer: &str, invoice: &str, facts: &Facts<'_>) -> Object {
    let mut response = Object::new();
    response.insert("resourceType", "ClaimResponse");
    response.insert("type", concept(&hl7("claim-type"), "institutional", "Institutional"));
    response.insert("use", "claim");
    response.insert("patient", facts.reference("Patient", "patient-number", patient));
    response.insert("created", facts.now());
    response.insert("insurer", facts.reference("Organization", "payer", payer));
    response.insert("request", facts.reference("Claim", "invoice", invoice));
    response
}
