//! Measurements by code, and by unit within a code.

use fhir::date::DateTime;
use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::object;
use fhir::ucum;
use search::parse::literal;

/// Observations of these kinds say nothing about the subject.
const VOID: &[&str] = &["cancelled", "entered-in-error"];

/// A code that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Code {
    system: Option<String>,
    code: String,
}

impl Code {
    pub(super) fn new(system: Option<&str>, code: &str) -> Self {
        Code { system: system.map(str::to_owned), code: code.to_owned() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.code.is_empty()
    }

    /// Whether they can stand in an answer, by the patterns of the types `code` and `uri`.
    /// <https://hl7.org/fhir/R4/datatypes.html#code>
    pub(super) fn is_valid(&self) -> bool {
        let is_word = |word: &str| !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control());
        self.code.split(' ').all(is_word)
            && self.system.as_deref().is_none_or(|system| system.is_empty() || is_word(system))
    }

    /// As the value of a token parameter.
    pub(super) fn token(&self) -> String {
        let system = self.system.as_deref().map(|system| format!("{}|", literal(system))).unwrap_or_default();
        format!("{system}{}", literal(&self.code))
    }

    fn is(&self, coding: &Json) -> bool {
        let same_system =
            self.system.as_deref().is_none_or(|system| coding.str("system").unwrap_or_default() == system);
        same_system && coding.str("code") == Some(self.code.as_str())
    }

    fn concept(&self) -> Json {
        let mut coding = object! { "code": self.code.as_str() };
        if let (Some(system), Some(object)) =
            (self.system.as_deref().filter(|it| !it.is_empty()), coding.as_object_mut())
        {
            object.insert_at(0, "system", system);
        }
        object! { "coding": vec![coding] }
    }
}

/// All measurements.
pub(super) struct Measurements<'a> {
    codes: &'a [Code],
    pub(super) groups: Vec<Group>,
}

/// The measurements of a code.
pub(super) struct Group {
    key: Key,
    /// `CodeableConcept` of the newest.
    pub(super) concept: Json,
    /// How many there are, those without a number included.
    pub(super) total: usize,
    /// Numbers by unit; units of one group cannot be converted to each other.
    pub(super) series: Vec<Series>,
}

/// Numbers in one unit.
pub(super) struct Series {
    pub(super) unit: Unit,
    /// Each with the microsecond since 1970 at which it was measured, if that is known.
    pub(super) values: Vec<(Decimal, Option<i64>)>,
}

/// A unit as written; all empty for a number without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// As written for people.
    pub(super) name: Option<String>,
    pub(super) system: Option<String>,
    pub(super) code: Option<String>,
}

/// What measurements are grouped by.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Asked(usize),
    Coded(Option<String>, String),
    Text(String),
}

impl<'a> Measurements<'a> {
    /// None yet, but every code that is asked for is there.
    pub(super) fn new(codes: &'a [Code]) -> Self {
        let group = |(index, code): (usize, &Code)| Group {
            key: Key::Asked(index),
            concept: code.concept(),
            total: 0,
            series: Vec::new(),
        };
        Measurements { codes, groups: codes.iter().enumerate().map(group).collect() }
    }

    /// Adds an observation, newest first; answers the references to members of a panel.
    pub(super) fn add(&mut self, observation: &Json, is_member: bool) -> Vec<String> {
        let is_void = VOID.contains(&observation.str("status").unwrap_or_default());
        if is_void || observation.get("modifierExtension").is_some() {
            return Vec::new();
        }
        let components = observation.list("component").iter().filter(|it| it.get("modifierExtension").is_none());
        let instant = instant(observation);
        let is_whole = is_member || self.asked(observation.get("code")).is_some();
        if !is_whole {
            for component in components {
                if self.asked(component.get("code")).is_some() {
                    self.measure(component, instant);
                }
            }
            return Vec::new();
        }
        let members: Vec<String> = observation
            .list("hasMember")
            .iter()
            .filter_map(|member| member.str("reference").map(str::to_owned))
            .collect();
        let is_panel = !members.is_empty() || !observation.list("component").is_empty();
        if !is_panel || number(observation).is_some() {
            self.measure(observation, instant);
        }
        for component in components {
            self.measure(component, instant);
        }
        members
    }

    /// Which of the codes a concept has.
    fn asked(&self, concept: Option<&Json>) -> Option<usize> {
        let codings = concept?.list("coding");
        self.codes.iter().position(|code| codings.iter().any(|coding| code.is(coding)))
    }

