//! Sessions: a member's visit as the insurer opened it, merged with ours, closed.
//!
//! ```text
//! PENDING ──► ACTIVE ──► BILLED | CLOSED        EXPIRED after 24 hours
//!   CoverageEligibilityRequest in every state; Encounter from ACTIVE on, when there is a visit number
//! ```

use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};

use super::answer::{content, stranger, unreadable};
use super::facts::{concept, hl7, member};
use super::{Facts, Publication};
use crate::{Mapping, Refusal, bundle, warning};

/// Whether an answer has sessions in it.
pub(super) fn recognises(json: &Json) -> bool {
    let items = content(json);
    (items.is_empty() && (json.get("content").is_some() || matches!(json, Json::Array(_))))
        || items.first().is_some_and(|it| status(it).is_some() && id(it).is_some())
}

/// One CoverageEligibilityRequest a session, its insurer, and the Encounter that it was merged with.
pub(super) fn read(json: &Json, facts: &Facts<'_>) -> Result<Mapping, Refusal> {
    let (mut entries, mut issues) = (Vec::new(), Vec::new());
    for (index, visit) in content(json).iter().enumerate() {
        let (Some(id), Some(status)) = (id(visit), status(visit)) else {
            return Err(unreadable("a session without session_id or sessionStatus", &format!("content[{index}]")));
        };
        let (told, at) = (member(visit, "patient_number"), format!("content[{index}].patient_number"));
        stranger(told.as_ref(), facts.patient_number().as_ref(), &at)?;
        let Some(patient) = told.or_else(|| facts.patient_number()) else {
            return Err(unreadable("a session without patient_number", &at));
        };
        entries_of(visit, &Session { id, status, patient }, facts, &mut entries, &mut issues);
    }
    if entries.is_empty() {
        let text = "SmartLink knows no session of this patient; the insurer's side has to open one first";
        issues.push(warning(IssueCode::NotFound, text, "content"));
    }
    Ok(Mapping::Publish(Publication::of(bundle::transaction(entries), issues)))
}

struct Session {
    id: String,
    status: String,
    patient: String,
}

fn id(visit: &Json) -> Option<String> {
    member(visit, "session_id").or_else(|| member(visit, "id"))
}

fn status(visit: &Json) -> Option<String> {
    member(visit, "sessionStatus").or_else(|| member(visit, "status"))
}

fn entries_of(visit: &Json, session: &Session, facts: &Facts<'_>, entries: &mut Vec<Json>, issues: &mut Vec<Issue>) {
    if !matches!(session.status.as_str(), "PENDING" | "ACTIVE" | "BILLED" | "CLOSED" | "EXPIRED") {
        let text = format!("Session {} is {}, which is not known here", session.id, session.status);
        issues.push(warning(IssueCode::CodeInvalid, text, "content.sessionStatus"));
    }
    let payer = member(visit, "payer_code").or_else(|| facts.told("payerCode"));
    if let Some(payer) = &payer {
        push(entries, organization(payer, member(visit, "payer_name").as_deref(), facts));
    }
    let extension = fhir::object! {
        "url": facts.extension("session-status"), "valueCode": session.status.as_str(),
    };
    let mut request = Object::new();
    request.insert("resourceType", "CoverageEligibilityRequest");
    request.insert("meta", facts.meta("session/", &session.id));
    request.insert("extension", fhir::array![extension]);
    request.insert("identifier", fhir::array![facts.identifier("session", &session.id)]);
    request.insert("status", if session.status == "EXPIRED" { "cancelled" } else { "active" });
    request.insert("purpose", fhir::array!["benefits"]);
    request.insert("patient", facts.reference("Patient", "patient-number", &session.patient));
    request.insert("created", facts.told("created").unwrap_or_else(|| facts.now()));
    if let Some(payer) = &payer {
        request.insert("insurer", facts.inside("payer", payer));
    } else {
        let text = "SmartLink does not say which insurer opened the session";
        request.insert("insurer", fhir::object! { "display": text });
        issues.push(warning(IssueCode::Required, text, "content.payer_code"));
    }
    let system = facts.system("session");
    push(entries, bundle::put("CoverageEligibilityRequest", &system, &session.id, request.into()));
    let status = match session.status.as_str() {
        "ACTIVE" => "in-progress",
        "BILLED" | "CLOSED" => "finished",
        "EXPIRED" => "cancelled",
        _ => return,
    };
    if let Some(number) = member(visit, "visit_number") {
        push(entries, encounter(&number, status, session, facts));
    }
}

fn encounter(number: &str, status: &str, session: &Session, facts: &Facts<'_>) -> Json {
    let encounter = fhir::object! {
        "resourceType": "Encounter",
        "meta": facts.meta("session/", &session.id),
        "identifier": fhir::array![facts.identifier("visit-number", number), facts.identifier("session", &session.id)],
        "status": status,
        "class": fhir::object! { "system": hl7("v3-ActCode"), "code": "AMB", "display": "ambulatory" },
        "subject": facts.reference("Patient", "patient-number", &session.patient),
    };
    bundle::put("Encounter", &facts.system("visit-number"), number, encounter)
}

/// The insurer, created if it is absent.
pub(super) fn organization(code: &str, name: Option<&str>, facts: &Facts<'_>) -> Json {
    let organization = fhir::object! {
        "resourceType": "Organization",
        "identifier": fhir::array![facts.identifier("payer", code)],
        "active": true,
        "type": fhir::array![concept(&hl7("organization-type"), "pay", "Payer")],
        "name": name.unwrap_or(code),
    };
    bundle::post("Organization", &facts.system("payer"), code, organization)
}

/// Adds an entry once: sessions of one insurer repeat it.
pub(super) fn push(entries: &mut Vec<Json>, entry: Json) {
    if entries.iter().all(|other| other.str("fullUrl") != entry.str("fullUrl")) {
        entries.push(entry);
    }
}
