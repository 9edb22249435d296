//! Tests of `server/src/rest/operation/diff.rs`: what it answers is a patch that leads from one to the other.

use fhir::json::Json;
use fhir::patch::Patch;
use fhir::{array, object};
use tests::TestServer;

tests::on_both_engines!(differences_are_patches);

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

/// The same as far as a patch can make it: without the narrative, which patches may take out.
fn without_text(resource: &Json) -> Json {
    let mut resource = resource.clone();
    resource.as_object_mut().unwrap().remove("text");
    resource
}

#[test]
fn differences_of_official_examples_are_patches() {
    const OF_TYPE: usize = 5;
    let Some(examples) = tests::data::examples("differences_of_official_examples_are_patches") else { return };
    let mut of_type: std::collections::BTreeMap<String, Vec<Json>> = std::collections::BTreeMap::new();
    for example in examples {
        let list = of_type.entry(example.str("resourceType").unwrap().to_owned()).or_default();
        if list.len() < OF_TYPE && example.to_string().len() < 20_000 {
            list.push(without_text(&example));
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
        count += 1;
    }
    assert!(count > 200, "{count} pairs");
}
