//! The parts of an outbound claim that repeat: lines, diagnoses, what others pay, pre-authorisations, the admission.

use fhir::decimal::Decimal;
use fhir::json::{Json, Object};
use fhir::outcome::IssueCode;

use super::claim::{Draft, PATIENT_PAID};
use super::graph::{coding, extension, identifier};
use super::local_time;
use crate::money;

/// ICD-10 and ICD-11 as FHIR and as SmartLink name them. <https://terminology.hl7.org/ICD.html>
pub(super) const STANDARDS: &[(&str, &str)] =
    &[("http://hl7.org/fhir/sid/icd-10", "ICD10"), ("http://id.who.int/icd/release/11/mms", "ICD11")];

/// What others than the insurer pay: code of ours, type of SmartLink's.
pub(super) const MODIFIERS: &[(&str, i64)] =
    &[("cash-excess", 0), ("copay-fixed", 1), ("copay-percent", 2), ("tier-cash", 3), ("sha", 5), ("discount", 6)];

/// Members of a payment modifier that are text, and the parts of our extension that say them.
pub(super) const MODIFIER_TEXTS: &[(&str, &str)] = &[
    ("reference_number", "reference"),
    ("nhif_contributor_nr", "contributor"),
    ("nhif_employer_code", "employer"),
    ("nhif_member_nr", "member"),
    ("nhif_patient_relation", "relation"),
    ("nhif_site_nr", "site"),
];

/// Something that is taken off the gross amount.
#[derive(Clone, Debug)]
pub(super) struct Modifier {
    pub(super) amount: Decimal,
    pub(super) currency: String,
    pub(super) body: Json,
}

/// What the items come to, each proved to be in the currency and to be quantity × price.
pub(super) fn nets(draft: &mut Draft<'_>, currency: &str) -> Vec<Decimal> {
    let mut nets = Vec::new();
    let items = draft.claim.list("item");
    if items.is_empty() {
        draft.wrong(IssueCode::Required, "a claim needs an item", "Claim.item");
    }
    for (index, item) in items.iter().enumerate() {
        let at = format!("Claim.item[{index}]");
        let Some(net) = value(item.get("net")) else {
            draft.wrong(IssueCode::Required, "what the item comes to is missing", &format!("{at}.net"));
            continue;
        };
        if net < Decimal::from(0) {
            draft.wrong(IssueCode::BusinessRule, "an item cannot be less than nothing", &format!("{at}.net"));
        }
        for (name, amount) in [("net", item.get("net")), ("unitPrice", item.get("unitPrice"))] {
            let told = amount.and_then(|amount| amount.str("currency")).unwrap_or(currency);
            if told != currency {
                let text = format!("an amount in {told}; the claim is in {currency}");
                draft.wrong(IssueCode::BusinessRule, text, &format!("{at}.{name}.currency"));
            }
        }
        let (quantity, price) = (value(item.get("quantity")), value(item.get("unitPrice")));
        for (name, number) in [("quantity", &quantity), ("unitPrice", &price)] {
            if number.as_ref().is_some_and(|number| *number < Decimal::from(0)) {
                draft.wrong(IssueCode::BusinessRule, "less than nothing cannot be billed", &format!("{at}.{name}"));
            }
        }
        let factor = item.get("factor").map_or(Some(Decimal::from(1)), money::amount);
        let computed = quantity.zip(price).zip(factor).and_then(|((quantity, price), factor)| {
            money::product(&quantity, &price).and_then(|it| money::product(&it, &factor))
        });
        match computed {
            Some(computed) if computed == net => {}
            Some(computed) => {
                let text = format!("the item says {net}; quantity × unitPrice is {computed}");
                draft.wrong(IssueCode::BusinessRule, text, &format!("{at}.net"));
            }
            None => draft.wrong(IssueCode::Required, "quantity and unitPrice are needed as decimals", &at),
        }
        nets.push(net);
    }
    nets
}

