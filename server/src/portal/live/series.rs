//! Readings as series: what was measured, in order, against the limits that somebody set. Pure.
//!
//! Limits are `Goal`s (<https://hl7.org/fhir/R4/goal.html>): of one patient, about one measure, with a range that its
//! values are to keep to. An `ObservationDefinition` has ranges too, but for everybody; a `PlanDefinition` is a
//! protocol, which nobody's record holds. A Goal lies in the patient's compartment, so that whoever may see the
//! readings may see what they are held against, and nobody else.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fhir::date::DateTime;
use fhir::json::Json;

/// Points of a series that are drawn and listed.
pub(super) const MAX_POINTS: usize = 50;

/// Width and height of a drawing, in its own units.
const SIZE: (f64, f64) = (600.0, 120.0);

/// What is measured, of whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Logical id of the patient.
    pub(super) patient: String,
    /// Code system of the measure; may be empty.
    pub(super) system: String,
    /// Its code.
    pub(super) code: String,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    /// When, microseconds since 1970.
    pub(super) at: i64,
    /// The value as it was sent.
    pub(super) text: String,
    value: f64,
}

/// A range that values are to keep to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Limits {
    /// The lowest good value, as it was typed; may be empty.
    pub(super) low: String,
    /// The highest good value.
    pub(super) high: String,
}

/// Values of one measure, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    /// What people call the measure.
    pub(super) words: String,
    /// Its unit, for people.
    pub(super) unit: String,
    /// Its values.
    pub(super) points: Vec<Point>,
    /// What they are held against.
    pub(super) limits: Limits,
}

/// A drawing of a series.
#[derive(Clone, Debug, Default)]
pub(super) struct Drawing {
    /// Path through the values.
    pub(super) line: String,
    /// Path along the limits.
    pub(super) limits: String,
}

/// Series of all Observations and Goals, by whose and what they are.
pub(super) fn series<'a>(
    observations: impl Iterator<Item = &'a Json>,
    goals: impl Iterator<Item = &'a Json>,
) -> BTreeMap<Key, Series> {
    let mut found: BTreeMap<Key, Series> = BTreeMap::new();
    for observation in observations {
        add(&mut found, observation);
    }
    for goal in goals.filter(|goal| goal.str("lifecycleStatus") == Some("active")) {
        let Some(patient) = patient(goal) else { continue };
        for target in goal.list("target") {
            let Some((system, code)) = target.get("measure").and_then(coding) else { continue };
            let key = Key { patient: patient.clone(), system, code };
            let bound = |name: &str| {
                let value = target.at(&["detailRange", name, "value"]).and_then(Json::as_number);
                value.unwrap_or_default().to_owned()
            };
            if let Some(series) = found.get_mut(&key) {
                series.limits = Limits { low: bound("low"), high: bound("high") };
            }
        }
    }
    for series in found.values_mut() {
        series.points.sort_by_key(|point| point.at);
        let surplus = series.points.len().saturating_sub(MAX_POINTS);
        series.points.drain(..surplus);
    }
    found
}

impl Series {
    /// The latest value.
    pub(super) fn latest(&self) -> Option<&Point> {
        self.points.last()
    }

    /// What is wrong with a value; nothing if it keeps to the limits.
    pub(super) fn complaint(&self, point: &Point) -> Option<String> {
        let beyond = |bound: &str, is_beyond: fn(f64, f64) -> bool| {
            bound.parse::<f64>().is_ok_and(|bound| is_beyond(point.value, bound))
        };
        if beyond(&self.limits.low, |value, low| value < low) {
            return Some(format!("below {}", self.limits.low));
        }
        beyond(&self.limits.high, |value, high| value > high).then(|| format!("above {}", self.limits.high))
    }

    /// Draws the values from left to right, with the limits across.
    pub(super) fn draw(&self) -> Drawing {
        let bounds = [&self.limits.low, &self.limits.high].map(|bound| bound.parse::<f64>().ok());
        let all = || self.points.iter().map(|point| point.value).chain(bounds.iter().flatten().copied());
        let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
        let (width, height) = SIZE;
        let span = if high > low { high - low } else { 1.0 };
        // a tenth is left free above and below
        let y = |value: f64| height * (0.9 - 0.8 * (value - low) / span);
        let step = width / f64::from(u32::try_from(self.points.len().max(1)).unwrap_or(u32::MAX));
        let mut drawing = Drawing::default();
        for (index, point) in (0_u32..).zip(&self.points) {
            let (x, letter) = (step * (f64::from(index) + 0.5), if index == 0 { 'M' } else { 'L' });
            let _infallible = write!(drawing.line, "{letter}{x:.1} {:.1}", y(point.value));
            // one value alone is seen, too
            drawing.line.push_str("h0.1");
        }
        for bound in bounds.into_iter().flatten() {
            let _infallible = write!(drawing.limits, "M0 {:.1}h{width}", y(bound));
        }
        drawing
    }
}

