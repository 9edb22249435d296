//! Names that are spelled almost like another, for saying what was perhaps meant.

/// Longer names are no typing errors.
const MAX_LENGTH: usize = 64;

/// The candidates at most two letters away from `name`, nearest first, three at most.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut near: Vec<_> = candidates
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= 2)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2 && *distance < candidate.len())
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

/// The one of `candidates` that is nearest to `name`, case ignored, if it is near enough to be meant: of longer names
/// more letters may be wrong.
pub fn nearest_one<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
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

/// How many letters must be inserted, removed, replaced or swapped with their neighbour to make one of the
/// other; the time is the product of their lengths.
pub fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let mut cost =
                (above[column] + usize::from(letter != other)).min(above[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *letter == right[column - 1] && left[row - 1] == *other {
                cost = cost.min(before[column - 1] + 1);
            }
            current.push(cost);
        }
        before = std::mem::replace(&mut above, current);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_changes() {
        let changes = [("listen", "listen"), ("lisen", "listen"), ("kitten", "sitting"), ("nmae", "name")];
        assert_eq!(changes.map(|(left, right)| distance(left, right)), [0, 1, 3, 1]);
    }

    #[test]
    fn the_nearest_come_first() {
        let names = ["name", "gender", "photo", "link", "names"];
        assert_eq!(nearest("nmae", names.into_iter()), ["name", "names"]);
        assert_eq!(nearest("gendre", names.into_iter()), ["gender"]);
        assert!(nearest("address", names.into_iter()).is_empty());
        assert!(nearest(&"x".repeat(60_000), names.into_iter()).is_empty());
    }

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
            assert_eq!(nearest_one(typed, names.into_iter()), meant, "{typed}");
        }
    }
}