/// The lines of the invoice.
pub(super) fn lines(draft: &mut Draft<'_>) -> Json {
    let only_code = match pre_authorization_codes(draft).as_slice() {
        [only] => Some(Json::from(*only)),
        _ => None,
    };
    let mut lines = Vec::new();
    for (index, item) in draft.claim.list("item").iter().enumerate() {
        let at = format!("Claim.item[{index}]");
        let product = coding(item.get("productOrService"), &draft.facts.system("item"));
        let code = product.and_then(|it| it.get("code")).cloned();
        if code.is_none() {
            draft.wrong(IssueCode::Required, "the item has no code", &format!("{at}.productOrService"));
        }
        let text = item.get("productOrService").and_then(|it| it.get("text"));
        let name = product.and_then(|it| it.get("display")).or(text).or(code.as_ref()).cloned();
        let started = item.at(&["servicedPeriod", "start"]).and_then(Json::as_str);
        let (date, time) = match (started.map(|it| local_time::written(it, draft.facts)), item.str("servicedDate")) {
            (Some(Some(local)), _) => (local[..10].into(), local[11..].into()),
            (None, Some(date)) if date.len() == 10 => (date.into(), Json::Null),
            _ => {
                let text =
                    "when the service was given is needed: servicedPeriod with a time and offset, or servicedDate";
                draft.wrong(IssueCode::Required, text, &format!("{at}.serviced"));
                (Json::Null, Json::Null)
            }
        };
        let group = coding(item.get("category"), &draft.facts.code_system("service-group"));
        let of = |name: &str| extension(item, &draft.facts.extension(name)).cloned();
        let number = |element: &str| item.get(element).and_then(|it| it.get("value")).cloned().unwrap_or(Json::Null);
        lines.push(fhir::object! {
            "additional_info": of("additional-info").unwrap_or(Json::Null),
            "amount": number("net"),
            "charge_date": date,
            "charge_time": time,
            "item_code": code.unwrap_or(Json::Null),
            "item_name": name.unwrap_or(Json::Null),
            "pre_authorization_code": of("pre-authorization-code").or_else(|| only_code.clone()).unwrap_or(Json::Null),
            "quantity": number("quantity"),
            "service_group": group.and_then(|it| it.get("code")).cloned().unwrap_or(Json::Null),
            "unit_price": number("unitPrice"),
        });
    }
    lines.into()
}

/// The diagnoses: exactly one of them is the primary one.
pub(super) fn diagnoses(draft: &mut Draft<'_>) -> Json {
    let (mut told, mut primary) = (Vec::new(), 0);
    let name_of_primary = if draft.facts.dialect("primary", "primary") { "primary" } else { "is_primary" };
    for (index, diagnosis) in draft.claim.list("diagnosis").iter().enumerate() {
        let at = format!("Claim.diagnosis[{index}]");
        let condition = draft.graph.target(draft.claim, diagnosis.get("diagnosisReference"));
        let concept = diagnosis.get("diagnosisCodeableConcept").or_else(|| condition?.get("code"));
        let codes = diagnosis.list("type").iter().flat_map(|concept| concept.list("coding"));
        let is_primary = codes.filter_map(|it| it.str("code")).any(|code| code == "principal");
        primary += usize::from(is_primary);
        if let Some(coded) = standard(concept) {
            told.push(coded.body(true, name_of_primary, is_primary));
        } else {
            let text = "a diagnosis needs a code of ICD-10 or ICD-11: http://hl7.org/fhir/sid/icd-10 or \
                        http://id.who.int/icd/release/11/mms";
            draft.wrong(IssueCode::CodeInvalid, text, &at);
        }
    }
    let later = draft.facts.dialect("diagnosis", "later");
    if primary != 1 && !(told.is_empty() && later) {
        let text = format!("{primary} diagnoses are principal; exactly one must be");
        draft.wrong(IssueCode::BusinessRule, text, "Claim.diagnosis");
    }
    told.into()
}

/// A diagnosis in a code system that SmartLink knows.
pub(super) struct Coded<'a> {
    code: &'a str,
    name: Option<&'a Json>,
    standard: &'static str,
}

impl Coded<'_> {
    pub(super) fn body(&self, with_claim: bool, name_of_primary: &str, is_primary: bool) -> Json {
        let mut body = Object::new();
        body.insert("code", self.code);
        body.insert("coding_standard", self.standard);
        body.insert("is_added_with_claim", with_claim);
        body.insert("name", self.name.cloned().unwrap_or(Json::Null));
        body.insert(name_of_primary, is_primary);
        body.into()
    }
}

