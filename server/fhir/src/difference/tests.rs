//! Tests of differences: applied to what they are from, they give what they are to.

use super::*;
use crate::patch::Patch;
use crate::{array, object};
use proptest::prelude::*;

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The same with members in one order.
fn settled(value: &Json) -> Json {
    match value {
        Json::Array(items) => Json::Array(items.iter().map(settled).collect()),
        Json::Object(object) => {
            let mut members: Vec<(&str, &Json)> = object.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            let mut sorted = Object::new();
            for (name, member) in members {
                sorted.insert(name, settled(member));
            }
            sorted.into()
        }
        other => other.clone(),
    }
}

fn applied(from: &Json, to: &Json) -> (Json, Json) {
    let parameters = difference(from, to).unwrap_or_else(|error| panic!("{error}: {from} {to}"));
    let patch = Patch::from_parameters(&parameters).unwrap_or_else(|error| panic!("{error}: {parameters}"));
    let changed = patch.apply(from).unwrap_or_else(|error| panic!("{error}: {parameters} on {from}"));
    (settled(&changed), parameters)
}

fn kinds(parameters: &Json) -> Vec<String> {
    let part = |operation: &Json, name: &str, member: &str| {
        let part = operation.list("part").iter().find(|part| part.str("name") == Some(name)).cloned();
        part.and_then(|part| part.str(member).map(str::to_owned)).unwrap_or_default()
    };
    let said = |it: &Json| format!("{} {}", part(it, "type", "valueCode"), part(it, "path", "valueString"));
    parameters.list("parameter").iter().map(said).collect()
}

