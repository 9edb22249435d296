//! Names that are spelled almost like another, for saying what was perhaps meant.

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

/// How many letters must be inserted, removed, exchanged or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (i, one) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in right.iter().enumerate() {
            let mut least = (rows[i][j] + usize::from(one != other)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *one == right[j - 1] && left[i - 1] == *other {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first() {
        let names = ["name", "gender", "photo", "link", "names"];
        assert_eq!(nearest("nmae", names.into_iter()), ["name", "names"]);
        assert_eq!(nearest("gendre", names.into_iter()), ["gender"]);
        assert!(nearest("address", names.into_iter()).is_empty());
        assert!(nearest(&"x".repeat(60_000), names.into_iter()).is_empty());
    }
}
