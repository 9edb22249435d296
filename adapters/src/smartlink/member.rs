//! A member: who it is, the policy, and what is left of each benefit.
//!
//! The Patient is only created where there is none: what the payer knows of a person never overwrites the hospital's
//! record. No benefit is published from an amount that cannot be read.

use fhir::decimal::Decimal;
use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};
use jiff::civil;

use super::answer::{content, stranger, unreadable};
use super::facts::{concept, hl7, member};
use super::{Facts, Publication, visit};
use crate::{Mapping, Refusal, bundle, error, money, warning};

/// Whether an answer has members in it; an empty one says that there is none.
pub(super) fn recognises(json: &Json) -> bool {
    match content(json).first() {
        Some(first) => first.get("medicalaid_number").is_some() || first.get("benefits").is_some(),
        None => json.str("message").is_some_and(|text| text.to_ascii_lowercase().contains("member")),
    }
}

/// Organization, Patient, Coverage and CoverageEligibilityResponse of each member.
pub(super) fn read(json: &Json, facts: &Facts<'_>) -> Result<Mapping, Refusal> {
    let (mut entries, mut issues) = (Vec::new(), Vec::new());
    for (index, told) in content(json).iter().enumerate() {
        let at = format!("content[{index}]");
        one(&Member { told, at: &at, facts }, &mut entries, &mut issues)?;
    }
    if issues.iter().any(|issue| issue.severity == fhir::outcome::Severity::Error) {
        return Err(Refusal::Vendor { status: 502, issues, retry_after: None });
    }
    if entries.is_empty() {
        let text = member(json, "message").unwrap_or_else(|| "No member found".to_owned());
        issues.push(warning(IssueCode::NotFound, format!("SmartLink: {text}"), "content"));
    }
    Ok(Mapping::Publish(Publication::of(bundle::transaction(entries), issues)))
}

struct Member<'a> {
    told: &'a Json,
    at: &'a str,
    facts: &'a Facts<'a>,
}

/// The policy: what it is named by, where it is used, and whether it is in force.
struct Policy {
    payer: String,
    number: String,
    name: String,
    currency: String,
    period: Object,
    inforce: bool,
}

fn one(told: &Member<'_>, entries: &mut Vec<Json>, issues: &mut Vec<Issue>) -> Result<(), Refusal> {
    let text = |name| member(told.told, name);
    let missing = |name: &str| unreadable(&format!("a member without {name}"), &format!("{}.{name}", told.at));
    let facts = told.facts;
    let payer =
        text("medicalaid_code").or_else(|| facts.told("payerCode")).ok_or_else(|| missing("medicalaid_code"))?;
    let policy_id = text("policy_id").ok_or_else(|| missing("policy_id"))?;
    let number = text("medicalaid_number").ok_or_else(|| missing("medicalaid_number"))?;
    for (name, asked) in [("session_id", facts.session()), ("patient_number", facts.patient_number())] {
        stranger(text(name).as_ref(), asked.as_ref(), &format!("{}.{name}", told.at))?;
    }
    let session = text("session_id").or_else(|| facts.session()).ok_or_else(|| missing("session_id"))?;
    let patient = text("patient_number").or_else(|| facts.patient_number()).ok_or_else(|| missing("patient_number"))?;
    let (period, inforce) = period(told, issues);
    let policy = Policy {
        name: format!("{policy_id}:{number}"),
        payer,
        number,
        currency: currency(told, issues),
        period,
        inforce,
    };
    let benefits = benefits(told, &policy, issues);
    let organization = visit::organization(&policy.payer, text("medicalaid_name").as_deref(), facts);
    visit::push(entries, organization);
    visit::push(entries, person(told, &patient, &session, &policy, issues));
    visit::push(entries, coverage(told, &patient, &session, &policy, issues));
    let response = fhir::object! {
        "resourceType": "CoverageEligibilityResponse",
        "meta": facts.meta("session/", &session),
        "identifier": fhir::array![facts.identifier("session-benefits", &session)],
        "status": "active",
        "purpose": fhir::array!["benefits"],
        "patient": facts.inside("patient-number", &patient),
        "created": facts.now(),
        "request": facts.reference("CoverageEligibilityRequest", "session", &session),
        "outcome": "complete",
        "insurer": facts.inside("payer", &policy.payer),
        "insurance": fhir::array![insurance(&policy, benefits, facts)],
    };
    let system = facts.system("session-benefits");
    visit::push(entries, bundle::put("CoverageEligibilityResponse", &system, &session, response));
    Ok(())
}

