//! Outbound: a FHIR Claim and what it refers to, as the body of `POST /api/claims`. One Claim is one invoice.
//! <https://hl7.org/fhir/R4/claim.html>
//!
//! ```text
//! gross_amount = Claim.total = sum of item.net        amount = gross_amount − payment modifiers
//! ```
//!
//! Money is proved before it is sent. What the format cannot carry is told: it is whatever does not come back when the
//! body is read again ([`super::claim_back`]).

use fhir::decimal::Decimal;
use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};

use super::graph::{Graph, extension, identifier, name};
use super::{Facts, claim_back, claim_parts, local_time, lost};
use crate::{Mapping, Refusal, error, money};

/// Extension of R5 that says in R4 what the patient paid. <https://hl7.org/fhir/R5/claim-definitions.html#Claim.patientPaid>
pub(super) const PATIENT_PAID: &str = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Claim.patientPaid";

/// Whether this is a Bundle with a Claim.
pub(super) fn recognises(json: &Json) -> bool {
    json.str("resourceType") == Some("Bundle") && Graph::new(json).of_type("Claim").next().is_some()
}

/// The body, with a warning for everything that it cannot carry.
#[expect(clippy::unnecessary_wraps, reason = "all modules of messages are read alike")]
pub(super) fn read(json: &Json, facts: &Facts<'_>) -> Result<Mapping, Refusal> {
    Ok(match build(json, facts) {
        Ok((request, issues)) => Mapping::Send { request, issues },
        Err(issues) => Mapping::Refuse { issues },
    })
}

/// The body of the claim in a Bundle, and what it cannot carry; or what is wrong with the claim.
pub(super) fn build(bundle: &Json, facts: &Facts<'_>) -> Result<(Json, Vec<Issue>), Vec<Issue>> {
    let graph = Graph::new(bundle);
    let mut claims = graph.of_type("Claim");
    let (Some(claim), None) = (claims.next(), claims.next()) else {
        return Err(vec![error(IssueCode::Required, "the Bundle must hold exactly one Claim", "Bundle.entry")]);
    };
    let mut draft = Draft::new(claim, graph, facts);
    let body = draft.body();
    if !draft.problems.is_empty() {
        return Err(draft.problems);
    }
    let rebuilt = claim_back::claim(&body, facts);
    Ok((body, lost::lost(claim, &rebuilt)))
}

/// What a claim comes to.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    pub(super) gross: Decimal,
    pub(super) net: Decimal,
    pub(super) currency: String,
}

/// A claim while its body is made.
pub(super) struct Draft<'a> {
    pub(super) claim: &'a Json,
    pub(super) graph: Graph<'a>,
    pub(super) facts: &'a Facts<'a>,
    pub(super) encounter: Option<&'a Json>,
    pub(super) problems: Vec<Issue>,
}

impl<'a> Draft<'a> {
    fn new(claim: &'a Json, graph: Graph<'a>, facts: &'a Facts<'a>) -> Self {
        let named = claim.list("item").iter().find_map(|item| item.list("encounter").first());
        let encounter = graph.target(claim, named);
        Draft { claim, graph, facts, encounter, problems: Vec::new() }
    }

    pub(super) fn wrong(&mut self, code: IssueCode, text: impl Into<String>, at: &str) {
        self.problems.push(error(code, text, at));
    }

    /// The text, or a problem.
    fn need(&mut self, found: Option<String>, what: &str, at: &str) -> Json {
        if let Some(text) = found {
            return text.into();
        }
        self.wrong(IssueCode::Required, what, at);
        Json::Null
    }

