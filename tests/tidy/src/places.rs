//! What is done at one place only. (Invariants 1, 8 and 10 of docs/src/architecture.md)

use crate::tree::{Source, assert_none, product_sources, without_tests};

/// Files that ask the real clock or draw real randomness.
const CLOCK_AND_RANDOMNESS: [&str; 2] = ["server/src/clock.rs", "server/src/random.rs"];

/// Files that name types all the same, and why.
const REASONED: [(&str, &str); 4] = [
    (
        "server/src/rest/conditional.rs",
        "types whose conditional writes would tell who exists are refused by name (LK-26)",
    ),
    ("server/src/rest/history/listed", "_list is defined by List"),
    ("server/src/rest/operation", "an operation is defined on a type by the specification"),
    ("server/src/rest/search/terminology", ":in and :below are defined by ValueSet and CodeSystem"),
];

/// Types that the specification itself singles out in the REST interactions and the store.
const SINGLED_OUT: [&str; 7] =
    ["Bundle", "OperationOutcome", "CapabilityStatement", "Parameters", "Patient", "Binary", "Resource"];

/// Types that a server is tempted to treat specially.
const TEMPTING: [&str; 14] = [
    "Observation",
    "Encounter",
    "Condition",
    "Procedure",
    "MedicationRequest",
    "DiagnosticReport",
    "Device",
    "Practitioner",
    "Organization",
    "Group",
    "List",
    "DocumentReference",
    "Composition",
    "ValueSet",
];

#[test]
fn resources_are_written_by_interactions_only() {
    let writes = |file: &Source| without_tests(&file.text).contains("tx.put(");
    let elsewhere = product_sources().into_iter().filter(|file| {
        file.path.starts_with("server/src/") && !file.path.starts_with("server/src/rest") && writes(file)
    });
    assert_none(
        "only server/src/rest writes resources, everything else calls an interaction's execute():",
        &elsewhere.map(|file| file.path).collect::<Vec<_>>(),
    );
}

#[test]
fn interactions_and_store_name_no_resource_type() {
    let mut findings = Vec::new();
    for file in product_sources().iter().filter(|file| is_generic(&file.path)) {
        for (index, line) in without_tests(&file.text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let named =
                TEMPTING.iter().filter(|name| !SINGLED_OUT.contains(name) && code.contains(&format!("\"{name}\"")));
            findings.extend(named.map(|name| format!("{}:{}: {name}", file.path, index + 1)));
        }
    }
    assert_none("no type is special-cased in code unless the specification special-cases it:", &findings);
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
    let reasoned = REASONED.iter().any(|(reasoned, _)| path.starts_with(reasoned));
    !reasoned && (path.starts_with("server/src/rest") || path.starts_with("server/store/src/"))
}
