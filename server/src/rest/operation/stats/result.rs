//! The Observations that tell statistics.

use fhir::decimal::Decimal;
use fhir::json::{Json, Object};
use fhir::object;
use fhir::statistics::{Measured, SYSTEM, Sample, Statistic};
use fhir::ucum;

use super::Asked;
use super::measurement::{Group, Measurements, Unit};

/// One Observation for each code, and for each of its units where several cannot be converted to one another.
pub(super) fn observations(asked: &Asked, measurements: &Measurements<'_>) -> Vec<Json> {
    // A panel that was asked for is told by its parts.
    let is_told = |group: &&Group| group.total > 0 || measurements.groups.iter().all(|group| group.total == 0);
    measurements.groups.iter().filter(is_told).flat_map(|group| of_group(asked, group)).collect()
}

fn of_group(asked: &Asked, group: &Group) -> Vec<Json> {
    if group.series.is_empty() {
        return vec![observation(asked, group, &[], &Unit::default())];
    }
    group.series.iter().map(|series| observation(asked, group, &series.values, &series.unit)).collect()
}

fn observation(asked: &Asked, group: &Group, values: &[(Decimal, Option<i64>)], unit: &Unit) -> Json {
    let sample = Sample::new(values, group.total);
    let mut observation = Object::new();
    observation.insert("resourceType", "Observation");
    observation.insert("status", "final");
    observation.insert("code", group.concept.clone());
    observation.insert("subject", object! { "reference": asked.subject.as_str() });
    let mut period = Object::new();
    for (name, bound) in [("start", &asked.start), ("end", &asked.end)] {
        if let Some(bound) = bound {
            period.insert(name, bound.as_str());
        }
    }
    if !period.is_empty() {
        observation.insert("effectivePeriod", period);
    }
    let components: Vec<Json> = asked.statistics.iter().map(|it| component(*it, &sample, unit)).collect();
    observation.insert("component", components);
    observation.into()
}

fn component(statistic: Statistic, sample: &Sample, unit: &Unit) -> Json {
    let coding = object! { "system": SYSTEM, "code": statistic.code, "display": statistic.display };
    let mut component = Object::new();
    let mut code = object! { "coding": vec![coding] };
    if let (Some(aspect), Some(code)) = (statistic.aspect(), code.as_object_mut()) {
        code.insert("text", aspect);
    }
    component.insert("code", code);
    if let Some(value) = sample.value(statistic) {
        component.insert("valueQuantity", quantity(&value, statistic.measured, unit));
    } else {
        let system = "http://terminology.hl7.org/CodeSystem/data-absent-reason";
        let coding = object! { "system": system, "code": "not-applicable", "display": "Not Applicable" };
        component.insert("dataAbsentReason", object! { "coding": vec![coding] });
    }
    component.into()
}

fn quantity(value: &Decimal, measured: Measured, unit: &Unit) -> Object {
    let mut quantity = Object::new();
    quantity.insert("value", Json::Number(value.as_str().into()));
    let is_ucum = unit.system.as_deref() == Some(ucum::SYSTEM);
    let unit = match measured {
        Measured::Same => unit.clone(),
        Measured::Squared => {
            let code = unit.code.as_ref().filter(|_| is_ucum).map(|code| format!("({code}).({code})"));
            let code = code.filter(|code| ucum::validate(code).is_ok());
            let system = code.as_ref().map(|_| ucum::SYSTEM.to_owned());
            Unit { name: unit.name.as_ref().map(|unit| format!("({unit})²")), system, code }
        }
        Measured::Daily => {
            let code = match &unit.code {
                Some(code) if is_ucum => Some(format!("({code})/d")),
                None if unit.name.is_none() => Some("/d".to_owned()),
                _ => None,
            };
            let code = code.filter(|code| ucum::validate(code).is_ok());
            let system = code.as_ref().map(|_| ucum::SYSTEM.to_owned());
            Unit { name: Some(format!("{}/day", unit.name.as_deref().unwrap_or_default())), system, code }
        }
        Measured::Number => Unit { name: None, system: Some(ucum::SYSTEM.to_owned()), code: Some("1".to_owned()) },
    };
    for (name, text) in [("unit", unit.name), ("system", unit.system), ("code", unit.code)] {
        if let Some(text) = text {
            quantity.insert(name, text);
        }
    }
    quantity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_have_a_square_unit() {
        let unit = Unit { name: Some("kg".into()), system: Some(ucum::SYSTEM.into()), code: Some("kg".into()) };
        let of = |measured| Json::from(quantity(&Decimal::from(3), measured, &unit));
        assert_eq!(of(Measured::Same).str("code"), Some("kg"));
        assert_eq!(of(Measured::Squared).str("code"), Some("(kg).(kg)"));
        let rate = Unit { code: Some("/min".into()), ..unit.clone() };
        let square = Json::from(quantity(&Decimal::from(3), Measured::Squared, &rate));
        assert!(square.str("code").is_none_or(|code| ucum::validate(code).is_ok()), "{square}");
        assert_eq!(of(Measured::Number).str("code"), Some("1"));
        assert_eq!(of(Measured::Daily).str("code"), Some("(kg)/d"));
        assert_eq!(of(Measured::Daily).str("unit"), Some("kg/day"));
        let none = Json::from(quantity(&Decimal::from(3), Measured::Daily, &Unit::default()));
        assert_eq!(none.str("code"), Some("/d"));
    }
}
