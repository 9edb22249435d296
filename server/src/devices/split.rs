//! A transaction in parts: where one item of a message cannot be written, the others are. Pure.
//!
//! An item is an entry that no other entry refers to, with all that it refers to: a reading with its device. A device
//! that several readings name is in each of their parts, and the same in all of them.

use std::collections::{BTreeMap, BTreeSet};

use fhir::json::Json;

use super::registry;

/// The items of a transaction, each as the indices of its entries in their order.
pub(super) fn items(bundle: &Json) -> Vec<BTreeSet<usize>> {
    let entries = bundle.list("entry");
    let url = |entry: &Json| entry.str("fullUrl").map(str::to_owned);
    let places: BTreeMap<String, usize> =
        entries.iter().enumerate().filter_map(|(index, entry)| Some((url(entry)?, index))).collect();
    let targets: Vec<BTreeSet<usize>> = entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            let mut found = BTreeSet::new();
            collect(entry.get("resource").unwrap_or(&Json::Null), &places, &mut found);
            found.remove(&index);
            found
        })
        .collect();
    let referred: BTreeSet<usize> = targets.iter().flatten().copied().collect();
    let mut items: Vec<BTreeSet<usize>> =
        (0..entries.len()).filter(|index| !referred.contains(index)).map(|index| closure(index, &targets)).collect();
    // Entries that refer to each other in a circle are one item.
    let taken: BTreeSet<usize> = items.iter().flatten().copied().collect();
    let left: BTreeSet<usize> = (0..entries.len()).filter(|index| !taken.contains(index)).collect();
    if !left.is_empty() {
        items.push(left.into_iter().flat_map(|index| closure(index, &targets)).collect());
    }
    items
}

/// The transaction of some items.
pub(super) fn part(bundle: &Json, items: &[BTreeSet<usize>]) -> Json {
    let wanted: BTreeSet<usize> = items.iter().flatten().copied().collect();
    let entries = bundle.list("entry");
    registry::transaction(wanted.into_iter().filter_map(|index| entries.get(index).cloned()).collect())
}

fn closure(start: usize, targets: &[BTreeSet<usize>]) -> BTreeSet<usize> {
    let (mut found, mut next) = (BTreeSet::from([start]), vec![start]);
    while let Some(index) = next.pop() {
        next.extend(targets[index].iter().copied().filter(|target| found.insert(*target)));
    }
    found
}

fn collect(value: &Json, places: &BTreeMap<String, usize>, found: &mut BTreeSet<usize>) {
    match value {
        Json::Object(members) => {
            let reference = members.get("reference").and_then(Json::as_str);
            found.extend(reference.and_then(|url| places.get(url)));
            members.iter().for_each(|(_, member)| collect(member, places, found));
        }
        Json::Array(values) => values.iter().for_each(|value| collect(value, places, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, refers_to: &[&str]) -> Json {
        let references: Vec<Json> =
            refers_to.iter().map(|url| fhir::object! { "reference": format!("urn:uuid:{url}") }).collect();
        let resource = fhir::object! { "resourceType": "Basic", "related": references };
        fhir::object! { "fullUrl": format!("urn:uuid:{name}"), "resource": resource }
    }

    fn of(entries: Vec<Json>) -> Vec<Vec<usize>> {
        let bundle = registry::transaction(entries);
        items(&bundle).into_iter().map(|item| item.into_iter().collect()).collect()
    }

    #[test]
    fn an_item_takes_along_what_it_refers_to() {
        let entries = vec![
            entry("gateway", &[]),
            entry("meter", &["gateway"]),
            entry("reading-1", &["meter"]),
            entry("reading-2", &["meter"]),
            entry("other", &["elsewhere"]),
        ];
        assert_eq!(of(entries), [vec![0, 1, 2], vec![0, 1, 3], vec![4]]);
    }

    #[test]
    fn a_circle_is_one_item() {
        assert_eq!(of(vec![entry("a", &["b"]), entry("b", &["a"]), entry("c", &[])]), [vec![2], vec![0, 1]]);
    }

    #[test]
    fn a_part_keeps_the_order() {
        let bundle = registry::transaction(vec![entry("d", &[]), entry("r", &["d"]), entry("s", &["d"])]);
        let found = items(&bundle);
        assert_eq!(part(&bundle, &found[1..]).list("entry").len(), 2);
        assert_eq!(part(&bundle, &found).list("entry"), bundle.list("entry"));
    }
}
