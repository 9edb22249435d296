//! Launch context: what was open when the app was started, or what the person chose.
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#scopes-for-requesting-context-data>

use fhir::json::{Json, Object};

use crate::scope::{Level, Scope, ScopeSet};

pub mod fhir_context;

/// How long a launch handle can be used, microseconds (SM-35).
pub const LIFETIME: i64 = 5 * 60 * 1_000_000;

/// Context of a grant; one source for the token answer, introspection and the view (SM-42).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaunchContext {
    /// Logical id of the patient.
    pub patient: Option<String>,
    /// Logical id of the encounter, which belongs to that patient (SM-39).
    pub encounter: Option<String>,
    /// Whether the app has to show whose record it is; none: nothing was said (SM-41).
    pub need_patient_banner: Option<bool>,
    /// What the person wants to do, in the words of the EHR.
    pub intent: Option<String>,
    /// The organization on whose behalf the EHR speaks.
    pub tenant: Option<String>,
    /// What else was open, a JSON array, as [`fhir_context::check`] accepts it (SM-40).
    pub fhir_context: Option<String>,
}

/// What an EHR handed to an app by a launch handle: a context, for one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launched {
    /// The account of the person who launched; nobody else can answer (SM-35).
    pub account_id: String,
    /// What was open.
    pub context: LaunchContext,
}

impl LaunchContext {
    /// A context of one patient.
    pub fn of_patient(patient: impl Into<String>) -> Self {
        LaunchContext { patient: Some(patient.into()), ..LaunchContext::default() }
    }

    /// The members by which the token response and introspection tell it, in this order.
    pub fn token_members(&self) -> Vec<(&'static str, Json)> {
        let text = |value: &Option<String>| value.as_deref().map(Json::from);
        let fhir_context = self.fhir_context.as_deref().and_then(|text| Json::parse(text.as_bytes()).ok());
        let members = [
            ("patient", text(&self.patient)),
            ("encounter", text(&self.encounter)),
            ("need_patient_banner", self.need_patient_banner.map(Json::Bool)),
            ("intent", text(&self.intent)),
            ("tenant", text(&self.tenant)),
            ("fhirContext", fhir_context),
        ];
        members.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// As one text for the database.
    pub fn to_text(&self) -> String {
        let mut object = Object::new();
        for (name, value) in self.token_members() {
            object.insert(name, value);
        }
        Json::Object(object).to_string()
    }

    /// Reads that text; none if it is damaged.
    pub fn from_text(text: &str) -> Option<Self> {
        let json = Json::parse(text.as_bytes()).ok()?;
        json.as_object()?;
        let text = |name: &str| json.str(name).map(str::to_owned);
        Some(LaunchContext {
            patient: text("patient"),
            encounter: text("encounter"),
            need_patient_banner: json.get("need_patient_banner").and_then(Json::as_bool),
            intent: text("intent"),
            tenant: text("tenant"),
            fhir_context: json.get("fhirContext").map(ToString::to_string),
        })
    }

    /// The part that these scopes let the app know. With `launch` it is all of it.
    #[must_use]
    pub fn told_to(self, scopes: &ScopeSet) -> Self {
        if scopes.contains(&Scope::Launch) {
            return self;
        }
        LaunchContext {
            patient: self.patient.filter(|_| needs_patient(scopes)),
            encounter: self.encounter.filter(|_| scopes.contains(&Scope::LaunchEncounter)),
            ..LaunchContext::default()
        }
    }
}

/// Whether scopes can only be granted together with a patient (SM-38); an encounter is a patient's.
pub fn needs_patient(scopes: &ScopeSet) -> bool {
    [Scope::LaunchPatient, Scope::LaunchEncounter].iter().any(|scope| scopes.contains(scope))
        || scopes.has_level(Level::Patient)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> LaunchContext {
        LaunchContext {
            patient: Some("p1".to_owned()),
            encounter: Some("e1".to_owned()),
            need_patient_banner: Some(false),
            intent: Some("reconcile-medications".to_owned()),
            tenant: Some("north".to_owned()),
            fhir_context: Some(r#"[{"reference":"ImagingStudy/1"}]"#.to_owned()),
        }
    }

    #[test]
    fn sm_42_what_is_kept_is_what_is_told() {
        let names: Vec<_> = full().token_members().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["patient", "encounter", "need_patient_banner", "intent", "tenant", "fhirContext"]);
        for context in [full(), LaunchContext::default(), LaunchContext::of_patient("p\"1")] {
            assert_eq!(LaunchContext::from_text(&context.to_text()), Some(context));
        }
        for damaged in ["", "[]", "x", "{"] {
            assert_eq!(LaunchContext::from_text(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn the_app_learns_what_its_scopes_ask_for() {
        let told = |scopes: &str| full().told_to(&ScopeSet::parse(scopes).expect("valid scopes"));
        assert_eq!(told("launch patient/*.rs"), full());
        assert_eq!(told("patient/*.rs"), LaunchContext::of_patient("p1"));
        assert_eq!(told("launch/encounter user/*.rs").encounter.as_deref(), Some("e1"));
        assert_eq!(told("user/*.rs openid"), LaunchContext::default());
    }
}
