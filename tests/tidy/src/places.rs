//! What is done at one place only. (Invariants 1, 8 and 10 of docs/src/architecture.md)

use std::collections::BTreeSet;

use crate::tree::{Source, assert_none, product_sources, sources, without_tests};

/// Files that ask the real clock or draw real randomness.
const CLOCK_AND_RANDOMNESS: [&str; 2] = ["server/src/clock.rs", "server/src/random.rs"];

/// Files that name types all the same, and why.
const REASONED: [(&str, &str); 3] = [
    (
        "server/src/rest/conditional.rs",
        "types whose conditional writes would tell who exists are refused by name (LK-26)",
    ),
    ("server/src/rest/history/listed", "_list is defined by List"),
    ("server/src/rest/operation", "an operation is defined on a type by the specification"),
];

/// Types that the specification itself singles out in the REST interactions and the store.
const SINGLED_OUT: [&str; 7] =
    ["Bundle", "OperationOutcome", "CapabilityStatement", "TerminologyCapabilities", "Parameters", "Patient", "Binary"];

/// Where every resource type has a heading; a test writes the page.
const TYPES: &str = "docs/src/reference/search-parameters.md";

/// Who would write a resource needs the store's type `Change`, so its name is looked for, not the call.
#[test]
fn resources_are_written_by_interactions_only() {
    let (interactions, others): (Vec<Source>, Vec<Source>) = product_sources()
        .into_iter()
        .filter(|file| file.path.starts_with("server/src/"))
        .partition(|file| file.path.starts_with("server/src/rest"));
    assert!(interactions.iter().any(|file| names_a_change(without_tests(&file.text))), "nobody writes resources");
    let elsewhere = others.into_iter().filter(|file| names_a_change(without_tests(&file.text)));
    assert_none(
        "only server/src/rest names store::Change; everything else calls an interaction or carries out a Bundle:",
        &elsewhere.map(|file| file.path).collect::<Vec<_>>(),
    );
}

/// Whether a file names `store::Change`, in a path or in a `use`.
fn names_a_change(text: &str) -> bool {
    text.split("store::").skip(1).any(|rest| {
        let end = if rest.starts_with('{') { rest.find(';') } else { rest.find(|next: char| !next.is_alphanumeric()) };
        let mut names = rest[..end.unwrap_or(rest.len())].split(|next: char| !next.is_alphanumeric());
        rest.starts_with('*') || names.any(|name| name == "Change")
    })
}

#[test]
fn interactions_and_store_name_no_resource_type() {
    let pages = sources("md");
    let page = pages.iter().find(|page| page.path == TYPES).expect("there is a page of all types");
    let types = page.text.lines().filter_map(|line| line.strip_prefix("### "));
    let types: Vec<(&str, String)> = types.map(|name| (name, format!("\"{name}\""))).collect();
    assert!(types.len() > 140, "{TYPES} has a heading for each type");
    let (mut findings, mut needed) = (Vec::new(), BTreeSet::new());
    for file in product_sources().iter().filter(|file| is_generic(&file.path)) {
        let reasoned = REASONED.iter().find(|(place, _)| file.path.starts_with(place));
        for (index, line) in without_tests(&file.text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for (name, _) in types.iter().filter(|(_, quoted)| code.contains(quoted)) {
                match (reasoned, SINGLED_OUT.iter().find(|it| *it == name)) {
                    (Some((exception, _)), _) | (None, Some(exception)) => _ = needed.insert(*exception),
                    (None, None) => findings.push(format!("{}:{}: {name}", file.path, index + 1)),
                }
            }
        }
    }
    assert_none("no type is special-cased in code unless the specification special-cases it:", &findings);
    let exceptions = REASONED.iter().map(|(place, _)| *place).chain(SINGLED_OUT);
    let needless: Vec<String> = exceptions.filter(|it| !needed.contains(it)).map(str::to_owned).collect();
    assert_none("these exceptions are needed no longer:", &needless);
}

#[test]
fn the_real_clock_and_randomness_are_asked_at_one_place() {
    let words = ["SystemTime::now", "Timestamp::now", "Zoned::now", "getrandom::", "Uuid::new_v4", "Uuid::now_v7"];
    let mut findings = Vec::new();
    for file in product_sources().iter().filter(|file| file.path.starts_with("server/")) {
        if CLOCK_AND_RANDOMNESS.contains(&file.path.as_str()) {
            continue;
        }
        for (index, line) in without_tests(&file.text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let named = words.iter().filter(|word| code.contains(**word));
            findings.extend(named.map(|word| format!("{}:{}: {word}", file.path, index + 1)));
        }
    }
    assert_none("clock and randomness are parameters:", &findings);
}

fn is_generic(path: &str) -> bool {
    path.starts_with("server/src/rest") || path.starts_with("server/store/src/")
}
