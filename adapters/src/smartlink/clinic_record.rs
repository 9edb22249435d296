//! Outbound: diagnoses that were made after the claim, as the body of `POST /api/clinic-record`.

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use super::Facts;
use super::claim_parts::standard;
use super::graph::{Graph, identifier};
use crate::{Mapping, Refusal, error};

/// Whether this is a Bundle with Conditions and no Claim.
pub(super) fn recognises(json: &Json) -> bool {
    json.str("resourceType") == Some("Bundle") && Graph::new(json).of_type("Condition").next().is_some()
}

/// The body.
#[expect(clippy::unnecessary_wraps, reason = "all modules of messages are read alike")]
pub(super) fn read(json: &Json, facts: &Facts<'_>) -> Result<Mapping, Refusal> {
    Ok(match build(json, facts) {
        Ok(request) => Mapping::Send { request, issues: Vec::new() },
        Err(issues) => Mapping::Refuse { issues },
    })
}

/// The body, or what is missing.
pub(super) fn build(bundle: &Json, facts: &Facts<'_>) -> Result<Json, Vec<Issue>> {
    let graph = Graph::new(bundle);
    let encounter = graph.of_type("Encounter").next();
    let patient = graph.of_type("Patient").next();
    let coverage = graph.of_type("Coverage").next();
    let mut issues = Vec::new();
    let of = |resource: Option<&Json>, kind: &str| identifier(resource, &facts.system(kind)).map(str::to_owned);
    let mut need = |found: Option<String>, what: &str, at: &str| {
        if found.is_none() {
            issues.push(error(IssueCode::Required, what, at));
        }
        found.map_or(Json::Null, Json::from)
    };
    let member = coverage.and_then(|it| it.str("subscriberId")).map(str::to_owned);
    let member = member.or_else(|| of(patient, "member-number")).or_else(|| facts.told("memberNumber"));
    let mut body = fhir::object! {
        "invoice_number": need(facts.invoice(), "the invoice number must be given", "invoice_number"),
        "member_number": need(member, "the Patient has no member number", "Patient.identifier"),
        "patient_number": need(
            of(patient, "patient-number").or_else(|| facts.patient_number()),
            "the Patient has no SmartLink patient number", "Patient.identifier",
        ),
        "session_id": need(
            of(encounter, "session").or_else(|| facts.session()),
            "the Encounter has no session; merge the visit first", "Encounter.identifier",
        ),
        "visit_number": need(
            of(encounter, "visit-number").or_else(|| facts.visit_number()),
            "the Encounter has no visit number; merge the visit first", "Encounter.identifier",
        ),
    };
    let diagnoses = diagnoses(&graph, encounter, facts, &mut issues);
    if let Some(body) = body.as_object_mut() {
        body.insert("diagnosis", diagnoses);
    }
    if issues.is_empty() { Ok(body) } else { Err(issues) }
}

fn diagnoses(graph: &Graph<'_>, encounter: Option<&Json>, facts: &Facts<'_>, issues: &mut Vec<Issue>) -> Vec<Json> {
    let name_of_primary = if facts.dialect("primary", "primary") { "primary" } else { "is_primary" };
    let (mut told, mut primary) = (Vec::new(), 0);
    for condition in graph.of_type("Condition").filter(|condition| is_of_encounter(condition)) {
        let at = format!("Condition/{}", condition.str("id").unwrap_or_default());
        let Some(coded) = standard(condition.get("code")) else {
            issues.push(error(IssueCode::CodeInvalid, "a diagnosis needs a code of ICD-10 or ICD-11", &at));
            continue;
        };
        let of_encounter = encounter.into_iter().flat_map(|it| it.list("diagnosis"));
        let rank = of_encounter
            .filter(|it| points_at(it.get("condition"), condition))
            .find_map(|it| it.get("rank").and_then(Json::as_number)?.parse::<u32>().ok());
        primary += u32::from(rank == Some(1));
        told.push((rank.unwrap_or(u32::MAX), coded.body(false, name_of_primary, rank == Some(1))));
    }
    if told.is_empty() || primary != 1 {
        let text = format!("{primary} diagnoses have rank 1 in the Encounter; exactly one must have it");
        issues.push(error(IssueCode::BusinessRule, text, "Encounter.diagnosis.rank"));
    }
    told.sort_by_key(|(rank, _)| *rank);
    told.into_iter().map(|(_, body)| body).collect()
}

/// What is on a problem list is no diagnosis of this visit.
fn is_of_encounter(condition: &Json) -> bool {
    let mut codes = condition.list("category").iter().flat_map(|concept| concept.list("coding"));
    codes.any(|coding| coding.str("code") == Some("encounter-diagnosis"))
}

fn points_at(reference: Option<&Json>, condition: &Json) -> bool {
    let id = condition.str("id").unwrap_or_default();
    let text = reference.and_then(|it| it.str("reference")).unwrap_or_default();
    text == format!("Condition/{id}") || text.ends_with(&format!("/Condition/{id}"))
}
