//! HL7's patch tests and those of RFC 6902, run where the test data is there. XML Patch is not among them: this server
//! answers it with 415, and states in its CapabilityStatement what it takes:
//! <https://hl7.org/fhir/R4/capabilitystatement-definitions.html#CapabilityStatement.patchFormat>.

use std::path::PathBuf;

use super::{Json, Patch, json};
use crate::xml;

#[test]
fn fhirpath_patch() {
    let Some(text) = read("fhir-patch-tests.xml") else { return };
    let cases: Vec<&str> = text.split("<case ").skip(1).collect();
    for case in &cases {
        let name = case.split('"').nth(1).unwrap();
        let [input, diff, output] = ["input", "diff", "output"].map(|tag| resource(case, tag));
        let changed = Patch::from_parameters(&diff).and_then(|patch| patch.apply(&input));
        let changed = changed.unwrap_or_else(|error| panic!("{name}: {error}"));
        // XML has one order of elements, JSON any.
        assert_eq!(xml::from_json(&changed).unwrap(), xml::from_json(&output).unwrap(), "{name}");
    }
    println!("{} FHIRPath Patch cases pass", cases.len());
    assert_eq!(cases.len(), 17);
}

#[test]
fn json_patch() {
    let files = [
        ("json-patch-tests.r4.json", 10),
        ("json-patch-tests.rfc6902.json", 50),
        ("json-patch-spec_tests.rfc6902.json", 7),
    ];
    for (file, count) in files {
        let Some(text) = read(file) else { return };
        let cases = json(&text);
        for case in cases.items() {
            let name = case.str("comment").unwrap_or_default();
            let document = case.get("doc").unwrap();
            let patch = Patch::from_json_patch(case.get("patch").unwrap());
            let changed = patch.and_then(|patch| apply_plainly(&patch, document));
            match (case.get("expected"), changed) {
                (Some(expected), Ok(changed)) => assert_eq!(sorted(&changed), sorted(expected), "{file}: {name}"),
                (None, Err(_)) => assert!(case.get("error").is_some(), "{file}: {name}"),
                (expected, changed) => panic!("{file}: {name}: expected {expected:?}, is {changed:?}"),
            }
        }
        println!("{}: {} cases pass", file, cases.items().len());
        assert_eq!(cases.items().len(), count, "{file}");
    }
}

/// Without what FHIR asks for beyond RFC 6902.
fn apply_plainly(patch: &Patch, document: &Json) -> Result<Json, super::PatchError> {
    let super::Operations::Json(operations) = &patch.0 else { panic!("a JSON Patch") };
    let mut changed = document.clone();
    for (index, operation) in operations.iter().enumerate() {
        operation.apply(&mut changed, &mut super::Budget::new()).map_err(|refusal| refusal.of(index))?;
    }
    Ok(changed)
}

/// The same with members in the order of their names.
fn sorted(value: &Json) -> Json {
    match value {
        Json::Array(items) => items.iter().map(sorted).collect::<Vec<_>>().into(),
        Json::Object(object) => {
            let mut members: Vec<(&str, Json)> = object.iter().map(|(name, member)| (name, sorted(member))).collect();
            members.sort_by_key(|(name, _)| *name);
            Json::Object(members.into_iter().collect())
        }
        scalar => scalar.clone(),
    }
}

fn resource(case: &str, tag: &str) -> Json {
    let (_, rest) = case.split_once(&format!("<{tag}>")).unwrap();
    let (text, _) = rest.split_once(&format!("</{tag}>")).unwrap();
    xml::to_json(text.trim().as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn read(file: &str) -> Option<String> {
    let root = std::env::var_os("TRIBUTARY_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = root.join("test-cases/patch").join(file);
    let text = std::fs::read_to_string(path).ok();
    if text.is_none() {
        println!("skipped: {file} (no test data)");
    }
    text
}
