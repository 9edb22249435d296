//! What came with the question: the visit, the patient, the benefit that was chosen, and settings of the payer.

use fhir::decimal::Decimal;
use fhir::json::Json;

use super::{Source, VENDOR};
use crate::{Context, bundle};

/// Zone of SmartLink's local times where nothing else is configured.
const ZONE: &str = "Africa/Nairobi";

/// Currency of what an answer says no currency of and no policy is known.
const CURRENCY: &str = "KES";

/// What is known of a visit beside the message, read from [`Context::visit`].
///
/// | member | meaning |
/// |---|---|
/// | `sessionId`, `patientNumber`, `visitNumber` | the session; also as `session.session_id`, `session.patientNumber`, `session.visit_number` |
/// | `payerCode`, `coverage`, `memberNumber` | insurer, `policy:member`, member |
/// | `invoiceNumber` or `invoice_number` | the invoice |
/// | `benefitId` or `session.selected_benefit{id, pool_number, service_type}` | the benefit that is used |
/// | `interim` | `true`: a part of what a stay will come to, for `POST /api/interim-claim` |
/// | `created` | when the session was first seen; else now |
/// | `currency`, `zone` | of the policy (KES), of local times (Africa/Nairobi) |
/// | `dialect` | where integrations differ: `admission` object or array, `primary` is_primary or primary, `modifiers` invoice or top |
#[derive(Debug)]
pub struct Facts<'a> {
    /// Namespace and clock.
    pub(crate) context: &'a Context<'a>,
}

/// A benefit that the claim is paid from.
#[derive(Clone, Debug, Default)]
pub(super) struct Benefit {
    pub(super) pool: Option<String>,
    pub(super) service_type: Option<String>,
}

impl<'a> Facts<'a> {
    /// What the context says.
    pub fn new(context: &'a Context<'a>) -> Self {
        Facts { context }
    }

    pub(super) fn session(&self) -> Option<String> {
        self.text(&["sessionId"]).or_else(|| self.text(&["session", "session_id"]))
    }

    pub(super) fn patient_number(&self) -> Option<String> {
        self.text(&["patientNumber"]).or_else(|| self.text(&["session", "patientNumber"]))
    }

    pub(super) fn visit_number(&self) -> Option<String> {
        self.text(&["visitNumber"]).or_else(|| self.text(&["session", "visit_number"]))
    }

    pub(super) fn invoice(&self) -> Option<String> {
        self.text(&["invoiceNumber"]).or_else(|| self.text(&["invoice_number"]))
    }

    pub(super) fn benefit_id(&self) -> Option<String> {
        self.text(&["benefitId"]).or_else(|| self.text(&["session", "selected_benefit", "id"]))
    }

    pub(super) fn benefit(&self) -> Benefit {
        let of = |name| self.text(&["session", "selected_benefit", name]);
        Benefit { pool: of("pool_number"), service_type: of("service_type") }
    }

    /// A fact that is text or a number.
    pub(super) fn told(&self, name: &str) -> Option<String> {
        self.text(&[name])
    }

    pub(super) fn currency(&self) -> String {
        self.told("currency").unwrap_or_else(|| CURRENCY.to_owned())
    }

    pub(super) fn zone(&self) -> String {
        self.told("zone").unwrap_or_else(|| ZONE.to_owned())
    }

    /// Whether the payer wants another form than the usual one.
    pub(super) fn dialect(&self, what: &str, form: &str) -> bool {
        self.text(&["dialect", what]).is_some_and(|told| told == form)
    }

    /// Now, as an instant of FHIR.
    pub(super) fn now(&self) -> String {
        let now = jiff::Timestamp::from_microsecond(self.context.now).unwrap_or_default();
        now.to_string()
    }

    pub(super) fn system(&self, kind: &str) -> String {
        format!("{}/{VENDOR}/{kind}", self.context.namespace)
    }

    pub(super) fn code_system(&self, name: &str) -> String {
        self.source("", "").code_system(name)
    }

    pub(super) fn extension(&self, name: &str) -> String {
        self.source("", "").extension(name)
    }

    /// `meta.source` of what a record of SmartLink became.
    pub(super) fn meta(&self, of: &str, record: &str) -> Json {
        let record: String = record.chars().map(|it| if it.is_whitespace() { '-' } else { it }).collect();
        fhir::object! { "source": self.source(of, &record).uri() }
    }

    pub(super) fn identifier(&self, kind: &str, value: &str) -> Json {
        fhir::object! { "system": self.system(kind), "value": value }
    }

    /// A reference to the only resource with an identifier of this vendor.
    pub(super) fn reference(&self, resource_type: &str, kind: &str, value: &str) -> Json {
        fhir::object! { "reference": bundle::conditional(resource_type, &self.system(kind), value) }
    }

    /// A reference into the same Bundle.
    pub(super) fn inside(&self, kind: &str, value: &str) -> Json {
        fhir::object! { "reference": bundle::full_url(&self.system(kind), value) }
    }

    /// An amount in the currency of the policy.
    pub(super) fn money(&self, amount: &Decimal) -> Json {
        fhir::object! { "value": crate::money::json(amount), "currency": self.currency() }
    }

    fn source<'s>(&'s self, of: &'s str, record: &'s str) -> Source<'s> {
        Source { namespace: self.context.namespace, vendor: VENDOR, of, record }
    }

    fn text(&self, path: &[&str]) -> Option<String> {
        let told = path.iter().try_fold(self.context.visit?, |value, name| value.get(name))?;
        text(told)
    }
}

/// A text or number that says something.
pub(super) fn text(json: &Json) -> Option<String> {
    let text = json.as_str().or(json.as_number())?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The text or number of a member.
pub(super) fn member(json: &Json, name: &str) -> Option<String> {
    text(json.get(name)?)
}

/// A coding of one of HL7's systems.
pub(super) fn concept(system: &str, code: &str, display: &str) -> Json {
    let coding = fhir::object! { "system": system, "code": code, "display": display };
    fhir::object! { "coding": fhir::array![coding] }
}

/// `http://terminology.hl7.org/CodeSystem/` and a name.
pub(super) fn hl7(name: &str) -> String {
    format!("http://terminology.hl7.org/CodeSystem/{name}")
}
