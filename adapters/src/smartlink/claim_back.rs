//! The body of a claim read again as FHIR: what comes back is what SmartLink's format carries.

use fhir::json::{Json, Object};

use super::answer::unreadable;
use super::claim::PATIENT_PAID;
use super::claim_parts::{MODIFIER_TEXTS, MODIFIERS, STANDARDS};
use super::facts::{concept, hl7, text};
use super::{Facts, Publication, local_time};
use crate::{Mapping, Refusal, bundle};

/// Whether this is the body of a claim.
pub(super) fn recognises(json: &Json) -> bool {
    json.get("claim_code").is_some() && json.get("invoices").is_some()
}

/// The Claim of a body, as FHIR to write.
pub(super) fn read(json: &Json, facts: &Facts<'_>) -> Result<Mapping, Refusal> {
    let number = json.at(&["invoices", "invoice_number"]).and_then(Json::as_str);
    let number = number.ok_or_else(|| unreadable("a claim without invoice_number", "invoices[0].invoice_number"))?;
    let entry = bundle::put("Claim", &facts.system("invoice"), number, claim(json, facts));
    Ok(Mapping::Publish(Publication::of(bundle::transaction(vec![entry]), Vec::new())))
}

/// The Claim that a body tells of. Who it is about is told by identifiers.
pub(super) fn claim(body: &Json, facts: &Facts<'_>) -> Json {
    let invoice = body.list("invoices").first().unwrap_or(&Json::Null);
    let currency = body.str("currency").unwrap_or_default();
    let reference = |resource_type: &str, kind: &str, name: &str| {
        facts.reference(resource_type, kind, &text(body.get(name).unwrap_or(&Json::Null)).unwrap_or_default())
    };
    let mut claim = Object::new();
    claim.insert("resourceType", "Claim");
    let number = invoice.str("invoice_number").unwrap_or_default();
    claim.insert("identifier", fhir::array![facts.identifier("invoice", number)]);
    claim.insert("status", "active");
    claim.insert("type", concept(&hl7("claim-type"), "institutional", "Institutional"));
    claim.insert("use", "claim");
    claim.insert("patient", reference("Patient", "patient-number", "patient_number"));
    claim.insert("billablePeriod", period(body.str("visit_start"), body.str("visit_end"), facts));
    claim.insert("created", time(invoice.str("invoice_date"), facts));
    claim.insert("insurer", reference("Organization", "payer", "payer_code"));
    claim.insert("provider", reference("Organization", "provider", "sp_id"));
    claim.insert("priority", concept(&hl7("processpriority"), "normal", "Normal"));
    if body.str("location_code").is_some() {
        claim.insert("facility", reference("Location", "location", "location_code"));
    }
    if let Some(doctor) = body.str("doctor_name") {
        let member = fhir::object! { "sequence": 1, "provider": fhir::object! { "display": doctor } };
        claim.insert("careTeam", fhir::array![member]);
    }
    let diagnoses: Vec<Json> = body.list("diagnosis").iter().enumerate().map(|(at, it)| diagnosis(at, it)).collect();
    if !diagnoses.is_empty() {
        claim.insert("diagnosis", diagnoses);
    }
    let codes: Vec<Json> = match body.get("pre_authorization") {
        None | Some(Json::Null) => Vec::new(),
        Some(told) => told.items().iter().filter_map(|it| it.get("code")).cloned().collect(),
    };
    let only = if let [only] = codes.as_slice() { Some(only.clone()) } else { None };
    claim.insert("insurance", fhir::array![insurance(body, codes, facts)]);
    let lines = invoice.list("lines").iter().enumerate();
    let items: Vec<Json> = lines.map(|(at, line)| item(at, line, body, only.as_ref(), facts)).collect();
    claim.insert("item", items);
    claim.insert("total", money(invoice.get("gross_amount"), currency));
    let extensions = extensions(body, invoice, currency, facts);
    if !extensions.is_empty() {
        claim.insert("extension", extensions);
    }
    claim.into()
}

fn insurance(body: &Json, codes: Vec<Json>, facts: &Facts<'_>) -> Json {
    let number = body.str("member_number").unwrap_or_default();
    let mut insurance = Object::new();
    insurance.insert("sequence", 1);
    insurance.insert("focal", true);
    insurance.insert("coverage", fhir::object! { "identifier": facts.identifier("member-number", number) });
    if !codes.is_empty() {
        insurance.insert("preAuthRef", codes);
    }
    insurance.into()
}