    fn measure(&mut self, holder: &Json, instant: Option<i64>) {
        let Some(concept) = holder.get("code") else { return };
        let coded = || {
            let coding = concept.list("coding").iter().find(|coding| coding.str("code").is_some())?;
            Some(Key::Coded(coding.str("system").map(str::to_owned), coding.str("code")?.to_owned()))
        };
        let text = || Key::Text(concept.str("text").unwrap_or_default().to_owned());
        let key = self.asked(Some(concept)).map(Key::Asked).or_else(coded).unwrap_or_else(text);
        let at = self.groups.iter().position(|group| group.key == key).unwrap_or_else(|| {
            self.groups.push(Group { key, concept: concept.clone(), total: 0, series: Vec::new() });
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        if group.total == 0 {
            group.concept = concept.clone();
        }
        group.total += 1;
        if let Some((value, unit)) = number(holder) {
            group.take(value, unit, instant);
        }
    }
}

impl Group {
    fn take(&mut self, value: Decimal, unit: Unit, instant: Option<i64>) {
        for series in &mut self.series {
            if let Some(converted) = unit.convert(&value, &series.unit) {
                series.values.push((converted, instant));
                return;
            }
        }
        self.series.push(Series { unit, values: vec![(value, instant)] });
    }
}

impl Unit {
    /// A value of this unit in another, if it can be.
    fn convert(&self, value: &Decimal, to: &Unit) -> Option<Decimal> {
        let is_same = match (&self.code, &to.code) {
            (Some(from), Some(to_code)) => from == to_code && self.system == to.system,
            (None, None) => self.name == to.name,
            _ => false,
        };
        if is_same {
            return Some(value.clone());
        }
        let ucum = |unit: &Unit| unit.code.clone().filter(|_| unit.system.as_deref() == Some(ucum::SYSTEM));
        ucum::convert(value, &ucum(self)?, &ucum(to)?).ok()
    }
}

/// When it was measured: the beginning of what is said about it.
fn instant(observation: &Json) -> Option<i64> {
    let start = |name: &str| observation.at(&[name, "start"]).and_then(Json::as_str);
    let text = observation.str("effectiveDateTime").or_else(|| observation.str("effectiveInstant"));
    let text = text.or_else(|| start("effectivePeriod"));
    text.and_then(DateTime::parse).map(|written| written.interval().0)
}

/// The number that was measured.
fn number(holder: &Json) -> Option<(Decimal, Unit)> {
    if let Some(integer) = holder.get("valueInteger").and_then(Json::as_number) {
        return Some((Decimal::parse(integer)?, Unit::default()));
    }
    let quantity = holder.get("valueQuantity").filter(|quantity| quantity.get("comparator").is_none())?;
    let text = |name: &str| quantity.str(name).map(str::to_owned);
    let unit = Unit { name: text("unit"), system: text("system"), code: text("code") };
    Some((Decimal::parse(quantity.get("value")?.as_number()?)?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::array;

    fn quantity(value: &str, code: &str) -> Json {
        object! { "value": Json::Number(value.into()), "unit": code, "system": ucum::SYSTEM, "code": code }
    }

    fn concept(code: &str) -> Json {
        object! { "coding": array![object! { "system": "s", "code": code }] }
    }

    fn values(group: &Group) -> Vec<(String, Vec<String>)> {
        let series = group.series.iter();
        series
            .map(|it| {
                (
                    it.unit.code.clone().unwrap_or_default(),
                    it.values.iter().map(|(value, _)| value.to_string()).collect(),
                )
            })
            .collect()
    }

    #[test]
    fn units_are_converted_to_that_of_the_newest() {
        let codes = [Code::new(Some("s"), "weight")];
        let mut measurements = Measurements::new(&codes);
        for (value, unit) in [("70", "kg"), ("71000", "g"), ("1", "mm"), ("72", "kg")] {
            let observation =
                object! { "status": "final", "code": concept("weight"), "valueQuantity": quantity(value, unit) };
            measurements.add(&observation, false);
        }
        let group = &measurements.groups[0];
        assert_eq!(group.total, 4);
        let expected = [("kg", vec!["70", "71", "72"]), ("mm", vec!["1"])];
        let found = values(group);
        for ((unit, values), (expected_unit, expected)) in found.iter().zip(&expected) {
            assert_eq!(
                (unit.as_str(), values.iter().map(String::as_str).collect::<Vec<_>>()),
                (*expected_unit, expected.clone())
            );
        }
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn panels_are_their_parts() {
        let codes = [Code::new(None, "panel"), Code::new(Some("s"), "systolic")];
        let component =
            |code: &str, value: &str| object! { "code": concept(code), "valueQuantity": quantity(value, "mm[Hg]") };
        let panel = |code: &str| {
            object! {
                "status": "final",
                "code": concept(code),
                "component": array![component("systolic", "120"), component("diastolic", "80")],
                "hasMember": array![object! { "reference": "Observation/m" }],
            }
        };
        let mut measurements = Measurements::new(&codes);
        assert_eq!(measurements.add(&panel("panel"), false), ["Observation/m"]);
        assert!(measurements.add(&panel("other"), false).is_empty());
        let totals: Vec<usize> = measurements.groups.iter().map(|group| group.total).collect();
        assert_eq!(totals, [0, 2, 1], "panel, systolic, diastolic");
    }

    #[test]
    fn what_is_no_measurement_does_not_count() {
        let codes = [Code::new(None, "a")];
        let of = |name: &str, value: Json| {
            let mut observation = object! { "status": "final", "code": concept("a"), "valueInteger": Json::from(3) };
            observation.as_object_mut().unwrap().insert(name, value);
            let mut measurements = Measurements::new(&codes);
            measurements.add(&observation, false);
            (measurements.groups[0].total, measurements.groups[0].series.len())
        };
        assert_eq!(of("id", "x".into()), (1, 1));
        assert_eq!(of("status", "entered-in-error".into()), (0, 0));
        assert_eq!(of("modifierExtension", array![object! { "url": "x" }]), (0, 0));
        assert_eq!(of("code", concept("b")), (0, 0));
    }

    #[test]
    fn tokens_are_escaped() {
        assert_eq!(Code::new(Some("http://s"), "a|b,c").token(), "http://s|a\\|b\\,c");
        assert_eq!(Code::new(None, "a").token(), "a");
    }
}
