//! Blood pressure: two numbers that only mean something together, however they come.

use std::collections::{BTreeMap, BTreeSet};

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use super::{sample, types};
use crate::reading::{Component, Concept, Quantity, Reading, Value};
use crate::{error, table};

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

/// One number of a blood pressure and its unit, if that is told.
pub(super) type Half<'a> = Option<(&'a Json, Option<&'a str>)>;

/// Systolic and diastolic of a sample and its other half; nothing if it is no blood pressure.
pub(super) fn pressures<'a>(sample: &'a Json, partner: Option<&'a Json>) -> Option<[Half<'a>; 2]> {
    let both = ["bloodPressureSystolicValue", "bloodPressureDiastolicValue"].map(|name| sample.get(name));
    if both.iter().any(Option::is_some) {
        return Some(both.map(|value| Some((value?, sample.str("unit")))));
    }
    let parts: Vec<&Json> = match sample.str("type") {
        Some(PANEL) => sample.list("objects").iter().collect(),
        Some(SYSTOLIC | DIASTOLIC) => [Some(sample), partner].into_iter().flatten().collect(),
        _ => return None,
    };
    let of = |kind| {
        let part = parts.iter().find(|part| part.str("type") == Some(kind))?;
        Some((part.get("value")?, part.str("unit")))
    };
    Some([of(SYSTOLIC), of(DIASTOLIC)])
}

/// Both numbers, which the profile takes in mmHg only: nothing is converted, and of another unit nothing is guessed.
pub(super) fn measured(halves: [Half<'_>; 2], path: &str) -> Result<[Option<Quantity>; 2], Box<Issue>> {
    let wrong = |text: &str, name: &str| Box::new(error(IssueCode::Value, text, &format!("{path}.{name}")));
    let read = |half: Half<'_>, identifier: &str| {
        let Some((value, unit)) = half else { return Ok(None) };
        let value = sample::number(value).ok_or_else(|| wrong("The blood pressure is not a number", "value"))?;
        let kind = types::find(identifier).ok_or_else(|| wrong(identifier, "type"))?;
        let quantity = sample::measured(kind, &value, unit, true, path)?;
        if quantity.ucum.as_deref() == Some("mm[Hg]") {
            return Ok(Some(quantity));
        }
        Err(wrong(&format!("A blood pressure in {} is not taken; it must be in mmHg", quantity.unit), "unit"))
    };
    let [systolic, diastolic] = halves;
    match [read(systolic, SYSTOLIC)?, read(diastolic, DIASTOLIC)?] {
        [None, None] => Err(wrong("The blood pressure is not a number", "value")),
        both => Ok(both),
    }
}

/// The reading of both numbers; one of them may be missing.
pub(super) fn reading([systolic, diastolic]: [Option<Quantity>; 2]) -> Reading {
    let apple = |identifier: &str, display: &str| {
        fhir::object! { "system": types::APPLE, "code": identifier, "display": display }
    };
    let parts = [
        ("8480-6", SYSTOLIC, "Blood Pressure Systolic", systolic),
        ("8462-4", DIASTOLIC, "Blood Pressure Diastolic", diastolic),
    ];
    let components = parts.into_iter().map(|(loinc, identifier, display, value)| Component {
        concept: Concept {
            codings: vec![table::coding("http://loinc.org", loinc), apple(identifier, display)],
            text: None,
        },
        value: value.map_or(Value::Unknown, Value::Quantity),
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