/// The coding of a concept that SmartLink can take.
pub(super) fn standard(concept: Option<&Json>) -> Option<Coded<'_>> {
    let concept = concept?;
    STANDARDS.iter().find_map(|(system, standard)| {
        let coding = concept.list("coding").iter().find(|it| it.str("system") == Some(system))?;
        let name = coding.get("display").or_else(|| concept.get("text"));
        Some(Coded { code: coding.str("code")?, name, standard })
    })
}

/// What the patient and others than the insurer pay.
pub(super) fn modifiers(draft: &mut Draft<'_>) -> Vec<Modifier> {
    let mut modifiers = Vec::new();
    let url = draft.facts.extension("payment-modifier");
    for (index, told) in draft.claim.list("extension").iter().enumerate() {
        let at = format!("Claim.extension[{index}]");
        let (code, paid) = match told.str("url") {
            Some(PATIENT_PAID) => (Some("copay-fixed"), told.get("valueMoney")),
            Some(known) if known == url => (extension(told, "type").and_then(Json::as_str), extension(told, "amount")),
            _ => continue,
        };
        let kind = MODIFIERS.iter().find(|(known, _)| Some(*known) == code).map(|(_, kind)| *kind);
        let amount = value(paid).filter(|amount| *amount >= Decimal::from(0));
        let (Some(kind), Some(amount)) = (kind, amount) else {
            let known: Vec<&str> = MODIFIERS.iter().map(|(code, _)| *code).collect();
            let text = format!("a payment needs an amount of nothing or more and a type of {}", known.join(", "));
            draft.wrong(IssueCode::Value, text, &at);
            continue;
        };
        let mut body = Object::new();
        body.insert("type", kind);
        body.insert("amount", money::json(&amount));
        for (name, part) in MODIFIER_TEXTS {
            body.insert(name, extension(told, part).cloned().unwrap_or(Json::Null));
        }
        let currency = paid.and_then(|paid| paid.str("currency")).unwrap_or_default().to_owned();
        modifiers.push(Modifier { amount, currency, body: body.into() });
    }
    modifiers
}

fn pre_authorization_codes<'a>(draft: &Draft<'a>) -> Vec<&'a str> {
    let insurance = draft.claim.list("insurance").iter();
    insurance.flat_map(|it| it.list("preAuthRef")).filter_map(Json::as_str).collect()
}

/// What the insurer agreed to before; null if there was nothing.
pub(super) fn pre_authorizations(draft: &Draft<'_>) -> Json {
    let codes = pre_authorization_codes(draft);
    if codes.is_empty() {
        return Json::Null;
    }
    let of = |code: &str| {
        fhir::object! { "code": code, "amount": Json::Null, "authorized_by": Json::Null, "message": Json::Null }
    };
    codes.into_iter().map(of).collect::<Vec<_>>().into()
}

/// Of a stay: when it began and ended, and under which number; null for a visit of a day.
pub(super) fn admission(draft: &mut Draft<'_>) -> Json {
    let Some(encounter) = draft.encounter else { return Json::Null };
    let class = encounter.get("class").and_then(|class| class.str("code"));
    if !matches!(class, Some("IMP" | "ACUTE" | "NONAC")) {
        return Json::Null;
    }
    let time = |edge: &str| {
        let told = encounter.at(&["period", edge]).and_then(Json::as_str);
        told.and_then(|text| local_time::written(text, draft.facts)).map_or(Json::Null, Json::from)
    };
    let summary = encounter.at(&["hospitalization", "dischargeDisposition", "text"]);
    let admission = fhir::object! {
        "additional_info": Json::Null,
        "admission_date": time("start"),
        "admission_number": identifier(Some(encounter), &draft.facts.system("admission")).map_or(Json::Null, Json::from),
        "discharge_date": time("end"),
        "discharge_summary": summary.cloned().unwrap_or(Json::Null),
    };
    if draft.facts.dialect("admission", "array") { fhir::array![admission] } else { admission }
}

/// The value of a Money or Quantity.
fn value(amount: Option<&Json>) -> Option<Decimal> {
    money::amount(amount?.get("value")?)
}