fn insurance(policy: &Policy, benefits: Vec<Json>, facts: &Facts<'_>) -> Json {
    let mut insurance = Object::new();
    insurance.insert("coverage", facts.inside("coverage", &policy.name));
    insurance.insert("inforce", policy.inforce);
    if !policy.period.is_empty() {
        insurance.insert("benefitPeriod", policy.period.clone());
    }
    if !benefits.is_empty() {
        insurance.insert("item", benefits);
    }
    insurance.into()
}

/// The policy's period, and whether today is in it. Without dates the payer says nothing against it.
fn period(told: &Member<'_>, issues: &mut Vec<Issue>) -> (Object, bool) {
    let today = super::local_time::today(told.facts);
    let mut period = Object::new();
    let mut inforce = true;
    for (name, field) in [("start", "medicalaid_regdate"), ("end", "medicalaid_expiry")] {
        let Some(text) = member(told.told, field) else { continue };
        let Some(date) = date(&text) else {
            let text = format!("{field} is not an ISO date; left out");
            issues.push(warning(IssueCode::Value, text, &format!("{}.{field}", told.at)));
            continue;
        };
        inforce &= match (name, today) {
            ("start", Some(today)) => date <= today,
            (_, Some(today)) => today <= date,
            (_, None) => true,
        };
        period.insert(name, date.to_string());
    }
    (period, inforce)
}

fn date(text: &str) -> Option<civil::Date> {
    let date = text.get(..10)?;
    let rest = text.get(10..)?;
    let midnight = rest.is_empty() || rest.starts_with(['T', ' ']);
    date.parse().ok().filter(|date: &civil::Date| midnight && date.year() >= 1900)
}

fn currency(told: &Member<'_>, issues: &mut Vec<Issue>) -> String {
    let currency = member(told.told, "policy_currency");
    let is_code = |text: &String| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    let Some(currency) = currency else { return told.facts.currency() };
    if !is_code(&currency) {
        let text = "policy_currency is not a currency code";
        issues.push(error(IssueCode::Value, text, &format!("{}.policy_currency", told.at)).details(text));
    }
    currency
}

fn person(told: &Member<'_>, patient: &str, session: &str, policy: &Policy, issues: &mut Vec<Issue>) -> Json {
    let facts = told.facts;
    let text = |name| member(told.told, name);
    let mut identifiers =
        vec![facts.identifier("patient-number", patient), facts.identifier("member-number", &policy.number)];
    identifiers.extend(text("global_id").map(|id| facts.identifier("global-id", &id)));
    let mut name = Object::new();
    name.insert("use", "official");
    match text("patient_surname") {
        Some(family) => name.insert("family", family),
        None => name.insert("text", text("member_name").unwrap_or_else(|| policy.number.clone())),
    }
    let given: Vec<Json> =
        text("patient_forenames").iter().flat_map(|names| names.split_whitespace()).map(Json::from).collect();
    if !given.is_empty() {
        name.insert("given", given);
    }
    let mut resource = Object::new();
    resource.insert("resourceType", "Patient");
    resource.insert("meta", facts.meta("session/", session));
    resource.insert("identifier", identifiers);
    resource.insert("name", fhir::array![Json::from(name)]);
    let gender = match text("patient_gender").unwrap_or_default().to_ascii_uppercase().as_str() {
        "F" | "FEMALE" => Some("female"),
        "M" | "MALE" => Some("male"),
        "" => None,
        _ => Some("unknown"),
    };
    if let Some(gender) = gender {
        resource.insert("gender", gender);
    }
    if let Some(born) = text("patient_dob") {
        if let Some(date) = date(&born) {
            resource.insert("birthDate", date.to_string());
        } else {
            let text = "patient_dob is not an ISO date; birth date left out";
            issues.push(warning(IssueCode::Value, text, &format!("{}.patient_dob", told.at)).details(text));
        }
    }
    bundle::post("Patient", &facts.system("patient-number"), patient, resource.into())
}

