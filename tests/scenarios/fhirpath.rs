//! `tributary fhirpath`: expressions on files at the command line.

use std::path::PathBuf;

use tests::program;

const PATIENT: &str = r#"{"resourceType":"Patient","id":"p","active":true,"birthDate":"1974-12-25",
    "name":[{"family":"Chalmers","given":["Peter","James"]}],"multipleBirthInteger":2}"#;

const OBSERVATION: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<Observation xmlns="http://hl7.org/fhir"><status value="final"/><code><text value="weight"/></code>
<valueQuantity><value value="185.0"/><system value="http://unitsofmeasure.org"/><code value="[lb_av]"/></valueQuantity>
</Observation>"#;

/// A file of this name with this text, for one test.
fn file(name: &str, text: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tributary-fhirpath-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
    let file = folder.join(name);
    std::fs::write(&file, text).expect("the file is writable");
    file
}

/// What it prints to standard output and to standard error, and how it ends.
fn fhirpath(expression: &str, file: &std::path::Path, flags: &[&str]) -> (String, String, Option<i32>) {
    let file = file.to_str().expect("paths of temporary files are plain");
    let output = program::command(&[&["fhirpath", expression, file], flags].concat()).output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[test]
fn items_are_printed_with_their_types_or_one_a_line() {
    let (patient, observation) = (file("patient.json", PATIENT), file("observation.xml", OBSERVATION));
    for (expression, file, flags, expected) in [
        ("name.given", &patient, &[][..], "Peter\nJames"),
        (
            "Patient.name.given",
            &patient,
            &["--json", "--strict"],
            r#"[{"type":"string","value":"Peter"},{"type":"string","value":"James"}]"#,
        ),
        ("name", &patient, &[], r#"{"family":"Chalmers","given":["Peter","James"]}"#),
        (
            "name | birthDate | multipleBirth",
            &patient,
            &["--json"],
            r#"[{"type":"HumanName","value":{"family":"Chalmers","given":["Peter","James"]}},{"type":"date","value":"1974-12-25"},{"type":"integer","value":2}]"#,
        ),
        ("nothing", &patient, &["--json"], "[]"),
        ("nothing", &patient, &[], ""),
        ("-1.50", &patient, &["--json"], r#"[{"type":"decimal","value":-1.50}]"#),
        (
            "Observation.value > 80 'kg' and today() > @2020",
            &observation,
            &["--json", "--strict"],
            r#"[{"type":"boolean","value":true}]"#,
        ),
        (
            "1 'mg'",
            &observation,
            &["--json"],
            r#"[{"type":"Quantity","value":{"value":1,"unit":"mg","system":"http://unitsofmeasure.org","code":"mg"}}]"#,
        ),
    ] {
        assert_eq!(fhirpath(expression, file, flags), (expected.to_owned(), String::new(), Some(0)), "{expression}");
    }
}

#[test]
fn invalid_expressions_end_with_2_and_other_failures_with_1() {
    let patient = file("patient2.json", PATIENT);
    let broken = file("broken.json", "{\"resourceType\":");
    let foreign = file("foreign.json", "{\"resourceType\":\"Horse\"}");
    let missing = patient.with_file_name("missing.json");
    for (expression, file, flags, code, message) in [
        ("name.", &patient, &[][..], 2, "the expression is not valid: expected a name at byte 5"),
        ("name.foo()", &patient, &[], 2, "the expression is not valid: unknown function foo() at byte 5"),
        ("Patient.nmae", &patient, &["--strict"], 2, "Patient has no element nmae; near it is name at byte 8"),
        ("Encounter.status", &patient, &["--strict"], 2, "the focus is Patient, not Encounter at byte 0"),
        ("name.given.single()", &patient, &["--json"], 1, "single()"),
        ("id", &missing, &[], 1, "missing.json: No such file"),
        ("id", &broken, &[], 1, "broken.json: "),
        ("id", &foreign, &[], 1, "foreign.json: Horse is no resource type of R4"),
    ] {
        let (stdout, stderr, ended) = fhirpath(expression, file, flags);
        assert_eq!((&*stdout, ended), ("", Some(code)), "{expression}: {stderr}");
        assert!(stderr.starts_with("tributary: ") && stderr.contains(message), "{expression}: {stderr}");
    }
    assert_eq!(fhirpath("Patient.nmae", &patient, &["--json"]).0, "[]", "without --strict it is just empty");
}

#[test]
fn traces_go_to_standard_error() {
    let patient = file("patient3.json", PATIENT);
    let traced = fhirpath("name.trace('names', family).given.trace('given').count()", &patient, &["--strict"]);
    let told = "names: Chalmers\ngiven: Peter\ngiven: James";
    assert_eq!(traced, ("2".to_owned(), told.to_owned(), Some(0)));
}
