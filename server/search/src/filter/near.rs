//! Distance on the earth. <https://hl7.org/fhir/R4/location.html#positional>
//!
//! The great-circle distance by the haversine formula on a sphere with the mean radius of the earth; the earth is not
//! quite a sphere, so it is off by up to half a percent. <https://en.wikipedia.org/wiki/Haversine_formula>

use fhir::json::Json;

use crate::query::Circle;

/// Metres: the mean radius of the earth, as the IUGG defines it.
const EARTH: f64 = 6_371_008.8;

/// Metres that a point may lie outside: what rounding makes of points on the circle.
const TOLERANCE: f64 = 0.001;

/// Whether the resource has a `position`, and it lies in the circle.
pub(super) fn is_inside(resource: &Json, circle: &Circle) -> bool {
    let degrees = |name: &str| resource.at(&["position", name])?.as_number()?.parse::<f64>().ok();
    let (Some(latitude), Some(longitude)) = (degrees("latitude"), degrees("longitude")) else { return false };
    distance((latitude, longitude), (circle.latitude, circle.longitude)) <= circle.radius + TOLERANCE
}

/// Metres between two points given as degrees north and east.
fn distance((latitude, longitude): (f64, f64), (other_latitude, other_longitude): (f64, f64)) -> f64 {
    let half = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
    let cosines = latitude.to_radians().cos() * other_latitude.to_radians().cos();
    let haversine = half(latitude - other_latitude) + cosines * half(longitude - other_longitude);
    2.0 * EARTH * haversine.clamp(0.0, 1.0).sqrt().asin()
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances() {
        let degree = std::f64::consts::PI * super::EARTH / 180.0;
        for (one, other, metres) in [
            ((0.0, 0.0), (0.0, 0.0), 0.0),
            ((0.0, 0.0), (1.0, 0.0), degree),
            ((0.0, 179.5), (0.0, -179.5), degree),
            ((90.0, 12.0), (-90.0, 77.0), 180.0 * degree),
            ((0.0, 10.0), (0.0, 100.0), 90.0 * degree),
            ((45.0, 20.0), (45.0, -160.0), 90.0 * degree),
        ] {
            let found = distance(one, other);
            assert!((found - metres).abs() <= 0.001, "{one:?} {other:?}: {found} {metres}");
        }
    }
}
