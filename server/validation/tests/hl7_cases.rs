//! HL7's test cases for validators: what their validator accepts is accepted here.

use fhir::json::Json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Cases with a fault of structure, of a value or of a narrative.
const STRUCTURAL: &[&str] = &[
    "ai3",
    "ai4",
    "ai8",
    "attachment-with-invalid-binary",
    "bad-json-close",
    "bad-json-close-3",
    "bundle-signed-nob64",
    "contained-resource-bad-id",
    "cs-meta-profile",
    "hakan-se-nofetch",
    "json-comma-bad-1",
    "json-comma-bad-2",
    "json-no-quotes-1",
    "message",
    "mr-covid-m",
    "mr-covid-m3",
    "open-choice-invalid-type-qr",
    "pat-security-bad-xhtml",
    "patient-id-bad-1 / R4",
    "patient-id-bad-2 / R4",
    "profile-missing-elements",
    "resource-invalid-eid-2",
    "resource-invalid-id-1",
    "resource-invalid-id-2",
    "xml-bad-entities",
    "xml-fail",
];

/// Cases that HL7 accepts under conditions that do not hold here.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "aggregation-apart-good4",
        "Encounter without class: the case validates against a profile that brings its own rules",
    ),
    ("contained-resource-bad-id-ignore", "an id of 65 characters, which the case tells the validator to pass over"),
    ("json-comments-1-yes", "comments in JSON, which the case permits by an option"),
    ("json-comments-2-yes", "comments in JSON, which the case permits by an option"),
    ("shc-bundle", "a SMART health card, not a resource"),
];

#[test]
fn nothing_that_hl7_accepts_is_refused() {
    let Some(folder) = folder() else { return };
    let mut failures = String::new();
    let mut exceptions = Vec::new();
    let mut accepted = 0;
    for case in cases(&folder) {
        let name = case.str("name").expect("a case has a name");
        if case.at(&["base", "errorsNonTx"]).and_then(Json::as_number) != Some("0") {
            continue;
        }
        match refusal(&folder.join("files").join(case.str("file").expect("a case has a file"))) {
            None => accepted += 1,
            Some(_) if EXCEPTIONS.iter().any(|(exception, _)| *exception == name) => exceptions.push(name.to_owned()),
            Some(reason) => writeln!(failures, "{name}: {reason}").expect("a String takes everything"),
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert_eq!(exceptions.len(), EXCEPTIONS.len(), "an exception is none any more: {exceptions:?}");
    assert!(accepted > 100, "{accepted}");
}

#[test]
fn in_03_structural_faults_that_hl7_finds_are_found() {
    let Some(folder) = folder() else { return };
    let named = |name: &str| STRUCTURAL.contains(&name);
    let found: Vec<Json> = cases(&folder).into_iter().filter(|case| case.str("name").is_some_and(named)).collect();
    assert_eq!(found.len(), STRUCTURAL.len());
    for case in found {
        let file = case.str("file").expect("a case has a file");
        assert!(refusal(&folder.join("files").join(file)).is_some(), "{file}");
    }
}

/// Why a file is refused, if it is.
fn refusal(path: &Path) -> Option<String> {
    let Ok(bytes) = std::fs::read(path) else { return None };
    let json = if path.extension().is_some_and(|extension| extension == "xml") {
        match fhir::xml::to_json(&bytes) {
            Ok(json) => json,
            Err(error) => return Some(error.to_string()),
        }
    } else {
        match Json::parse(&bytes) {
            Ok(json) => json,
            Err(error) => return Some(error.to_string()),
        }
    };
    let issues = validation::validate(&json);
    issues.first().map(|issue| format!("{:?} {}", issue.expression, issue.diagnostics.clone().unwrap_or_default()))
}

fn cases(folder: &Path) -> Vec<Json> {
    let text = std::fs::read_to_string(folder.join("cases.jsonl")).expect("the list of cases is there");
    text.lines().map(|line| Json::parse(line.as_bytes()).expect("a case is JSON")).collect()
}

fn folder() -> Option<PathBuf> {
    let root = std::env::var_os("TRIBUTARY_TEST_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let folder = root.join("test-cases/validator");
    if !folder.exists() {
        println!("skipped: HL7's validator cases (no test data)");
        return None;
    }
    Some(folder)
}
