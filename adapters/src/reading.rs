//! A reading of any vendor, before it becomes an Observation.

use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use crate::{table, warning};

/// What was measured, on whom, when and with what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// What follows the message id in the identifier: `pulse`; empty if the message is this one reading.
    pub(crate) suffix: String,
    /// Category code: `vital-signs`.
    pub(crate) category: String,
    /// Name of the R4 base profile, if it claims one: `heartrate`.
    pub(crate) profile: Option<String>,
    /// What it is.
    pub(crate) concept: Concept,
    /// Its value, if the reading itself has one.
    pub(crate) value: Option<Value>,
    /// Whether the value is inside the technical range of the meter.
    pub(crate) in_range: Option<bool>,
    /// Parts of it.
    pub(crate) components: Vec<Component>,
    /// How it was taken, in words.
    pub(crate) method: Option<&'static str>,
    /// What the meter itself says of the value, such as that it is off its scale.
    pub(crate) interpretation: Option<Json>,
    /// Whether its parts are shown under their names, beside their codes.
    pub(crate) has_named_parts: bool,
    /// `fullUrl`s of the Observations that it consists of.
    pub(crate) members: Vec<String>,
}

/// One part of a reading.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    /// What it is.
    pub(crate) concept: Concept,
    /// Its value.
    pub(crate) value: Value,
    /// Whether the value is inside the technical range of the meter.
    pub(crate) in_range: Option<bool>,
}

/// Codings of one meaning, and its name for people.
#[derive(Clone, Debug, Default)]
pub(crate) struct Concept {
    /// Codings, the one a profile asks for first.
    pub(crate) codings: Vec<Json>,
    /// Name for people.
    pub(crate) text: Option<String>,
}

/// A value of a reading.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A number with a unit.
    Quantity(Quantity),
    /// Yes or no.
    Boolean(bool),
    /// The vendor's own word.
    Text(String),
    /// A code: a `CodeableConcept`.
    Concept(Json),
    /// A wave, as FHIR `SampledData`.
    Sampled(Json),
    /// Not measured.
    Unknown,
}

/// A number with a unit, both as the vendor wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quantity {
    /// The number as written.
    pub(crate) value: Box<str>,
    /// The unit as written.
    pub(crate) unit: String,
    /// The unit's UCUM code, if it is known.
    pub(crate) ucum: Option<String>,
}

impl Reading {
    /// A warning for every number that no body or room can have.
    ///
    /// Such a value is kept as it is and published as preliminary: the vendor's truth is not ours to mend.
    pub(crate) fn implausible(&self) -> Vec<Issue> {
        let own = self.value.as_ref().map(|value| (&self.concept, value));
        let parts = self.components.iter().map(|component| (&component.concept, &component.value));
        own.into_iter().chain(parts).filter_map(|(concept, value)| concept.implausible(value)).collect()
    }
}

impl Concept {
    fn implausible(&self, value: &Value) -> Option<Issue> {
        let Value::Quantity(Quantity { value, unit, ucum: Some(ucum) }) = value else {
            return None;
        };
        let code = self.codings.first()?.str("code")?;
        let (low, high) = table::plausible_range(code, ucum)?;
        let number = Decimal::parse(value)?;
        if Decimal::parse(low)? <= number && number <= Decimal::parse(high)? {
            return None;
        }
        let name = self.text.as_deref().unwrap_or(code);
        let text = format!("{name} {value} {unit} is outside {low} to {high} {ucum}; kept as preliminary");
        Some(warning(IssueCode::Value, text, "Observation.value"))
    }
}
