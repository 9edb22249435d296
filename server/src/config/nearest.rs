//! The valid name that was probably meant.

use fhir::nearest::distance;

/// `did you mean …?`, or all names where none is close.
pub(super) fn hint<'a>(given: &str, valid: impl Iterator<Item = &'a str>) -> String {
    let valid: Vec<&str> = valid.collect();
    let nearest = valid.iter().map(|name| (distance(given, name), *name)).min();
    match nearest {
        Some((distance, name)) if distance <= given.len().div_ceil(3) => format!("did you mean {name}?"),
        _ => format!("there are: {}", valid.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_nearest_or_all() {
        assert_eq!(hint("page_size", ["page-size", "listen"].into_iter()), "did you mean page-size?");
        assert_eq!(hint("zzz", ["page-size", "listen"].into_iter()), "there are: page-size, listen");
    }
}
