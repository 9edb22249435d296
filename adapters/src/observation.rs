//! Readings as Observation. <https://hl7.org/fhir/R4/observation.html>, <https://hl7.org/fhir/R4/observation-vitalsigns.html>

use fhir::json::{Json, Object};

use crate::bundle::{self, Source};
use crate::reading::{Component, Quantity, Reading, Value};
use crate::table;

/// What all readings of one message have in common.
#[derive(Clone, Debug)]
pub(crate) struct Circumstances<'a> {
    /// The message.
    pub(crate) source: Source<'a>,
    /// Reference of the patient.
    pub(crate) subject: String,
    /// When it was measured.
    pub(crate) effective: Effective<'a>,
    /// When the vendor received it.
    pub(crate) issued: Option<&'a str>,
    /// Reference of the Device that measured.
    pub(crate) device: Option<&'a str>,
    /// Kind of identifier that names a part of the message.
    pub(crate) kind: &'static str,
    /// Further identifiers that all parts share.
    pub(crate) also: &'a [Json],
    /// Whether a part is written once or may change.
    pub(crate) write: Write,
}

/// A moment or a period, as FHIR writes them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effective<'a> {
    /// At this moment.
    At(&'a str),
    /// From the first to the second.
    Between(&'a str, &'a str),
}

/// How an Observation is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// An event that never changes: created unless it exists.
    Once,
    /// Something that the vendor may correct: created or updated.
    State,
}

impl Effective<'_> {
    /// Sets `effectiveDateTime` or `effectivePeriod`.
    pub(crate) fn insert(self, resource: &mut Object) {
        match self {
            Effective::At(moment) => resource.insert("effectiveDateTime", moment),
            Effective::Between(start, end) => {
                resource.insert("effectivePeriod", fhir::object! { "start": start, "end": end });
            }
        }
    }
}

impl Circumstances<'_> {
    /// The head that Observation and `DiagnosticReport` share.
    pub(crate) fn head(&self, resource_type: &str, profile: Option<&str>) -> Object {
        let mut meta = Object::new();
        meta.insert("source", self.source.uri());
        if let Some(profile) = profile {
            meta.insert("profile", fhir::array![format!("http://hl7.org/fhir/StructureDefinition/{profile}")]);
        }
        let mut head = Object::new();
        head.insert("resourceType", resource_type);
        head.insert("meta", meta);
        head
    }

    /// The identifiers of a part of the message: system and value of the first, and the element.
    pub(crate) fn identifier(&self, suffix: &str) -> (String, String, Json) {
        let system = self.source.identifier_system(self.kind);
        let value = match suffix {
            "" => self.source.record.to_owned(),
            suffix => format!("{}:{suffix}", self.source.record),
        };
        let mut items = vec![fhir::object! { "system": system.clone(), "value": value.clone() }];
        items.extend_from_slice(self.also);
        (system, value, Json::Array(items))
    }

    /// The patient as a reference.
    pub(crate) fn subject(&self) -> Json {
        fhir::object! { "reference": self.subject.as_str() }
    }
}

/// The entry that writes the Observation of a reading.
pub(crate) fn entry(reading: &Reading, around: &Circumstances<'_>, preliminary: bool) -> Json {
    let (system, value, identifier) = around.identifier(&reading.suffix);
    let mut observation = around.head("Observation", reading.profile.as_deref());
    if let Some(in_range) = reading.in_range {
        observation.insert("extension", fhir::array![in_range_extension(in_range, &around.source)]);
    }
    observation.insert("identifier", identifier);
    observation.insert("status", if preliminary { "preliminary" } else { "final" });
    observation
        .insert("category", fhir::array![fhir::object! { "coding": fhir::array![table::category(&reading.category)] }]);
    observation.insert("code", concept(&reading.concept.codings, reading.concept.text.as_deref()));
    observation.insert("subject", around.subject());
    around.effective.insert(&mut observation);
    if let Some(issued) = around.issued {
        observation.insert("issued", issued);
    }
    observation.insert("performer", fhir::array![around.subject()]);
    if let Some(value) = &reading.value {
        insert_value(value, &mut observation);
    }
    if let Some(interpretation) = &reading.interpretation {
        observation.insert("interpretation", fhir::array![interpretation.clone()]);
    }
    if let Some(method) = reading.method {
        observation.insert("method", fhir::object! { "text": method });
    }
    if let Some(device) = around.device {
        observation.insert("device", fhir::object! { "reference": device });
    }
    if !reading.members.is_empty() {
        let members = reading.members.iter().map(|url| fhir::object! { "reference": url.as_str() });
        observation.insert("hasMember", members.collect::<Vec<_>>());
    }
    if !reading.components.is_empty() {
        let components = reading.components.iter().map(|part| {
            let name = part.concept.text.as_deref().filter(|_| reading.has_named_parts);
            component(part, name, &around.source)
        });
        observation.insert("component", components.collect::<Vec<_>>());
    }
    match around.write {
        Write::Once => bundle::post("Observation", &system, &value, observation.into()),
        Write::State => bundle::put("Observation", &system, &value, observation.into()),
    }
}

fn component(part: &Component, name: Option<&str>, source: &Source<'_>) -> Json {
    let mut component = Object::new();
    if let Some(in_range) = part.in_range {
        component.insert("extension", fhir::array![in_range_extension(in_range, source)]);
    }
    component.insert("code", concept(&part.concept.codings, name));
    insert_value(&part.value, &mut component);
    component.into()
}

fn concept(codings: &[Json], text: Option<&str>) -> Json {
    let mut concept = Object::new();
    concept.insert("coding", codings.to_vec());
    if let Some(text) = text {
        concept.insert("text", text);
    }
    concept.into()
}

fn insert_value(value: &Value, target: &mut Object) {
    match value {
        Value::Quantity(quantity) => target.insert("valueQuantity", quantity_element(quantity)),
        Value::Boolean(value) => target.insert("valueBoolean", *value),
        Value::Text(text) => target.insert("valueString", text.as_str()),
        Value::Concept(concept) => target.insert("valueCodeableConcept", concept.clone()),
        Value::Sampled(data) => target.insert("valueSampledData", data.clone()),
        Value::Unknown => target.insert("dataAbsentReason", absent("unknown", "Unknown")),
    }
}

fn quantity_element(quantity: &Quantity) -> Json {
    let mut element = Object::new();
    element.insert("value", Json::Number(quantity.value.clone()));
    if !quantity.unit.is_empty() {
        element.insert("unit", quantity.unit.as_str());
    }
    if let Some(ucum) = &quantity.ucum {
        element.insert("system", fhir::ucum::SYSTEM);
        element.insert("code", ucum.as_str());
    }
    element.into()
}

fn absent(code: &str, display: &str) -> Json {
    let coding = fhir::object! {
        "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason",
        "code": code,
        "display": display,
    };
    fhir::object! { "coding": fhir::array![coding] }
}

/// The meter's technical range; a clinical `interpretation` it is not.
fn in_range_extension(in_range: bool, source: &Source<'_>) -> Json {
    fhir::object! { "url": source.extension("is-in-range"), "valueBoolean": in_range }
}