fn coverage(told: &Member<'_>, patient: &str, session: &str, policy: &Policy, issues: &mut Vec<Issue>) -> Json {
    let facts = told.facts;
    let text = |name| member(told.told, name);
    let mut classes = Vec::new();
    if let Some(code) = text("medicalaid_scheme_code") {
        classes.push(class("group", "Group", &code, text("medicalaid_scheme_name").as_deref()));
    }
    if let Some(plan) = text("medicalaid_plan") {
        classes.push(class("plan", "Plan", &plan, None));
    }
    let mut resource = Object::new();
    resource.insert("resourceType", "Coverage");
    resource.insert("meta", facts.meta("session/", session));
    resource.insert("identifier", fhir::array![facts.identifier("coverage", &policy.name)]);
    resource.insert("status", "active");
    resource.insert("subscriberId", policy.number.as_str());
    resource.insert("beneficiary", facts.inside("patient-number", patient));
    if !policy.period.is_empty() {
        resource.insert("period", policy.period.clone());
    }
    resource.insert("payor", fhir::array![facts.inside("payer", &policy.payer)]);
    if !classes.is_empty() {
        resource.insert("class", classes);
    }
    if let Some(copay) = copay(told, issues) {
        let cost = fhir::object! {
            "type": concept(&hl7("coverage-copay-type"), "copay", "Copay Amount"),
            "valueMoney": fhir::object! { "value": money::json(&copay), "currency": policy.currency.as_str() },
        };
        resource.insert("costToBeneficiary", fhir::array![cost]);
    }
    bundle::put("Coverage", &facts.system("coverage"), &policy.name, resource.into())
}

fn class(code: &str, display: &str, value: &str, name: Option<&str>) -> Json {
    let mut class = Object::new();
    class.insert("type", concept(&hl7("coverage-class"), code, display));
    class.insert("value", value);
    if let Some(name) = name {
        class.insert("name", name);
    }
    class.into()
}

/// What the member pays, if the policy says that they do.
fn copay(told: &Member<'_>, issues: &mut Vec<Issue>) -> Option<Decimal> {
    let info = told.told.get("copay_info");
    let says = |json: Option<&Json>| json.and_then(Json::as_bool).unwrap_or(false);
    if !says(told.told.get("has_copay")) && !says(info.and_then(|info| info.get("has_copay"))) {
        return None;
    }
    let amount = info.and_then(|info| info.get("amount")).or_else(|| told.told.get("co_pay_amount"))?;
    let found = money::amount(amount);
    if found.is_none() {
        let text = "copay_info.amount is not a decimal";
        issues.push(error(IssueCode::Value, text, &format!("{}.copay_info.amount", told.at)).details(text));
    }
    found
}

fn benefits(told: &Member<'_>, policy: &Policy, issues: &mut Vec<Issue>) -> Vec<Json> {
    let listed = told.told.list("benefits").iter().enumerate().filter(|(_, it)| **it != Json::Null);
    listed.filter_map(|(index, it)| benefit(it, index, told, policy, issues)).collect()
}

fn benefit(it: &Json, index: usize, told: &Member<'_>, policy: &Policy, issues: &mut Vec<Issue>) -> Option<Json> {
    let facts = told.facts;
    let mut wrong = |field: &str, what: &str| {
        let text = format!("benefits[{index}].{field} is not {what}");
        let at = format!("{}.benefits[{index}].{field}", told.at);
        issues.push(error(IssueCode::Value, text.clone(), &at).details(text));
    };
    let balance = it.get("amount").and_then(money::amount);
    if balance.is_none() {
        wrong("amount", "a decimal");
    }
    let claimable = it.get("claimable").and_then(Json::as_bool);
    if claimable.is_none() {
        wrong("claimable", "a boolean");
    }
    let id = member(it, "id");
    if id.is_none() {
        wrong("id", "an id");
    }
    let (balance, claimable, id) = (balance?, claimable?, id?);
    let pool = member(it, "pool_nr").unwrap_or_else(|| id.clone());
    let name = member(it, "pool_desc").unwrap_or_else(|| pool.clone());
    let coding = fhir::object! { "system": facts.code_system("pool"), "code": pool, "display": name.as_str() };
    let extension = fhir::object! {
        "url": facts.extension("benefit-id"), "valueIdentifier": facts.identifier("benefit", &id),
    };
    let left = fhir::object! {
        "type": concept(&hl7("benefit-type"), "benefit", "Benefit"),
        "allowedMoney": fhir::object! { "value": money::json(&balance), "currency": policy.currency.as_str() },
    };
    Some(fhir::object! {
        "extension": fhir::array![extension],
        "category": fhir::object! { "coding": fhir::array![coding] },
        "excluded": !claimable,
        "name": name,
        "benefit": fhir::array![left],
    })
}
