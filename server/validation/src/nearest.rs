//! The valid name that someone most likely meant.

use fhir::nearest::distance;

/// Longer names are no typing errors.
const MAX_LENGTH: usize = 64;

/// The one of `candidates` that is nearest to `name`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > MAX_LENGTH {
        return None;
    }
    let limit = (name.len() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (distance(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_recognised() {
        let names = ["name", "telecom", "birthDate", "deceasedBoolean", "gender"];
        for (typed, meant) in [
            ("nmae", Some("name")),
            ("birthdate", Some("birthDate")),
            ("genders", Some("gender")),
            ("telcom", Some("telecom")),
            ("deceasedBool", Some("deceasedBoolean")),
            ("x", None),
            ("favouriteColour", None),
        ] {
            assert_eq!(nearest(typed, names.into_iter()), meant, "{typed}");
        }
    }
}
