//! What the member pays themselves: an amount or a percentage, for a visit or for each service.

use fhir::decimal::Decimal;
use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};

use super::answer::content;
use super::facts::{concept, hl7};
use super::{Facts, Publication};
use crate::{Mapping, Refusal, bundle, error, money};

/// Whether this is a copay.
pub(super) fn recognises(json: &Json) -> bool {
    content(json).first().is_some_and(|it| it.get("is_copay_per_visit").is_some() && it.get("amount").is_some())
}

/// A CoverageEligibilityResponse of the benefit that was asked about.
pub(super) fn read(json: &Json, facts: &Facts<'_>) -> Result<Mapping, Refusal> {
    let copay = content(json).first().unwrap_or(&Json::Null);
    let (amount, paid) = (copay.get("amount").and_then(money::amount), paid(copay));
    let percent = match copay.str("type") {
        Some("FIXED") => Some(false),
        Some("PERCENTAGE") => Some(true),
        _ => None,
    };
    let (Some(amount), Some(paid), Some(percent)) = (&amount, &paid, percent) else {
        let mut issues = Vec::new();
        let mut wrong = |bad: bool, text: &str, at: &str| {
            issues.extend(bad.then(|| error(IssueCode::Value, text, at)));
        };
        wrong(amount.is_none(), "amount is not a decimal", "amount");
        wrong(paid.is_none(), "paid_amount is not a decimal", "paid_amount");
        wrong(percent.is_none(), "type is neither FIXED nor PERCENTAGE", "type");
        return Err(Refusal::Vendor { status: 502, issues, retry_after: None });
    };
    let told = (facts.visit_number(), facts.benefit_id(), facts.patient_number(), facts.told("coverage"));
    let (Some(visit), Some(benefit), Some(patient), Some(coverage)) = told else {
        let text = "Which visit, benefit, patient and coverage were asked about must be known; the answer does not say";
        return Ok(Mapping::Quarantine { issues: vec![Issue::error(IssueCode::Required, text)] });
    };
    let mut item = item(copay, amount, paid, percent, facts);
    let extension = fhir::object! {
        "url": facts.extension("benefit-id"), "valueIdentifier": facts.identifier("benefit", &benefit),
    };
    item.insert("extension", fhir::array![extension]);
    let insurance = fhir::object! {
        "coverage": facts.reference("Coverage", "coverage", &coverage),
        "item": fhir::array![Json::from(item)],
    };
    let name = format!("{visit}:{benefit}");
    let mut response = Object::new();
    response.insert("resourceType", "CoverageEligibilityResponse");
    response.insert("meta", facts.meta("copay/", &name));
    response.insert("identifier", fhir::array![facts.identifier("copay", &name)]);
    response.insert("status", "active");
    response.insert("purpose", fhir::array!["benefits"]);
    response.insert("patient", facts.reference("Patient", "patient-number", &patient));
    response.insert("created", facts.now());
    if let Some(session) = facts.session() {
        response.insert("request", facts.reference("CoverageEligibilityRequest", "session", &session));
    }
    response.insert("outcome", "complete");
    if let Some(payer) = facts.told("payerCode") {
        response.insert("insurer", facts.reference("Organization", "payer", &payer));
    }
    response.insert("insurance", fhir::array![insurance]);
    let entry = bundle::put("CoverageEligibilityResponse", &facts.system("copay"), &name, response.into());
    Ok(Mapping::Publish(Publication::of(bundle::transaction(vec![entry]), Vec::new())))
}

/// What was paid already; nothing paid where it is not said.
fn paid(copay: &Json) -> Option<Decimal> {
    match copay.get("paid_amount") {
        None | Some(Json::Null) => Some(Decimal::from(0)),
        Some(paid) => money::amount(paid),
    }
}

fn item(copay: &Json, amount: &Decimal, paid: &Decimal, percent: bool, facts: &Facts<'_>) -> Object {
    let mut benefit = Object::new();
    if percent {
        benefit.insert("type", concept(&hl7("benefit-type"), "copay-percent", "Copayment Percent per service"));
        // An unsigned integer is all that FHIR has for a percentage; a fraction of one is told as text.
        match amount.as_str().parse::<u32>() {
            Ok(whole) => benefit.insert("allowedUnsignedInt", i64::from(whole)),
            Err(_) => benefit.insert("allowedString", amount.as_str()),
        }
    } else {
        benefit.insert("type", concept(&hl7("benefit-type"), "copay", "Copayment per service"));
        benefit.insert("allowedMoney", facts.money(amount));
    }
    benefit.insert("usedMoney", facts.money(paid));
    let per_visit = copay.get("is_copay_per_visit").and_then(Json::as_bool).unwrap_or(false);
    let mut item = Object::new();
    item.insert("category", fhir::object! { "text": "Copayment" });
    item.insert("unit", concept(&hl7("benefit-unit"), "individual", "Individual"));
    item.insert("term", fhir::object! { "text": if per_visit { "per visit" } else { "per service" } });
    item.insert("benefit", fhir::array![Json::from(benefit)]);
    item
}