#[test]
fn operations_are_as_small_as_the_change() {
    let patient = |rest: &str| json(&format!(r#"{{"resourceType":"Patient","id":"a",{rest}}}"#));
    let cases = [
        (r#""active":true"#, r#""active":false"#, vec!["replace Patient.active"]),
        (r#""active":true"#, r#""active":true,"gender":"male""#, vec!["add Patient"]),
        (r#""active":true,"gender":"male""#, r#""gender":"male""#, vec!["delete Patient.active"]),
        (
            r#""name":[{"family":"A","given":["b"]}]"#,
            r#""name":[{"family":"A","given":["c","b"]}]"#,
            vec!["insert Patient.name[0].given"],
        ),
        (
            r#""name":[{"family":"A"}]"#,
            r#""name":[{"text":"B"}]"#,
            vec!["add Patient.name[0]", "delete Patient.name[0].family"],
        ),
        (r#""deceasedBoolean":true"#, r#""deceasedDateTime":"2020""#, vec!["replace Patient.deceased"]),
        (r#""birthDate":"2020""#, r#""_birthDate":{"id":"x"}"#, vec!["replace Patient.birthDate"]),
        (
            r#""contact":[{"gender":"male"}]"#,
            r#""contact":[{"gender":"male"},{"name":{"text":"x"}}]"#,
            vec!["insert Patient.contact"],
        ),
        (r#""meta":{"versionId":"1","lastUpdated":"2020-01-01T00:00:00Z"}"#, r#""meta":{"versionId":"2"}"#, vec![]),
    ];
    for (from, to, expected) in cases {
        let (from, to) = (patient(from), patient(to));
        let (changed, parameters) = applied(&from, &to);
        assert_eq!(kinds(&parameters), expected, "{parameters}");
        if !expected.is_empty() {
            assert_eq!(changed, settled(&to));
        }
    }
}

#[test]
fn types_that_a_value_does_not_have_are_parts() {
    let extension = |value: Json| {
        let mut extension = object! { "url": "http://x" };
        extension.as_object_mut().unwrap().insert("valuePositiveInt", value);
        extension
    };
    let observation = |more: Json| {
        let mut observation = object! {
            "resourceType": "Observation",
            "id": "a",
            "status": "final",
            "code": object! { "text": "x" },
        };
        for (name, value) in more.as_object().unwrap().iter() {
            observation.as_object_mut().unwrap().insert(name, value.clone());
        }
        observation
    };
    let component = |code: &str| object! { "code": object! { "text": code }, "valueInteger": Json::from(3) };
    let div = "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>";
    let versions = [
        object! {},
        object! { "text": object! { "status": "generated", "div": div } },
        object! { "component": array![component("a"), component("b")] },
        object! { "component": array![component("b")], "extension": array![extension(1.into())] },
        object! { "extension": array![extension(2.into())], "valueString": "x" },
        object! { "contained": array![object! { "resourceType": "Device", "id": "d" }], "valueBoolean": true },
        object! { "contained": array![object! { "resourceType": "Device", "id": "e" }] },
    ];
    for from in &versions {
        for to in &versions {
            let (from, to) = (observation(from.clone()), observation(to.clone()));
            assert_eq!(applied(&from, &to).0, settled(&to));
        }
    }
}

#[test]
fn a_narrative_that_stays_is_said_to_stay() {
    let patient = |active: bool, status: &str| {
        let text = object! { "status": status, "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>" };
        object! { "resourceType": "Patient", "id": "a", "text": text, "active": active }
    };
    for (status, expected) in [
        ("generated", vec!["replace Patient.active", "replace Patient.text"]),
        ("additional", vec!["replace Patient.active", "replace Patient.text"]),
        ("empty", vec!["replace Patient.active"]),
    ] {
        let (from, to) = (patient(true, status), patient(false, status));
        let (changed, parameters) = applied(&from, &to);
        assert_eq!((kinds(&parameters), changed), (expected.iter().map(|it| (*it).to_owned()).collect(), settled(&to)));
    }
    let same = difference(&patient(true, "generated"), &patient(true, "generated")).unwrap();
    assert!(same.get("parameter").is_none());
}

#[test]
fn other_types_have_no_difference() {
    let error = difference(&object! { "resourceType": "Patient" }, &object! { "resourceType": "Device" });
    assert!(matches!(error, Err(DifferenceError::Types(..))));
    let odd = object! { "resourceType": "Patient", "odd": true };
    assert!(matches!(difference(&odd, &odd), Err(DifferenceError::Undefined(_))));
}

fn word() -> impl Strategy<Value = Json> {
    prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(Json::from)
}

fn some(members: Vec<(&'static str, BoxedStrategy<Json>)>) -> BoxedStrategy<Json> {
    let members: Vec<_> =
        members.into_iter().map(|(name, value)| prop::option::of(value).prop_map(move |it| (name, it))).collect();
    let made = members.prop_map(|members| {
        let mut object = Object::new();
        for (name, it) in members {
            if let Some(it) = it {
                object.insert(name, it);
            }
        }
        if object.is_empty() {
            object.insert("id", "only");
        }
        Json::Object(object)
    });
    made.boxed()
}

fn list(item: BoxedStrategy<Json>) -> BoxedStrategy<Json> {
    prop::collection::vec(item, 1..5).prop_map(Json::Array).boxed()
}

fn patient() -> BoxedStrategy<Json> {
    let name = || some(vec![("family", word().boxed()), ("given", list(word().boxed())), ("text", word().boxed())]);
    let coding = some(vec![("system", word().boxed()), ("code", word().boxed())]);
    let concept = some(vec![("coding", list(coding.clone())), ("text", word().boxed())]);
    let contact = some(vec![("name", name()), ("gender", word().boxed()), ("relationship", list(concept))]);
    let meta = some(vec![("tag", list(coding)), ("source", word().boxed())]);
    let communication = some(vec![("preferred", any::<bool>().prop_map(Json::from).boxed())]);
    let resource = some(vec![
        ("meta", meta),
        ("active", any::<bool>().prop_map(Json::from).boxed()),
        ("name", list(name())),
        ("contact", list(contact)),
        ("communication", list(communication)),
        ("multipleBirthInteger", (1_i64..4).prop_map(Json::from).boxed()),
        ("_birthDate", some(vec![("id", word().boxed())])),
    ]);
    let resource = resource.prop_map(|mut resource| {
        resource.as_object_mut().expect("an object").insert_at(0, "resourceType", "Patient");
        resource.as_object_mut().expect("an object").insert_at(1, "id", "p");
        resource
    });
    resource.boxed()
}

proptest! {
    #[test]
    fn applied_to_the_one_it_gives_the_other(from in patient(), to in patient()) {
        prop_assert_eq!(applied(&from, &to).0, settled(&to));
        prop_assert!(difference(&to, &to).unwrap().get("parameter").is_none());
    }
}
