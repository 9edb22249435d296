//! Blood pressure: two numbers that only mean something together, however they come.

use std::collections::{BTreeMap, BTreeSet};

use fhir::json::Json;

use super::types;
use crate::reading::{Component, Concept, Quantity, Reading, Value};
use crate::table;

const SYSTOLIC: &str = "HKQuantityTypeIdentifierBloodPressureSystolic";
const DIASTOLIC: &str = "HKQuantityTypeIdentifierBloodPressureDiastolic";
const PANEL: &str = "HKCorrelationTypeIdentifierBloodPressure";

/// Which sample is the other half of which, by index, and the indices of those other halves.
pub(super) fn pairs(samples: &[Json]) -> (BTreeMap<usize, usize>, BTreeSet<usize>) {
    let (mut pairs, mut taken) = (BTreeMap::new(), BTreeSet::new());
    let mut waiting: BTreeMap<[&str; 4], Vec<(usize, &str)>> = BTreeMap::new();
    for (index, sample) in samples.iter().enumerate() {
        let Some(kind) = sample.str("type").filter(|kind| [SYSTOLIC, DIASTOLIC].contains(kind)) else { continue };
        let source = sample.str("sourceId").or_else(|| sample.str("sourceName")).unwrap_or_default();
        let text = |name| sample.str(name).unwrap_or_default();
        let key = [source, text("startDate"), text("endDate"), text("creationDate")];
        let others = waiting.entry(key).or_default();
        match others.iter().position(|(_, other)| *other != kind) {
            Some(position) => {
                let (other, _) = others.remove(position);
                pairs.insert(other, index);
                taken.insert(index);
            }
            None => others.push((index, kind)),
        }
    }
    (pairs, taken)
}

/// Systolic and diastolic of a sample and its other half; nothing if it is no blood pressure.
pub(super) fn pressures<'a>(sample: &'a Json, partner: Option<&'a Json>) -> Option<[Option<&'a Json>; 2]> {
    if sample.get("bloodPressureSystolicValue").is_some() || sample.get("bloodPressureDiastolicValue").is_some() {
        return Some([sample.get("bloodPressureSystolicValue"), sample.get("bloodPressureDiastolicValue")]);
    }
    let parts: Vec<&Json> = match sample.str("type") {
        Some(PANEL) => sample.list("objects").iter().collect(),
        Some(SYSTOLIC | DIASTOLIC) => [Some(sample), partner].into_iter().flatten().collect(),
        _ => return None,
    };
    let of = |kind| parts.iter().find(|part| part.str("type") == Some(kind)).and_then(|part| part.get("value"));
    Some([of(SYSTOLIC), of(DIASTOLIC)])
}

/// The reading of both numbers; one of them may be missing.
pub(super) fn reading(values: [Option<&str>; 2]) -> Reading {
    let apple = |identifier: &str, display: &str| {
        fhir::object! { "system": types::APPLE, "code": identifier, "display": display }
    };
    let parts = [
        ("8480-6", SYSTOLIC, "Blood Pressure Systolic", values[0]),
        ("8462-4", DIASTOLIC, "Blood Pressure Diastolic", values[1]),
    ];
    let components = parts.into_iter().map(|(loinc, identifier, display, value)| Component {
        concept: Concept {
            codings: vec![table::coding("http://loinc.org", loinc), apple(identifier, display)],
            text: None,
        },
        value: value.map_or(Value::Unknown, |value| {
            let ucum = Some("mm[Hg]".to_owned());
            Value::Quantity(Quantity { value: value.into(), unit: "mmHg".to_owned(), ucum })
        }),
        in_range: None,
    });
    Reading {
        category: "vital-signs".to_owned(),
        profile: Some("bp".to_owned()),
        concept: Concept {
            codings: vec![table::coding("http://loinc.org", "85354-9"), apple(PANEL, "Blood Pressure")],
            text: Some("Blood pressure".to_owned()),
        },
        components: components.collect(),
        ..Reading::default()
    }
}
