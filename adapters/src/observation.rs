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
    /// Logical id of the patient.
    pub(crate) patient: &'a str,
    /// When it was measured.
    pub(crate) effective: &'a str,
    /// When the vendor received it.
    pub(crate) issued: Option<&'a str>,
    /// `fullUrl` of the Device that measured.
    pub(crate) device: &'a str,
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

    /// The identifier of a part of the message: system, value, element.
    pub(crate) fn identifier(&self, suffix: &str) -> (String, String, Json) {
        let system = self.source.identifier_system("measurement");
        let value = format!("{}:{suffix}", self.source.record);
        let element = fhir::array![fhir::object! { "system": system.clone(), "value": value.clone() }];
        (system, value, element)
    }

    /// The patient as a reference.
    pub(crate) fn subject(&self) -> Json {
        fhir::object! { "reference": format!("Patient/{}", self.patient) }
    }
}

/// The entry that creates the Observation of a reading, once.
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
    observation.insert("effectiveDateTime", around.effective);
    if let Some(issued) = around.issued {
        observation.insert("issued", issued);
    }
    observation.insert("performer", fhir::array![around.subject()]);
    if let Some(value) = &reading.value {
        insert_value(value, &mut observation);
    }
    observation.insert("device", fhir::object! { "reference": around.device });
    if !reading.components.is_empty() {
        let components: Vec<Json> = reading.components.iter().map(|part| component(part, &around.source)).collect();
        observation.insert("component", components);
    }
    bundle::post("Observation", &system, &value, observation.into())
}

fn component(part: &Component, source: &Source<'_>) -> Json {
    let mut component = Object::new();
    if let Some(in_range) = part.in_range {
        component.insert("extension", fhir::array![in_range_extension(in_range, source)]);
    }
    component.insert("code", concept(&part.concept.codings, None));
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
        element.insert("system", "http://unitsofmeasure.org");
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
