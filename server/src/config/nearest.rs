//! The valid name that was probably meant.

/// `did you mean …?`, or all names where none is close.
pub(super) fn hint<'a>(given: &str, valid: impl Iterator<Item = &'a str>) -> String {
    let valid: Vec<&str> = valid.collect();
    let nearest = valid.iter().map(|name| (distance(given, name), *name)).min();
    match nearest {
        Some((distance, name)) if distance <= given.len().div_ceil(3) => format!("did you mean {name}?"),
        _ => format!("there are: {}", valid.join(", ")),
    }
}

/// How many characters must be put in, taken out or replaced (Levenshtein's distance).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, left) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, right) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_changes() {
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("lisen", "listen"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn names_the_nearest_or_all() {
        assert_eq!(hint("page_size", ["page-size", "listen"].into_iter()), "did you mean page-size?");
        assert_eq!(hint("zzz", ["page-size", "listen"].into_iter()), "there are: page-size, listen");
    }
}
