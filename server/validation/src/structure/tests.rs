//! What the walk finds, and where.

use super::*;

/// The issues as "expression: diagnostics".
fn issues(json: &str) -> Vec<String> {
    let issues = check(&Json::parse(json.as_bytes()).unwrap());
    issues.into_iter().map(|it| format!("{}: {}", it.expression.join(","), it.diagnostics.unwrap())).collect()
}

fn patient(members: &str) -> Vec<String> {
    issues(&format!("{{\"resourceType\":\"Patient\",{members}}}"))
}

#[test]
fn a_valid_resource_has_no_issues() {
    let members = r#""id":"p","meta":{"profile":["http://example.org/p"]},"text":{"status":"generated",
        "div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"},"contained":[{"resourceType":"Organization","id":"o"}],
        "active":true,"_active":{"id":"a"},"name":[{"given":["Ada",null],"_given":[null,{"extension":[{"url":"u",
        "valueString":"x"}]}]}],"birthDate":"1815-12-10","deceasedDateTime":"1852-11","multipleBirthInteger":1,
        "_gender":{"extension":[{"url":"u","valueCode":"x"}]}"#;
    assert_eq!(patient(members), Vec::<String>::new());
    assert_eq!(issues(r#"{"resourceType":"Patient"}"#), Vec::<String>::new());
}

#[test]
fn every_issue_names_its_element_and_says_what_would_be_right() {
    for (members, expected) in [
        (r#""nmae":[]"#, r#"Patient: "nmae" is not an element of Patient; did you mean "name"?"#),
        (
            r#""name":[{"Given":["x"]}]"#,
            r#"Patient.name[0]: "Given" is not an element of HumanName; did you mean "given"?"#,
        ),
        (r#""name":{"text":"x"}"#, "Patient.name: name repeats: it must be an array, also of one item"),
        (r#""name":["x"]"#, "Patient.name[0]: an object is expected here: HumanName"),
        (r#""name":[]"#, "Patient.name: name is an empty array; leave the element out instead"),
        (r#""name":[{}]"#, "Patient.name[0]: an object must have members; leave the element out instead"),
        (r#""active":[true]"#, "Patient.active: active does not repeat: an array may not stand here"),
        (r#""active":"yes""#, r#"Patient.active: "yes" is not a boolean: true or false, without quotes"#),
        (
            r#""name":[{"given":["a",""]}]"#,
            r#"Patient.name[0].given[1]: "" is not a string: not empty, at most 1 MiB, no control characters"#,
        ),
        (
            r#""deceased":true"#,
            r#"Patient: "deceased" is not an element of Patient; its name says its type: "deceasedBoolean", "deceasedDateTime""#,
        ),
        (
            r#""deceasedBoolean":true,"deceasedDateTime":"2020""#,
            "Patient.deceased: deceased[x] is given twice: it may have one type only",
        ),
        (
            r#""deceasedBoolean":true,"_deceasedDateTime":{"id":"x"}"#,
            "Patient.deceased: deceased[x] is given twice: it may have one type only",
        ),
        (
            r#""link":[{"type":"refer"}]"#,
            "Patient.link[0].other: other is missing: Patient.link must have it (Reference)",
        ),
        (r#""_name":[{"id":"x"}]"#, "Patient: \"_name\": only a primitive has such a sibling, name is none"),
        (r#""_active":true"#, "Patient.active: \"_active\" must be an object with \"id\" or \"extension\""),
        (r#""_active":{"value":true}"#, "Patient.active: \"_active\" must be an object with \"id\" or \"extension\""),
        (r#""_active":{"x":1}"#, "Patient.active: \"x\" is not an element of boolean"),
        (
            r#""contained":[{"resourceType":"Pateint"}]"#,
            "Patient.contained[0]: \"Pateint\" is not a resource type of FHIR R4; did you mean \"Patient\"?",
        ),
        (
            r#""contained":[{"id":"x"}]"#,
            "Patient.contained[0]: \"resourceType\" is missing: it names the type, as \"Patient\"",
        ),
        (
            r#""contained":[{"resourceType":"Basic","code":{"text":"x"},"contained":[{"resourceType":"Patient"}]}]"#,
            "Patient.contained[0]: a contained resource must not contain others: contain them beside it",
        ),
        (
            r#""extension":[{"valueString":"x"}]"#,
            "Patient.extension[0].url: url is missing: Extension must have it (uri)",
        ),
        (
            r#""text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><script/></div>"}"#,
            "Patient.text.div: a narrative may not hold <script>, only formatting, links and images",
        ),
    ] {
        assert_eq!(patient(members), [expected], "{members}");
    }
}

#[test]
fn in_07_null_stands_only_in_arrays_of_primitives() {
    let null = "null may only stand in an array of primitives, beside a value or an extension";
    for (members, place) in [
        (r#""active":null"#, "Patient.active"),
        (r#""active":true,"_active":null"#, "Patient.active"),
        (r#""name":[{"given":[null]}]"#, "Patient.name[0].given[0]"),
        (r#""name":[{"given":["a",null],"_given":[{"id":"x"},null]}]"#, "Patient.name[0].given[1]"),
    ] {
        assert_eq!(patient(members), [format!("{place}: {null}")], "{members}");
    }
    assert_eq!(patient(r#""name":[null]"#), ["Patient.name[0]: an object is expected here: HumanName"]);
    let uneven = patient(r#""name":[{"given":["a"],"_given":[null,{"id":"x"}]}]"#);
    assert_eq!(uneven, ["Patient.name[0].given: given has 1 items and _given 2: they must match, with null as filler"]);
}

#[test]
fn what_is_no_resource_is_refused() {
    for json in ["[]", "1", "\"x\"", "null", "{}", r#"{"resourceType":1}"#, r#"{"resourceType":"DomainResource"}"#] {
        assert_eq!(issues(json).len(), 1, "{json}");
    }
}

#[test]
fn resources_in_bundles_are_looked_into() {
    let found = issues(
        r#"{"resourceType":"Bundle","type":"batch-response","entry":[{"resource":{"resourceType":"Observation"}},
            {"response":{"status":"200","outcome":{"resourceType":"Patient"}}}]}"#,
    );
    assert_eq!(
        found,
        [
            "Bundle.entry[0].resource.status: status is missing: Observation must have it (code)",
            "Bundle.entry[0].resource.code: code is missing: Observation must have it (CodeableConcept)",
            "Bundle.entry[1].response.outcome: Patient stands where OperationOutcome is expected",
        ]
    );
}

#[test]
fn the_number_of_issues_is_bounded() {
    let many = (0..500).map(|number| format!("\"x{number}\":1")).collect::<Vec<_>>().join(",");
    let found = patient(&many);
    assert_eq!(found.len(), MAX_ISSUES);
    assert_eq!(found[MAX_ISSUES - 1], ": checking ended after 99 issues: there may be more");
    assert_eq!(patient(r#""name":[{"given":[1,2]}]"#).len(), 2);
}

#[test]
fn every_element_of_every_type_has_its_bit() {
    assert!(r4().types().iter().all(|definition| definition.elements.len() <= 128));
}
