//! `near`, the special parameter of Location: `latitude|longitude|distance|units`.
//! <https://hl7.org/fhir/R4/location.html#positional>
//!
//! "If the units are omitted, then kms should be assumed. If the distance is omitted, then the server can use its own
//! discretion": 50 km here.

use fhir::decimal::Decimal;

use super::escape::{alternatives, parts, unescape};
use super::modifier;
use super::refusal::Refusal;
use crate::query::{Circle, Filter};
use crate::registry::Parameter;

/// Metres where no distance is given.
const DEFAULT_RADIUS: f64 = 50_000.0;

/// The condition of a special parameter; `near` of Location is the only one.
pub(super) fn filter(parameter: &Parameter, modifier: Option<&str>, value: &str) -> Result<Filter, Refusal> {
    let name = parameter.code.as_str();
    if name != "near" || parameter.resource_type != "Location" {
        return Err(Refusal::not_supported(format!("{name} has no expression, so that nothing can be searched by it")));
    }
    modifier::none(name, modifier)?;
    let mut circles = Vec::new();
    for alternative in alternatives(name, value)? {
        let near = Filter::Near { param: name.to_owned(), circle: circle(name, alternative)? };
        circles.push(Filter::Exact(Box::new(near)));
    }
    Ok(if circles.len() == 1 { circles.remove(0) } else { Filter::Or(circles) })
}

fn circle(name: &str, value: &str) -> Result<Circle, Refusal> {
    let parts = parts(value).into_iter().map(|part| unescape(name, part)).collect::<Result<Vec<_>, _>>()?;
    let (latitude, longitude, distance, unit) = match parts.as_slice() {
        [latitude, longitude] => (latitude, longitude, None, "km"),
        [latitude, longitude, distance] => (latitude, longitude, Some(distance), "km"),
        [latitude, longitude, distance, unit] => {
            (latitude, longitude, Some(distance), if unit.is_empty() { "km" } else { unit.as_str() })
        }
        _ => return Err(Refusal::invalid(format!("{name}: {value:?}: write latitude|longitude|distance|units"))),
    };
    let within = |text: &str, what: &str, limit: f64| match number(text) {
        Some(number) if number.abs() <= limit => Ok(number),
        _ => Err(Refusal::invalid(format!("{name}: {text:?} is not a {what}: a number from -{limit} to {limit}"))),
    };
    let radius = match distance.filter(|it| !it.is_empty()) {
        None => DEFAULT_RADIUS,
        Some(distance) => metres(name, distance, unit)?,
    };
    Ok(Circle {
        latitude: within(latitude, "latitude", 90.0)?,
        longitude: within(longitude, "longitude", 180.0)?,
        radius,
    })
}

fn metres(name: &str, distance: &str, unit: &str) -> Result<f64, Refusal> {
    let Some(decimal) = Decimal::parse(distance).filter(|_| !distance.starts_with('-')) else {
        return Err(Refusal::invalid(format!("{name}: {distance:?} is not a distance")));
    };
    match fhir::ucum::convert(&decimal, unit, "m") {
        Ok(metres) => Ok(number(metres.as_str()).unwrap_or(f64::MAX)),
        Err(error) => {
            Err(Refusal::invalid(format!("{name}: {unit:?} is not a UCUM unit of length such as km: {error}")))
        }
    }
}

fn number(text: &str) -> Option<f64> {
    Decimal::parse(text)?.as_str().parse().ok().filter(|it: &f64| it.is_finite())
}
