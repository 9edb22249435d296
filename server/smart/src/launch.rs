//! Launch context: what was open when the app was started, or what the person chose.
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#scopes-for-requesting-context-data>

use crate::scope::{Level, Scope, ScopeSet};

/// Context of a grant; one source for the token answer, introspection and the view (SM-42).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaunchContext {
    /// Logical id of the patient.
    pub patient: Option<String>,
    /// Logical id of the encounter, which belongs to that patient.
    pub encounter: Option<String>,
}

impl LaunchContext {
    /// A context of one patient.
    pub fn of_patient(patient: impl Into<String>) -> Self {
        LaunchContext { patient: Some(patient.into()), encounter: None }
    }
}

/// Whether scopes can only be granted together with a patient (SM-38).
pub fn needs_patient(scopes: &ScopeSet) -> bool {
    scopes.contains(&Scope::LaunchPatient) || scopes.has_level(Level::Patient)
}