fn diagnosis(index: usize, told: &Json) -> Json {
    let standard = told.str("coding_standard");
    let system = STANDARDS.iter().find(|(_, name)| Some(*name) == standard).map_or("", |(system, _)| *system);
    let mut coding = Object::new();
    coding.insert("system", system);
    coding.insert("code", told.str("code").unwrap_or_default());
    if let Some(name) = told.str("name") {
        coding.insert("display", name);
    }
    let mut diagnosis = Object::new();
    diagnosis.insert("sequence", index as i64 + 1);
    diagnosis.insert("diagnosisCodeableConcept", fhir::object! { "coding": fhir::array![Json::from(coding)] });
    let primary = told.get("is_primary").or_else(|| told.get("primary")).and_then(Json::as_bool);
    if primary == Some(true) {
        let concept = concept(&hl7("ex-diagnosistype"), "principal", "Principal Diagnosis");
        diagnosis.insert("type", fhir::array![concept]);
    }
    diagnosis.into()
}

fn item(index: usize, line: &Json, body: &Json, only: Option<&Json>, facts: &Facts<'_>) -> Json {
    let currency = body.str("currency").unwrap_or_default();
    let mut item = Object::new();
    let mut extensions = Vec::new();
    let mut say = |name: &str, value: Option<&Json>| {
        if let Some(Json::String(text)) = value {
            let url = facts.extension(name);
            extensions.push(fhir::object! { "url": url, "valueString": text.as_ref() });
        }
    };
    say("additional-info", line.get("additional_info"));
    say("pre-authorization-code", line.get("pre_authorization_code").filter(|code| Some(*code) != only));
    if !extensions.is_empty() {
        item.insert("extension", extensions);
    }
    item.insert("sequence", index as i64 + 1);
    if body.str("doctor_name").is_some() {
        item.insert("careTeamSequence", fhir::array![1]);
    }
    if let Some(group) = line.str("service_group") {
        let coding = fhir::object! { "system": facts.code_system("service-group"), "code": group };
        item.insert("category", fhir::object! { "coding": fhir::array![coding] });
    }
    let mut coding = Object::new();
    coding.insert("system", facts.system("item"));
    coding.insert("code", line.str("item_code").unwrap_or_default());
    if let Some(name) = line.str("item_name") {
        coding.insert("display", name);
    }
    item.insert("productOrService", fhir::object! { "coding": fhir::array![Json::from(coding)] });
    let date = line.str("charge_date").unwrap_or_default();
    match line.str("charge_time") {
        Some(clock) => {
            let moment = time(Some(&format!("{date} {clock}")), facts);
            item.insert("servicedPeriod", fhir::object! { "start": moment.clone(), "end": moment });
        }
        None => item.insert("servicedDate", date),
    }
    item.insert("quantity", fhir::object! { "value": line.get("quantity").cloned().unwrap_or(Json::Null) });
    item.insert("unitPrice", money(line.get("unit_price"), currency));
    item.insert("net", money(line.get("amount"), currency));
    let visit = body.str("visit_number").unwrap_or_default();
    item.insert("encounter", fhir::array![facts.reference("Encounter", "visit-number", visit)]);
    item.into()
}

fn extensions(body: &Json, invoice: &Json, currency: &str, facts: &Facts<'_>) -> Vec<Json> {
    let mut extensions = Vec::new();
    let modifiers = invoice.get("payment_modifiers").or_else(|| body.get("payment_modifiers"));
    for told in modifiers.map_or(&[][..], Json::items) {
        let kind = told.get("type").and_then(Json::as_number).and_then(|kind| kind.parse().ok());
        let code = MODIFIERS.iter().find(|(_, known)| Some(*known) == kind).map_or("", |(code, _)| *code);
        let paid = money(told.get("amount"), currency);
        let texts = MODIFIER_TEXTS.iter().filter_map(|(name, part)| Some((*part, told.str(name)?)));
        let texts: Vec<Json> = texts.map(|(part, text)| fhir::object! { "url": part, "valueString": text }).collect();
        if code == "copay-fixed" && texts.is_empty() {
            extensions.push(fhir::object! { "url": PATIENT_PAID, "valueMoney": paid });
            continue;
        }
        let mut parts = vec![
            fhir::object! { "url": "type", "valueCode": code },
            fhir::object! { "url": "amount", "valueMoney": paid },
        ];
        parts.extend(texts);
        extensions.push(fhir::object! { "url": facts.extension("payment-modifier"), "extension": parts });
    }
    for name in ["etims-number", "etims-qrcode"] {
        if let Some(text) = invoice.str(&name.replace('-', "_")) {
            extensions.push(fhir::object! { "url": facts.extension(name), "valueString": text });
        }
    }
    extensions
}

fn period(start: Option<&str>, end: Option<&str>, facts: &Facts<'_>) -> Json {
    fhir::object! { "start": time(start, facts), "end": time(end, facts) }
}

fn time(text: Option<&str>, facts: &Facts<'_>) -> Json {
    text.and_then(|text| local_time::read(text, facts)).map_or(Json::Null, Json::from)
}

fn money(amount: Option<&Json>, currency: &str) -> Json {
    fhir::object! { "value": amount.cloned().unwrap_or(Json::Null), "currency": currency }
}
