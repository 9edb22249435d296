//! Tests of `server/src/rest/operation/diff.rs`: what it answers is a patch that leads from one to the other.

use fhir::json::Json;
use fhir::patch::Patch;
use fhir::{array, object};
use tests::TestServer;

tests::on_both_engines!(differences_are_patches, a_narrative_that_both_have_stays);

async fn differences_are_patches(server: TestServer) {
    let system = server.system();
    let versions = [
        object! { "resourceType": "Patient", "id": "a", "gender": "male" },
        object! { "resourceType": "Patient", "id": "a", "gender": "female", "birthDate": "2000" },
        object! { "resourceType": "Patient", "id": "a", "name": array![object! { "family": "A" }], "birthDate": "2000" },
    ];
    for version in &versions {
        system.store(version).await;
    }
    for (query, from, to) in
        [("", 1, 2), ("?from=1", 0, 2), ("?from=3&to=1", 2, 0), ("?to=2", 0, 1), ("?from=2&to=2", 1, 1)]
    {
        let answer = system.get(&format!("Patient/a/$diff{query}")).await.expect_status(200).json();
        let changed = Patch::from_parameters(&answer).unwrap().apply(&versions[from]).unwrap();
        let same = fhir::difference::difference(&changed, &versions[to]).unwrap();
        assert!(same.get("parameter").is_none(), "{query}: {answer}");
    }
    let patch = system.get("Patient/a/$diff?from=3&to=1").await.expect_status(200).json();
    system.patch("Patient/a").json(&patch).await.expect_status(200);
    assert_eq!(system.get("Patient/a").await.json().str("gender"), Some("male"));
    system.store(&object! { "resourceType": "Patient", "id": "b", "active": true }).await;
    let two = system.get("Patient/$diff?from=Patient/a/_history/1&to=Patient/b").await.expect_status(200).json();
    assert_eq!(two.list("parameter").len(), 2);
    system.get("Patient/a/$diff?from=99").await.expect_status(404);
    system.get("Patient/b/$diff").await.expect_status(400);
    let app = server.patient("a");
    app.get("Patient/a/$diff").await.expect_status(200);
    app.get("Patient/$diff?from=Patient/a&to=Patient/b").await.expect_status(404);
}

/// Both have the narrative of the first, as versions have that nobody wrote another for.
fn of_one_narrative(from: &Json, to: &Json, status: &str) -> (Json, Json) {
    let with = |resource: &Json| {
        let mut resource = resource.clone();
        let div = "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>";
        resource.as_object_mut().unwrap().insert("text", object! { "status": status, "div": div });
        resource
    };
    (with(from), with(to))
}

async fn a_narrative_that_both_have_stays(server: TestServer) {
    let system = server.system();
    for status in ["generated", "extensions", "additional"] {
        let id = status;
        let patient = |gender: &str| object! { "resourceType": "Patient", "id": id, "gender": gender };
        let (from, to) = of_one_narrative(&patient("male"), &patient("female"), status);
        for version in [&from, &to, &from] {
            system.store(version).await;
        }
        let patch = system.get(&format!("Patient/{id}/$diff?from=3&to=2")).await.expect_status(200).json();
        system.patch(&format!("Patient/{id}")).json(&patch).await.expect_status(200);
        let patched = system.get(&format!("Patient/{id}")).await.expect_status(200).json();
        assert_eq!((patched.str("gender"), patched.get("text")), (Some("female"), to.get("text")), "{status}");
    }
}

#[test]
fn differences_of_official_examples_are_patches() {
    const OF_TYPE: usize = 5;
    let Some(examples) = tests::data::examples("differences_of_official_examples_are_patches") else { return };
    let mut of_type: std::collections::BTreeMap<String, Vec<Json>> = std::collections::BTreeMap::new();
    for example in examples {
        let list = of_type.entry(example.str("resourceType").unwrap().to_owned()).or_default();
        if list.len() < OF_TYPE && example.to_string().len() < 20_000 {
            list.push(example);
        }
    }
    let mut count = 0;
    for pair in of_type.values().flat_map(|list| list.windows(2)) {
        let [from, to] = pair else { unreachable!("windows of two") };
        let name =
            format!("{}/{} {}", from.str("resourceType").unwrap(), from.str("id").unwrap(), to.str("id").unwrap());
        let parameters = fhir::difference::difference(from, to).unwrap_or_else(|error| panic!("{name}: {error}"));
        let patch = Patch::from_parameters(&parameters).unwrap_or_else(|error| panic!("{name}: {error}"));
        let changed = patch.apply(from).unwrap_or_else(|error| panic!("{name}: {error}: {parameters}"));
        let rest = fhir::difference::difference(&changed, to).unwrap();
        assert!(rest.get("parameter").is_none(), "{name}: {rest}");
        assert_eq!(changed.get("text"), to.get("text"), "{name}");
        count += 1;
    }
    assert!(count > 200, "{count} pairs");
}