    /// A resource that an element of the claim points at.
    fn target(&self, element: &str) -> Option<&'a Json> {
        self.graph.target(self.claim, self.claim.get(element))
    }

    fn body(&mut self) -> Json {
        let invoice = identifier(Some(self.claim), &self.facts.system("invoice")).map(str::to_owned);
        let invoice = self.need(invoice, "the invoice number is missing among the identifiers", "Claim.identifier");
        if self.claim.str("use") != Some("claim") {
            self.wrong(IssueCode::BusinessRule, "only a Claim with use = claim is billed", "Claim.use");
        }
        let created = self.created();
        let sums = self.sums();
        let mut body = Object::new();
        body.insert("claim_code", invoice.clone());
        self.insurer(&mut body);
        body.insert("amount", sums.as_ref().map_or(Json::Null, |sums| money::json(&sums.net)));
        body.insert("gross_amount", sums.as_ref().map_or(Json::Null, |sums| money::json(&sums.gross)));
        body.insert("batch_number", Json::Null);
        body.insert("dispatch_date", created.clone());
        self.people(&mut body);
        self.visit(&mut body);
        body.insert("currency", sums.as_ref().map_or(Json::Null, |sums| sums.currency.as_str().into()));
        self.provider(&mut body);
        body.insert("diagnosis", claim_parts::diagnoses(self));
        body.insert("pre_authorization", claim_parts::pre_authorizations(self));
        body.insert("admission", claim_parts::admission(self));
        let benefit = self.facts.benefit();
        let pool: Json = benefit.pool.map_or(Json::Null, Json::from);
        let modifiers: Json = claim_parts::modifiers(self).into_iter().map(|it| it.body).collect::<Vec<_>>().into();
        let at_top = self.facts.dialect("modifiers", "top");
        let mut sent = Object::new();
        for (name, value) in [("amount", body.get("amount")), ("gross_amount", body.get("gross_amount"))] {
            sent.insert(name, value.cloned().unwrap_or(Json::Null));
        }
        sent.insert("invoice_date", created);
        sent.insert("invoice_number", invoice.clone());
        sent.insert("invoice_ref_number", invoice);
        sent.insert("lines", claim_parts::lines(self));
        let place = if at_top { &mut body } else { &mut sent };
        place.insert("payment_modifiers", modifiers);
        place.insert("pool_number", pool);
        sent.insert("service_type", benefit.service_type.map_or(Json::Null, Json::from));
        for name in ["etims-number", "etims-qrcode"] {
            if let Some(value) = extension(self.claim, &self.facts.extension(name)) {
                sent.insert(&name.replace('-', "_"), value.clone());
            }
        }
        body.insert("invoices", fhir::array![Json::from(sent)]);
        body.into()
    }

    fn created(&mut self) -> Json {
        let created = self.claim.str("created").and_then(|text| local_time::written(text, self.facts));
        self.need(created, "the time of the invoice is needed, with its offset from UTC", "Claim.created")
    }

    fn insurer(&mut self, body: &mut Object) {
        let insurer = self.target("insurer");
        let code = identifier(insurer, &self.facts.system("payer")).map(str::to_owned);
        let code = code.or_else(|| self.facts.told("payerCode"));
        let code = self.need(code, "the insurer has no payer code among its identifiers", "Claim.insurer");
        body.insert("payer_code", code.clone());
        body.insert("payer_name", insurer.and_then(|it| it.get("name")).cloned().unwrap_or(Json::Null));
        body.insert("medicalaid_code", code);
    }

    fn people(&mut self, body: &mut Object) {
        let patient = self.target("patient");
        let number = identifier(patient, &self.facts.system("patient-number")).map(str::to_owned);
        let number = number.or_else(|| self.facts.patient_number());
        let number = self.need(number, "the Patient has no SmartLink patient number", "Claim.patient");
        let coverage = self.coverage();
        let member = coverage.and_then(|it| it.str("subscriberId")).map(str::to_owned);
        let member = member.or_else(|| identifier(patient, &self.facts.system("member-number")).map(str::to_owned));
        let member = member.or_else(|| self.facts.told("memberNumber"));
        let at = "Claim.insurance[0].coverage";
        let member = self.need(member, "neither Coverage nor Patient says the member number", at);
        body.insert("patient_number", number);
        body.insert("patient_name", patient.and_then(name).map_or(Json::Null, Json::from));
        let facility = self.target("facility");
        let location = identifier(facility, &self.facts.system("location")).map(str::to_owned);
        let location = location.or_else(|| self.facts.told("locationCode"));
        body.insert("location_code", location.map_or(Json::Null, Json::from));
        body.insert("location_name", facility.and_then(|it| it.get("name")).cloned().unwrap_or(Json::Null));
        let group = coverage
            .into_iter()
            .flat_map(|it| it.list("class"))
            .find(|class| class.at(&["type", "coding", "code"]).and_then(Json::as_str) == Some("group"));
        let of_group = |name: &str| group.and_then(|class| class.get(name)).cloned().unwrap_or(Json::Null);
        body.insert("scheme_code", of_group("value"));
        body.insert("scheme_name", of_group("name"));
        body.insert("member_number", member);
    }

    fn coverage(&mut self) -> Option<&'a Json> {
        let [insurance] = self.claim.list("insurance") else {
            let text = "a claim to SmartLink names exactly one insurance; bill others with claims of their own";
            self.wrong(IssueCode::BusinessRule, text, "Claim.insurance");
            return None;
        };
        self.graph.target(self.claim, insurance.get("coverage"))
    }

    fn visit(&mut self, body: &mut Object) {
        let at = "Claim.item[0].encounter";
        for (index, item) in self.claim.list("item").iter().enumerate() {
            let others = item.list("encounter").iter().map(|it| self.graph.target(self.claim, Some(it)));
            if others.flatten().any(|other| self.encounter.is_some_and(|it| it != other)) {
                let text = "all items of a claim belong to one Encounter";
                self.wrong(IssueCode::BusinessRule, text, &format!("Claim.item[{index}].encounter"));
            }
        }
        let known = [("visit-number", self.facts.visit_number()), ("session", self.facts.session())];
        for (kind, told) in known {
            let own = identifier(self.encounter, &self.facts.system(kind)).map(str::to_owned);
            if let (Some(own), Some(told)) = (&own, &told)
                && own != told
            {
                let text = format!("the Encounter has {kind} {own}, the session has {told}; they must be the same");
                self.wrong(IssueCode::BusinessRule, text, at);
            }
            let found = self.need(told.or(own), &format!("the Encounter has no {kind}; merge the visit first"), at);
            match kind {
                "session" => body.insert("session_id", numeric(found)),
                _ => body.insert("visit_number", found),
            }
        }
        for (name, edge) in [("visit_start", "start"), ("visit_end", "end")] {
            let of = |resource: Option<&'a Json>, element: &str| resource.and_then(|it| it.at(&[element, edge]));
            let told = of(Some(self.claim), "billablePeriod").or_else(|| of(self.encounter, "period"));
            let told = told.and_then(Json::as_str).and_then(|text| local_time::written(text, self.facts));
            let at = format!("Claim.billablePeriod.{edge}");
            let text = format!("the {edge} of the visit is needed as a time with its offset from UTC");
            let time = self.need(told, &text, &at);
            body.insert(name, time);
        }
    }

    fn provider(&mut self, body: &mut Object) {
        let first = self.claim.list("careTeam").first();
        let doctor = first.and_then(|member| {
            let provider = member.get("provider");
            let resource = self.graph.target(self.claim, provider);
            resource.and_then(name).or_else(|| provider?.str("display").map(str::to_owned))
        });
        body.insert("doctor_name", doctor.map_or(Json::Null, Json::from));
        let provider = identifier(self.target("provider"), &self.facts.system("provider")).map(str::to_owned);
        let provider = provider.or_else(|| self.facts.told("spId"));
        let provider = self.need(provider, "the provider has no SmartLink id among its identifiers", "Claim.provider");
        body.insert("sp_id", numeric(provider));
    }

    /// Proves that the lines add up, in one currency, and takes off what others pay.
    fn sums(&mut self) -> Option<Sums> {
        let total = self.claim.get("total");
        let at = "Claim.total";
        let is_code = |text: &&str| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        let told = total.and_then(|total| total.str("currency"));
        let Some(currency) = told.filter(is_code).map(str::to_owned) else {
            self.wrong(IssueCode::Required, "the total is missing, or its currency", at);
            return None;
        };
        let Some(gross) = total.and_then(|total| total.get("value")).and_then(money::amount) else {
            self.wrong(IssueCode::Value, "the total must be a decimal", "Claim.total.value");
            return None;
        };
        let nets = claim_parts::nets(self, &currency);
        let lines = money::sum(&nets);
        match &lines {
            Some(lines) if *lines == gross => {}
            Some(lines) => {
                let text = format!("the total is {gross}, the items come to {lines}; they must be the same");
                self.wrong(IssueCode::BusinessRule, text, at);
            }
            None => self.wrong(IssueCode::Value, "the items are too large to be added exactly", "Claim.item"),
        }
        let modifiers = claim_parts::modifiers(self);
        for modifier in modifiers.iter().filter(|modifier| modifier.currency != currency) {
            let text = format!("an amount in {}; the claim is in {currency}", modifier.currency);
            self.problems.push(error(IssueCode::BusinessRule, text, "Claim.extension"));
        }
        let taken = money::sum(modifiers.iter().map(|modifier| &modifier.amount));
        let net = taken.as_ref().and_then(|taken| money::difference(&gross, taken))?;
        if net < Decimal::from(0) {
            let text = format!("what others pay is more than the total of {gross}");
            self.wrong(IssueCode::BusinessRule, text, "Claim.extension");
        }
        Some(Sums { gross, net, currency })
    }
}

/// A number where a text is one: SmartLink wants ids of sessions and providers so.
fn numeric(found: Json) -> Json {
    match found.as_str() {
        Some(text) if text.len() < 19 && text.parse::<i64>().is_ok_and(|it| it.to_string() == text) => {
            Json::Number(text.into())
        }
        _ => found,
    }
}
