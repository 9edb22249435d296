//! Tests of both kinds of patch.

use super::*;
use crate::json::Object;
use crate::{array, object};

mod suite;

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn json_patch(document: &str, patch: &str) -> Result<String, PatchError> {
    Patch::from_json_patch(&json(patch))?.apply(&json(document)).map(|changed| changed.to_string())
}

fn part(name: &str, member: &str, value: impl Into<Json>) -> Json {
    let mut part = Object::new();
    part.insert("name", name);
    part.insert(member, value);
    part.into()
}

fn operation(kind: &str, path: &str, more: Vec<Json>) -> Json {
    let mut parts = vec![part("type", "valueCode", kind), part("path", "valueString", path)];
    parts.extend(more);
    object! { "name": "operation", "part": parts }
}

fn fhirpath(resource: &str, operations: Vec<Json>) -> Result<String, PatchError> {
    let parameters = object! { "resourceType": "Parameters", "parameter": operations };
    Patch::from_parameters(&parameters)?.apply(&json(resource)).map(|changed| changed.to_string())
}

fn fault<T: std::fmt::Debug>(result: Result<T, PatchError>) -> (Option<usize>, Fault) {
    let error = result.unwrap_err();
    (error.operation, error.fault)
}

#[test]
fn decimals_keep_their_spelling_and_are_tested_by_value() {
    let patch = r#"[{"op":"test","path":"/a","value":1.0},{"op":"move","from":"/a","path":"/b"},
        {"op":"add","path":"/c","value":2.50}]"#;
    assert_eq!(json_patch(r#"{"a":1.00}"#, patch).unwrap(), r#"{"b":1.00,"c":2.50}"#);
}

#[test]
fn all_or_nothing_and_the_failed_operation_is_named() {
    let patch = r#"[{"op":"add","path":"/a","value":1},{"op":"test","path":"/b","value":3}]"#;
    let error = json_patch(r#"{"b":2}"#, patch).unwrap_err();
    assert_eq!((error.operation, error.fault), (Some(1), Fault::Inapplicable));
    assert_eq!(error.to_string(), "operation 1: the test does not hold: /b is 2, not 3");
}

#[test]
fn what_is_left_empty_is_gone() {
    let remove = |path: &str| format!(r#"[{{"op":"remove","path":"{path}"}}]"#);
    let document = r#"{"name":[{"given":["a"]}],"active":true}"#;
    assert_eq!(json_patch(document, &remove("/name/0/given/0")).unwrap(), r#"{"active":true}"#);
    let siblings = r#"{"given":["a","b"],"_given":[{"id":"x"},{"id":"y"}]}"#;
    let expected = r#"{"given":["a","b"],"_given":[null,{"id":"y"}]}"#;
    assert_eq!(json_patch(siblings, &remove("/_given/0/id")).unwrap(), expected);
}

#[test]
fn hostile_json_patches_are_refused_or_bounded() {
    let nested = (0..70).map(|_| r#"{"op":"copy","from":"","path":"/a"}"#).collect::<Vec<_>>().join(",");
    assert_eq!(fault(json_patch("{}", &format!("[{nested}]"))).1, Fault::TooCostly, "depth");
    let doubling = r#"{"op":"copy","from":"/a","path":"/a/-"}"#;
    let doubling: Vec<_> = (0..40).map(|_| doubling.replace("/a/-", "/b/-").replace("/a\"", "/b\"")).collect();
    let doubling = format!(r#"[{{"op":"add","path":"/b","value":["x"]}},{}]"#, doubling.join(","));
    assert_eq!(fault(json_patch("{}", &doubling)).1, Fault::TooCostly, "growth");
    let many = |count: usize| format!("[{}]", vec![r#"{"op":"add","path":"/a/-","value":1}"#; count].join(","));
    assert!(json_patch(r#"{"a":[]}"#, &many(MAX_OPERATIONS)).is_ok());
    assert_eq!(fault(json_patch(r#"{"a":[]}"#, &many(MAX_OPERATIONS + 1))), (None, Fault::TooCostly));
    let huge = format!(r#"[{{"op":"remove","path":"{}"}}]"#, "/a".repeat(100_000));
    assert_eq!(fault(json_patch("{}", &huge)), (Some(0), Fault::Malformed));
    let long = format!(r#"[{{"op":"remove","path":"/{}"}}]"#, "ä".repeat(100_000));
    assert!(json_patch("{}", &long).unwrap_err().message.len() < 2000);
}

#[test]
fn slow_json_patches_run_out_of_steps() {
    let wide: Vec<_> = (0..20_000).map(|number| format!(r#""m{number}":0"#)).collect();
    let wide = format!("{{{}}}", wide.join(","));
    let test = format!(r#"[{{"op":"test","path":"","value":{wide}}}]"#);
    assert_eq!(fault(json_patch(&wide, &test)).1, Fault::TooCostly);
    let front = vec![r#"{"op":"add","path":"/a/0","value":1}"#; 10_000].join(",");
    let list = format!(r#"{{"a":[{}]}}"#, vec!["0"; 400_000].join(","));
    assert_eq!(fault(json_patch(&list, &format!("[{front}]"))).1, Fault::TooCostly);
}

#[test]
fn names_mean_nothing_but_themselves() {
    for name in ["__proto__", "constructor", "-", "0", "..", "%2e", "$ref"] {
        let patch = format!(r#"[{{"op":"add","path":"/{name}","value":1}}]"#);
        assert_eq!(json_patch("{}", &patch).unwrap(), format!(r#"{{"{name}":1}}"#));
    }
    assert!(json_patch(r#"{"a":[1]}"#, r#"[{"op":"remove","path":"/a/-"}]"#).is_err());
    assert!(json_patch(r#"{"a":[1]}"#, r#"[{"op":"add","path":"/a/2","value":1}]"#).is_err());
    assert!(json_patch(r#"{"a":{"b":1}}"#, r#"[{"op":"move","from":"/a","path":"/a/b"}]"#).is_err());
}

#[test]
fn malformed_patches_say_what_would_be_right() {
    for patch in [
        "{}",
        "null",
        "[1]",
        "[{}]",
        r#"[{"op":"add"}]"#,
        r#"[{"op":"add","path":"/a"}]"#,
        r#"[{"op":1,"path":""}]"#,
        r#"[{"op":"Add","path":"/a","value":1}]"#,
        r#"[{"op":"remove","path":"a"}]"#,
        r#"[{"op":"copy","path":"/a"}]"#,
    ] {
        assert_eq!(fault(json_patch("{}", patch)).1, Fault::Malformed, "{patch}");
    }
    let text = part("value", "valueString", "x");
    for operation in [
        object! { "name": "other" },
        object! { "name": "operation" },
        operation("ad", "Patient", vec![]),
        operation("delete", "Patient.", vec![]),
        operation("delete", "Patient.name", vec![text.clone()]),
        operation("replace", "Patient.gender", vec![]),
        operation("replace", "Patient.gender", vec![text.clone(), text.clone()]),
        operation("insert", "Patient.name", vec![part("index", "valueInteger", json("-1")), text.clone()]),
        operation("replace", "Patient.gender", vec![object! { "name": "value" }]),
        operation("replace", "Patient.gender", vec![part("value", "valuePatient", "x")]),
        operation("replace", "Patient.gender", vec![part("value", "__proto__", "x")]),
    ] {
        let result = fhirpath(r#"{"resourceType":"Patient"}"#, vec![operation.clone()]);
        assert_eq!(fault(result), (Some(0), Fault::Malformed), "{operation}");
    }
    assert_eq!(fault(Patch::from_parameters(&object! { "resourceType": "Patient" })), (None, Fault::Malformed));
}

#[test]
fn types_are_checked() {
    let patient = r#"{"resourceType":"Patient","gender":"male"}"#;
    let replace = |member: &str, value: Json| {
        fhirpath(patient, vec![operation("replace", "Patient.gender", vec![part("value", member, value)])])
    };
    assert_eq!(replace("valueCode", "female".into()).unwrap(), r#"{"resourceType":"Patient","gender":"female"}"#);
    assert_eq!(replace("valueString", "female".into()).unwrap_err().message, "gender takes code, not string");
    assert!(replace("valueHumanName", object! { "text": "x" }).is_err());
    let add = |name: &str, member: &str, value: Json| {
        let parts = vec![part("name", "valueString", name), part("value", member, value)];
        fhirpath(r#"{"resourceType":"Observation"}"#, vec![operation("add", "Observation", parts)])
    };
    let quantity = r#"{"resourceType":"Observation","valueQuantity":{"value":1.00}}"#;
    assert_eq!(add("value", "valueQuantity", json(r#"{"value":1.00}"#)).unwrap(), quantity);
    assert_eq!(add("valueQuantity", "valueQuantity", json(r#"{"value":1.00}"#)).unwrap(), quantity);
    assert!(add("value", "valueMoney", json(r#"{"value":1}"#)).is_err());
    assert!(add("valueQuantity", "valueString", "x".into()).is_err());
    assert!(add("nothing", "valueString", "x".into()).unwrap_err().message.contains("it has id, meta"));
}

#[test]
fn a_choice_changes_its_name_with_its_type() {
    let observation = r#"{"resourceType":"Observation","valueQuantity":{"value":1},"status":"final"}"#;
    let replaced = operation("replace", "Observation.value", vec![part("value", "valueString", "x")]);
    let expected = r#"{"resourceType":"Observation","status":"final","valueString":"x"}"#;
    assert_eq!(fhirpath(observation, vec![replaced]).unwrap(), expected);
    let parts = vec![part("name", "valueString", "value"), part("value", "valueString", "x")];
    assert!(fhirpath(observation, vec![operation("add", "Observation", parts)]).is_err(), "there is one already");
}

#[test]
fn primitives_and_their_extensions_go_together() {
    let patient = r#"{"resourceType":"Patient","name":[{"given":["a","b"],"_given":[null,{"id":"y"}]}]}"#;
    let name =
        |operations| fhirpath(patient, operations).map(|text| text.replace(r#"{"resourceType":"Patient","name":"#, ""));
    let text = |value: &str| part("value", "valueString", value);
    assert_eq!(
        name(vec![operation("delete", "Patient.name[0].given[0]", vec![])]).unwrap(),
        r#"[{"given":["b"],"_given":[{"id":"y"}]}]}"#
    );
    assert_eq!(
        name(vec![operation("replace", "Patient.name.given[1]", vec![text("c")])]).unwrap(),
        r#"[{"given":["a","c"]}]}"#
    );
    let index = part("index", "valueInteger", json("0"));
    assert_eq!(
        name(vec![operation("insert", "Patient.name.given", vec![index, text("c")])]).unwrap(),
        r#"[{"given":["c","a","b"],"_given":[null,null,{"id":"y"}]}]}"#
    );
    let extension = object! { "name": "value", "part": array![
        part("url", "valueUri", "http://e"), part("value", "valueBoolean", true),
    ] };
    let add = operation("add", "Patient.name.given[0]", vec![part("name", "valueString", "extension"), extension]);
    assert_eq!(
        name(vec![add.clone()]).unwrap(),
        r#"[{"given":["a","b"],"_given":[{"extension":[{"url":"http://e","valueBoolean":true}]},{"id":"y"}]}]}"#
    );
    let delete = operation("delete", "Patient.name.given[0].extension[0]", vec![]);
    assert_eq!(name(vec![add, delete]).unwrap(), &patient[r#"{"resourceType":"Patient","name":"#.len()..]);
    let only = r#"{"resourceType":"Patient","_birthDate":{"extension":[{"url":"http://e","valueBoolean":true}]}}"#;
    let delete = |path: &str| fhirpath(only, vec![operation("delete", path, vec![])]).unwrap();
    assert_eq!(delete("Patient.birthDate"), r#"{"resourceType":"Patient"}"#);
    assert_eq!(delete("Patient.birthDate.extension('http://e')"), r#"{"resourceType":"Patient"}"#);
}

#[test]
fn paths_name_one_element_of_this_resource() {
    let patient = r##"{"resourceType":"Patient","contained":[{"resourceType":"Organization","id":"o","name":"x"}],
        "managingOrganization":{"reference":"#o"},"generalPractitioner":[{"reference":"Practitioner/1"}],
        "name":[{"family":"a"},{"family":"b"}]}"##;
    let text = || vec![part("value", "valueString", "y")];
    let replace = |path: &str| fhirpath(patient, vec![operation("replace", path, text())]);
    assert!(replace("Patient.managingOrganization.resolve().name").unwrap().contains(r#""name":"y""#));
    assert!(replace("Patient.name.where(family = 'b').family").unwrap().contains(r#"[{"family":"a"},{"family":"y"}]"#));
    assert!(replace("Patient.name.family").unwrap_err().message.contains("matches 2 elements"));
    for bad in [
        "Patient.generalPractitioner.resolve().name",
        "Patient.generalPractitioner.resolve()",
        "'x'",
        "Patient.name.count()",
        "Patient.nam",
        "Patient.name[7].family",
        "Patient",
        "Observation.code",
        "today()",
        "%resource",
        "Patient.name.first().family + 'x'",
    ] {
        assert_eq!(fault(replace(bad)), (Some(0), Fault::Inapplicable), "{bad}");
    }
    let delete = |path: &str| fhirpath(patient, vec![operation("delete", path, vec![])]);
    assert!(delete("Patient.name[7]").is_ok() && delete("Patient.name").is_err() && delete("Patient").is_err());
    assert!(delete("Patient.nam").is_err(), "a typing error would never take effect");
}

#[test]
fn lists_may_be_empty_and_indexes_stay_within() {
    let name = || part("value", "valueHumanName", object! { "text": "x" });
    let insert = |path: &str, index: &str| {
        let parts = vec![part("index", "valueInteger", json(index)), name()];
        fhirpath(r#"{"resourceType":"Patient","active":true}"#, vec![operation("insert", path, parts)])
    };
    assert!(insert("Patient.name", "0").unwrap().contains(r#""name":[{"text":"x"}]"#));
    for (path, index) in
        [("Patient.name", "1"), ("Patient.active", "0"), ("Patient.contact.name", "0"), ("Patient.name[0]", "0")]
    {
        assert_eq!(fault(insert(path, index)).1, Fault::Inapplicable, "{path}");
    }
    let shift = |source: &str, destination: &str| {
        let parts = [("source", source), ("destination", destination)]
            .map(|(name, index)| part(name, "valueInteger", json(index)));
        let patient = r#"{"resourceType":"Patient","name":[{"text":"a"},{"text":"b"},{"text":"c"}]}"#;
        fhirpath(patient, vec![operation("move", "Patient.name", parts.to_vec())])
    };
    assert!(shift("0", "2").unwrap().contains(r#"[{"text":"b"},{"text":"c"},{"text":"a"}]"#));
    assert!(shift("0", "3").is_err() && shift("3", "0").is_err());
}

#[test]
fn anonymous_types_nest() {
    let value = object! { "name": "value", "part": array![
        object! { "name": "code", "valueCodeableConcept": object! { "text": "x" } },
        object! { "name": "value", "valueQuantity": json(r#"{"value":1.50}"#) },
        object! { "name": "referenceRange", "part": array![object! { "name": "text", "valueString": "low" }] },
    ] };
    let add = operation("add", "Observation", vec![part("name", "valueString", "component"), value]);
    let expected = r#"{"resourceType":"Observation","component":[{"code":{"text":"x"},"valueQuantity":{"value":1.50},"referenceRange":[{"text":"low"}]}]}"#;
    assert_eq!(fhirpath(r#"{"resourceType":"Observation"}"#, vec![add]).unwrap(), expected);
    let narrative = object! { "name": "value", "part": array![
        part("status", "valueCode", "generated"), part("div", "valueString", "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"),
    ] };
    let add = operation("add", "Patient", vec![part("name", "valueString", "text"), narrative]);
    assert!(fhirpath(r#"{"resourceType":"Patient"}"#, vec![add]).unwrap().contains(r#""status":"generated""#));
    let contained = part("value", "resource", object! { "resourceType": "Organization", "id": "o" });
    let add = operation("add", "Patient", vec![part("name", "valueString", "contained"), contained]);
    assert!(fhirpath(r#"{"resourceType":"Patient"}"#, vec![add]).unwrap().contains(r#""contained":[{"#));
}

#[test]
fn slow_paths_run_out_of_steps() {
    let slow = "Patient.descendants().where(%resource.descendants().where(%resource.descendants().count() > 1).count() > 1).count()";
    let names = vec![r#"{"family":"a","given":["b"]}"#; 300].join(",");
    let patient = format!(r#"{{"resourceType":"Patient","name":[{names}]}}"#);
    let result = fhirpath(&patient, vec![operation("delete", slow, vec![])]);
    assert_eq!(fault(result), (Some(0), Fault::TooCostly));
}

#[test]
fn operations_share_their_steps() {
    let names = vec![r#"{"given":["b"]}"#; 300].join(",");
    let patient = format!(r#"{{"resourceType":"Patient","name":[{names}]}}"#);
    let path = "Patient.name.where(%resource.name.where(given = 'a').exists()).given";
    let apply = |count| fhirpath(&patient, vec![operation("delete", path, vec![]); count]);
    assert!(apply(3).is_ok());
    assert_eq!(fault(apply(30)).1, Fault::TooCostly);
}

#[test]
fn operations_share_what_is_left_for_patterns() {
    let read = |count: usize| {
        let path = r"Patient.name.where(family.matches('\\w+')).given";
        let operations = vec![operation("delete", path, vec![]); count];
        Patch::from_parameters(&object! { "resourceType": "Parameters", "parameter": operations })
    };
    assert!(read(5).is_ok());
    let error = read(1_000).unwrap_err();
    assert!(error.message.contains("too many patterns"), "{error}");
}