/// Logical id of the patient whom a resource is about.
pub(super) fn patient(resource: &Json) -> Option<String> {
    let reference = resource.at(&["subject", "reference"])?.as_str()?;
    reference.strip_prefix("Patient/").map(str::to_owned)
}

/// When something was, microseconds since 1970.
pub(super) fn instant(resource: &Json) -> Option<i64> {
    let told = resource
        .str("effectiveDateTime")
        .or_else(|| resource.at(&["effectivePeriod", "start"])?.as_str())
        .or_else(|| resource.str("sent").or(resource.str("issued")))
        .or_else(|| resource.at(&["period", "start"])?.as_str())
        .or_else(|| resource.at(&["meta", "lastUpdated"])?.as_str())?;
    DateTime::parse(told).map(|date| date.start())
}

/// What people call a concept.
pub(super) fn words(concept: &Json) -> String {
    let display = |coding: &Json| coding.str("display").or(coding.str("code")).map(str::to_owned);
    concept
        .str("text")
        .map(str::to_owned)
        .or_else(|| concept.list("coding").iter().find_map(display))
        .unwrap_or_default()
}

fn add(found: &mut BTreeMap<Key, Series>, observation: &Json) {
    if matches!(observation.str("status"), Some("entered-in-error" | "cancelled")) {
        return;
    }
    let (Some(patient), Some(at)) = (patient(observation), instant(observation)) else { return };
    for part in std::iter::once(observation).chain(observation.list("component")) {
        let (Some(code), Some(quantity)) = (part.get("code"), part.get("valueQuantity")) else { continue };
        let (Some((system, id)), Some(text)) = (coding(code), quantity.get("value").and_then(Json::as_number)) else {
            continue;
        };
        let Ok(value) = text.parse::<f64>() else { continue };
        let series = found.entry(Key { patient: patient.clone(), system, code: id }).or_default();
        if series.points.is_empty() {
            series.words = words(code);
            quantity.str("unit").or(quantity.str("code")).unwrap_or_default().clone_into(&mut series.unit);
        }
        series.points.push(Point { at, text: text.to_owned(), value });
    }
}

/// System and code of a concept; one that has words only is known by them.
fn coding(concept: &Json) -> Option<(String, String)> {
    let coded = concept
        .list("coding")
        .iter()
        .find_map(|coding| Some((coding.str("system").unwrap_or_default().to_owned(), coding.str("code")?.to_owned())));
    coded.or_else(|| Some((String::new(), concept.str("text")?.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::{array, object};

    fn pulse(at: &str, value: i64) -> Json {
        let coding = object! { "system": "http://loinc.org", "code": "8867-4", "display": "Heart rate" };
        object! {
            "resourceType": "Observation", "status": "final", "subject": object! { "reference": "Patient/a" },
            "code": object! { "coding": array![coding] }, "effectiveDateTime": at,
            "valueQuantity": object! { "value": value, "unit": "/min" },
        }
    }

    fn goal(low: i64, high: i64) -> Json {
        let coding = object! { "system": "http://loinc.org", "code": "8867-4" };
        let range = object! { "low": object! { "value": low }, "high": object! { "value": high } };
        let target = object! { "measure": object! { "coding": array![coding] }, "detailRange": range };
        object! {
            "resourceType": "Goal", "lifecycleStatus": "active", "subject": object! { "reference": "Patient/a" },
            "target": array![target],
        }
    }

    #[test]
    fn values_are_in_order_and_held_against_their_limits() {
        let readings = [pulse("2026-01-01T10:00:00Z", 120), pulse("2026-01-01T09:00:00Z", 64)];
        let found = series(readings.iter(), [goal(50, 100)].iter());
        let series = found.values().next().expect("one series");
        assert_eq!(found.len(), 1);
        assert_eq!(series.points.iter().map(|point| point.text.as_str()).collect::<Vec<_>>(), ["64", "120"]);
        assert_eq!((series.words.as_str(), series.unit.as_str()), ("Heart rate", "/min"));
        assert_eq!(series.complaint(&series.points[0]), None);
        assert_eq!(series.complaint(&series.points[1]).as_deref(), Some("above 100"));
        let drawing = series.draw();
        assert_eq!(drawing.limits.matches('M').count(), 2);
        assert_eq!(drawing.line, "M150.0 88.8h0.1L450.0 12.0h0.1");
    }

    #[test]
    fn the_halves_of_a_panel_are_two_series() {
        let part = |code: &str, value: i64| {
            let concept = object! { "coding": array![object! { "code": code }] };
            object! { "code": concept, "valueQuantity": object! { "value": value } }
        };
        let mut panel = pulse("2026-01-01T10:00:00Z", 0);
        let members = panel.as_object_mut().expect("an object");
        members.remove("valueQuantity");
        members.insert("component", array![part("8480-6", 121), part("8462-4", 79)]);
        assert_eq!(series([panel].iter(), std::iter::empty()).len(), 2);
    }
}
