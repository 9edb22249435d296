//! Whose a record is, as its message says: nobody else's readings are taken back by it.

use fhir::json::Json;

use crate::{Context, bundle};

/// The patient, or the device, that a record is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    name: String,
    also: Vec<String>,
}

impl Holder {
    /// The patient whose app sent it.
    pub(crate) fn session(patient: &str) -> Self {
        Holder { name: format!("Patient/{patient}"), also: Vec::new() }
    }

    /// The vendor's user: whoever was ever paired with it, or has it as an identifier of this system.
    pub(crate) fn user(system: &str, user: &str, context: &Context<'_>) -> Self {
        let paired = context.assignments.iter().filter(|assignment| assignment.device == user);
        let also = paired.map(|assignment| format!("Patient/{}", assignment.patient)).collect();
        Holder { name: bundle::conditional("Patient", system, user), also }
    }

    /// The device with this identifier, whoever has it.
    pub(crate) fn device(system: &str, value: &str) -> Self {
        Holder { name: bundle::conditional("Device", system, value), also: vec![bundle::full_url(system, value)] }
    }

    /// The same for the same holder, whatever the pairings are.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// References to it, some of which are searches such as `Device?identifier=…`.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.also.iter().map(String::as_str))
    }
}

/// Whether a stored Observation is about one of these, or was measured with one.
pub fn is_of(stored: &Json, references: &[String]) -> bool {
    let of = |name: &str| stored.at(&[name, "reference"]).and_then(Json::as_str);
    let mut told = [of("subject"), of("device")].into_iter().flatten();
    told.any(|reference| references.iter().any(|known| known == reference))
}
