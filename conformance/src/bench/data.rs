//! Generated data: patients, each with the same number of vital signs over a year, in an order as devices send them.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use fhir::json::Json;
use fhir::{array, object};
use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;

/// Vital signs by LOINC code: code, name, unit, lowest value, span. The last is a panel of two.
const SIGNS: [(&str, &str, &str, usize, usize); 5] = [
    ("8867-4", "Heart rate", "/min", 50, 80),
    ("59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry", "%", 90, 10),
    ("29463-7", "Body weight", "kg", 45, 80),
    ("8310-5", "Body temperature", "Cel", 36, 4),
    ("85354-9", "Blood pressure panel", "mm[Hg]", 90, 80),
];
const PANEL: &str = "85354-9";
/// Components of the panel: code, name, by how much it is below the panel's number.
const COMPONENTS: [(&str, &str, usize); 2] =
    [("8480-6", "Systolic blood pressure", 0), ("8462-4", "Diastolic blood pressure", 40)];

/// Vital signs of each patient: enough for more than a page of each code.
const PER_PATIENT: usize = 256;

/// What is loaded: everything follows from the number of Observations.
pub(crate) struct Plan {
    observations: usize,
}

impl Plan {
    /// Data of this many Observations.
    pub(crate) fn new(observations: usize) -> Self {
        Plan { observations: observations.max(PER_PATIENT) }
    }

    /// How many patients there are.
    pub(crate) fn patients(&self) -> usize {
        self.observations / PER_PATIENT
    }

    /// How many Observations are loaded.
    pub(crate) fn observations(&self) -> usize {
        self.patients() * PER_PATIENT
    }

    /// Logical id of a loaded Observation.
    pub(crate) fn observation_id(&self, number: usize) -> String {
        format!("o{}", number % self.observations())
    }

    /// Of how many codes a patient has Observations.
    pub(crate) fn codes() -> usize {
        SIGNS.len()
    }

    /// Logical id of a loaded patient.
    pub(crate) fn patient_id(&self, number: usize) -> String {
        format!("p{}", number % self.patients())
    }

    /// A code that every patient has more than a page of.
    pub(crate) fn code(number: usize) -> &'static str {
        SIGNS[number % SIGNS.len()].0
    }

    /// A vital sign; loaded ones have an id, created ones get theirs from the server.
    pub(crate) fn observation(&self, number: usize, id: Option<String>) -> Json {
        let (code, name, unit, lowest, span) = SIGNS[number / self.patients() % SIGNS.len()];
        let turn = number / self.patients();
        let mut observation = object! {
            "resourceType": "Observation",
            "status": "final",
            "category": array![object! { "coding": array![object! {
                "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                "code": "vital-signs",
                "display": "Vital Signs",
            }] }],
            "code": object! {
                "coding": array![object! { "system": "http://loinc.org", "code": code, "display": name }],
                "text": name,
            },
            "subject": object! { "reference": format!("Patient/{}", self.patient_id(number)) },
            "effectiveDateTime": format!(
                "2025-{:02}-{:02}T{:02}:{:02}:00Z", turn / 28 % 12 + 1, turn % 28 + 1, number % 24, number / 24 % 60
            ),
        };
        let quantity = |whole: usize| {
            object! {
                "value": Json::Number(format!("{whole}.{}", number % 10).into()),
                "unit": unit,
                "system": "http://unitsofmeasure.org",
                "code": unit,
            }
        };
        let value = lowest + number % span;
        if let Some(members) = observation.as_object_mut() {
            if code == PANEL {
                let component = |(code, name, below): (&str, &str, usize)| {
                    let coding = object! { "system": "http://loinc.org", "code": code, "display": name };
                    object! { "code": object! { "coding": array![coding] }, "valueQuantity": quantity(value - below) }
                };
                members.insert("component", COMPONENTS.map(component).to_vec());
            } else {
                members.insert("valueQuantity", quantity(value));
            }
        }
        if let (Some(id), Some(members)) = (id, observation.as_object_mut()) {
            members.insert_at(1, "id", id);
        }
        observation
    }

    /// All of it, patients first.
    pub(crate) fn resources(&self) -> impl Iterator<Item = Json> {
        let observation = |number| self.observation(number, Some(self.observation_id(number)));
        (0..self.patients()).map(|number| self.patient(number)).chain((0..self.observations()).map(observation))
    }

    /// Writes all of it as NDJSON.
    pub(crate) fn write(&self, file: &Path) -> Result<(), Failure> {
        let bar = ProgressBar::new((self.patients() + self.observations()) as u64);
        bar.set_style(ProgressStyle::with_template("generating {bar:40} {human_pos}/{human_len} resources")?);
        let mut out = BufWriter::new(File::create(file)?);
        for resource in self.resources() {
            writeln!(out, "{resource}")?;
            bar.inc(1);
        }
        out.flush()?;
        bar.finish_and_clear();
        Ok(())
    }

    fn patient(&self, number: usize) -> Json {
        object! {
            "resourceType": "Patient",
            "id": self.patient_id(number),
            "identifier": array![object! { "system": "urn:example:patients", "value": number.to_string() }],
            "active": true,
            "name": array![object! { "family": format!("Family{}", number % 997), "given": array![format!("Given{}", number % 89)] }],
            "gender": if number.is_multiple_of(2) { "female" } else { "male" },
            "birthDate": format!("19{:02}-{:02}-{:02}", 30 + number % 70, number % 12 + 1, number % 28 + 1),
        }
    }
}
