//! HL7's FHIRPath suite for R4, run where the test data is there. <https://github.com/HL7/FHIRPath>

use std::collections::HashMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::{Environment, Expression, Json, test_data};
use crate::decimal::Decimal;
use crate::xml;

/// Cases that pass; fewer is a regression, more asks for a higher number here.
const FLOOR: usize = 455;

/// 2026-01-02T03:04:05Z, for `now()`.
const NOW: i64 = 1_767_323_045_000_000;

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are the attributes of a case")]
struct Case {
    name: String,
    input: String,
    expression: String,
    invalid: bool,
    /// Invalid because of names and types, which the check before the evaluation finds.
    semantic: bool,
    strict: bool,
    predicate: bool,
    unordered: bool,
    outputs: Vec<String>,
}

#[test]
fn hl7_suite() {
    let Some(file) = test_data("test-cases/fhirpath/tests-fhir-r4.subset.xml") else { return };
    let folder = file.with_file_name("input");
    let cases = cases(&std::fs::read_to_string(&file).expect("readable"));
    let inputs = inputs(&cases, &folder);
    let mut failures = Vec::new();
    for case in &cases {
        if let Err(reason) = run(case, &inputs[&case.input]) {
            failures.push(format!("{}: {} -- {reason}", case.name, case.expression));
        }
    }
    let passed = cases.len() - failures.len();
    println!("{passed} of {} pass\n{}", cases.len(), failures.join("\n"));
    assert!(passed >= FLOOR, "{passed} of {} pass, {FLOOR} did", cases.len());
}

/// The check before the evaluation accepts every valid case and refuses every one that is semantically invalid.
#[test]
fn hl7_suite_strictly() {
    let Some(file) = test_data("test-cases/fhirpath/tests-fhir-r4.subset.xml") else { return };
    let cases = cases(&std::fs::read_to_string(&file).expect("readable"));
    let inputs = inputs(&cases, &file.with_file_name("input"));
    let (mut refused, mut accepted, mut failures) = (0, 0, Vec::new());
    for case in &cases {
        let Ok(compiled) = Expression::compile(&case.expression) else { continue };
        let focus_type = inputs[&case.input].str("resourceType").unwrap_or_default();
        match compiled.check(focus_type) {
            Err(_) if case.semantic => refused += 1,
            Ok(()) if !case.invalid => accepted += 1,
            Err(error) if !case.invalid => failures.push(format!("{}: {} -- {error}", case.name, case.expression)),
            Ok(()) if case.semantic => failures.push(format!("{}: {} -- no error", case.name, case.expression)),
            _ => {}
        }
    }
    println!("{refused} refused, {accepted} accepted\n{}", failures.join("\n"));
    assert!(failures.is_empty(), "{} go wrong", failures.len());
    assert_eq!((refused, accepted), (8, 429));
}

/// The documents that the cases name.
fn inputs(cases: &[Case], folder: &std::path::Path) -> HashMap<String, Json> {
    let mut inputs: HashMap<String, Json> = HashMap::new();
    for case in cases {
        if inputs.contains_key(&case.input) {
            continue;
        }
        let bytes = std::fs::read(folder.join(&case.input)).unwrap_or_else(|_| b"{}".to_vec());
        let parsed = if case.input.contains(".xml") {
            xml::to_json(in_order(&bytes).as_bytes()).map_err(|error| error.to_string())
        } else {
            Json::parse(&bytes).map_err(|error| error.to_string())
        };
        let parsed = parsed.unwrap_or_else(|error| {
            println!("{}: {error}", case.input);
            Json::Null
        });
        inputs.insert(case.input.clone(), parsed);
    }
    inputs
}

/// HL7's Observation has an extension behind `status`, where the schema does not have it and our reader refuses it.
fn in_order(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let misplaced = text.find("<status value=\"final\"/>").and_then(|status| {
        let start = status + text[status..].find("<extension ")?;
        let end = start + text[start..].find("</extension>")? + "</extension>".len();
        Some(format!("{}{}{}{}", &text[..status], &text[start..end], &text[status..start], &text[end..]))
    });
    match misplaced {
        Some(moved) if text.contains("<Observation ") => moved,
        _ => text.into_owned(),
    }
}

fn run(case: &Case, resource: &Json) -> Result<(), String> {
    let compiled = match Expression::compile(&case.expression) {
        Err(_) if case.invalid => return Ok(()),
        compiled => compiled.map_err(|error| error.to_string())?,
    };
    if case.strict && case.invalid && compiled.check(resource.str("resourceType").unwrap_or_default()).is_err() {
        return Ok(());
    }
    let mut environment = Environment::new(resource).now(NOW);
    if case.strict || case.invalid {
        environment = environment.strict();
    }
    let items = match compiled.evaluate_in(&environment) {
        Err(_) if case.invalid => return Ok(()),
        items => items.map_err(|error| error.to_string())?,
    };
    let mut found: Vec<String> = items
        .iter()
        .map(|item| item.to_text().map_or_else(|| item.json().to_string(), std::borrow::Cow::into_owned))
        .collect();
    if case.predicate {
        found = vec![(!found.is_empty() && found != ["false"]).to_string()];
    }
    if case.invalid {
        return Err(format!("no error but {found:?}"));
    }
    let mut expected = case.outputs.clone();
    if case.unordered {
        found.sort();
        expected.sort();
    }
    let same =
        found.len() == expected.len() && found.iter().zip(&expected).all(|(found, expected)| same(found, expected));
    if same { Ok(()) } else { Err(format!("{found:?} instead of {expected:?}")) }
}

fn same(found: &str, expected: &str) -> bool {
    let plain = expected.trim_start_matches('@').trim_start_matches('T');
    found == expected
        || found == plain
        || Decimal::parse(found).is_some_and(|number| Some(number) == Decimal::parse(expected))
}

fn cases(text: &str) -> Vec<Case> {
    let mut reader = Reader::from_str(text);
    let (mut cases, mut case, mut inside) = (Vec::new(), Case::default(), String::new());
    let mut content = String::new();
    loop {
        match reader.read_event().expect("well formed") {
            Event::Start(start) => {
                inside = start.name().as_ref().to_owned();
                content.clear();
                open(&start, &mut case);
            }
            Event::Empty(start) if start.name().as_ref() == "output" => case.outputs.push(String::new()),
            Event::Text(part) => content.push_str(&part),
            Event::CData(part) => content.push_str(&part),
            Event::GeneralRef(entity) => match entity.resolve_char_ref() {
                Ok(Some(character)) => content.push(character),
                _ => content.push_str(quick_xml::escape::resolve_predefined_entity(&entity).unwrap_or_default()),
            },
            Event::End(end) => match end.name().as_ref() {
                "expression" if inside == "expression" => case.expression = content.clone(),
                "output" => case.outputs.push(content.clone()),
                "test" => cases.push(std::mem::take(&mut case)),
                _ => {}
            },
            Event::Eof => return cases,
            _ => {}
        }
    }
}

fn open(start: &BytesStart<'_>, case: &mut Case) {
    for attribute in start.attributes().flatten() {
        let value = attribute.value.to_string();
        match (start.name().as_ref(), attribute.key.as_ref()) {
            ("test", "name") => case.name = value,
            ("test", "inputfile") => case.input = value,
            ("test", "mode") => case.strict = value == "strict",
            ("test", "predicate") => case.predicate = value == "true",
            ("test", "ordered") => case.unordered = value == "false",
            ("expression", "invalid") => {
                case.invalid = true;
                case.semantic = value == "semantic";
            }
            _ => {}
        }
    }
}
