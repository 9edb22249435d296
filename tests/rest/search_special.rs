//! Tests of what a search on a type can do besides plain parameters: chains, `_has`, `_list`, `_filter`, `near`, words,
//! elements, explanations, pages backwards.

use fhir::json::Json;
use fhir::{array, object};
use tests::TestServer;

tests::on_both_engines!(
    conditions,
    ids_and_instants,
    parts_of_resources,
    pages_backwards,
    explanations,
    sm_22_a_chain_is_a_search,
    lk_10_a_chain_through_the_hidden_finds_nothing,
);

async fn clinic(server: &TestServer) {
    let system = server.system();
    let reference = |text: &str| object! { "reference": text };
    system.store(&object! { "resourceType": "Organization", "id": "o", "name": "Ward" }).await;
    let narrative = |words: &str| {
        let div = format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{words}</div>");
        object! { "status": "generated", "div": div }
    };
    for (id, gender, words) in [("a", "male", "tall <b>Man</b>"), ("b", "female", "small woman")] {
        let patient = object! {
            "resourceType": "Patient", "id": id, "text": narrative(words), "gender": gender,
            "name": array![object! { "family": format!("Berg-{id}") }], "managingOrganization": reference("Organization/o"),
        };
        system.store(&patient).await;
        let observation = object! {
            "resourceType": "Observation", "id": format!("o-{id}"), "status": "final",
            "code": object! { "coding": array![object! { "system": "http://l", "code": "w" }] },
            "subject": reference(&format!("Patient/{id}")),
            "valueQuantity": object! {
                "value": Json::Number("70".into()), "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg",
            },
        };
        system.store(&observation).await;
    }
    let entry = array![object! { "item": reference("Patient/a") }];
    let list = object! { "resourceType": "List", "id": "l", "status": "current", "mode": "working", "entry": entry };
    system.store(&list).await;
    let position = object! { "longitude": Json::Number("8.54".into()), "latitude": Json::Number("47.37".into()) };
    system.store(&object! { "resourceType": "Location", "id": "hall", "position": position }).await;
    let part_of = reference("Location/hall");
    system.store(&object! { "resourceType": "Location", "id": "room", "partOf": part_of }).await;
}

async fn conditions(server: TestServer) {
    clinic(&server).await;
    let system = server.system();
    for (query, expected) in [
        ("Observation?subject:Patient.gender=male", vec!["o-a"]),
        ("Observation?subject.name=berg-b", vec!["o-b"]),
        ("Observation?patient.organization.name=ward&_sort=_id", vec!["o-a", "o-b"]),
        ("Observation?patient._id=b", vec!["o-b"]),
        ("Patient?_has:Observation:patient:code=http://l%7Cw&_sort=_id", vec!["a", "b"]),
        ("Patient?_has:Observation:patient:_id=o-b", vec!["b"]),
        ("Organization?_has:Patient:organization:_has:Observation:patient:_id=o-b", vec!["o"]),
        ("Patient?_list=l", vec!["a"]),
        ("Patient?_filter=gender%20eq%20male%20or%20family%20ew%20%22-b%22&_sort=_id", vec!["a", "b"]),
        ("Patient?_filter=gender%20ne%20male", vec!["b"]),
        ("Observation?_filter=subject%5Bgender%20eq%20male%5D.organization%20re%20Organization/o", vec!["o-a"]),
        (
            "Observation?code-value-quantity=http://l%7Cw$70000%7Chttp://unitsofmeasure.org%7Cg&subject=Patient/a",
            vec!["o-a"],
        ),
        ("Observation?value-quantity=lt71000%7C%7Cg&_sort=_id", vec!["o-a", "o-b"]),
        ("Observation?value-quantity=gt70%7Ckg", vec![]),
        ("Patient?_text=TALL%20man", vec!["a"]),
        ("Patient?_content=ward", vec![]),
        ("Location?near=47.37%7C8.54%7C1%7Ckm", vec!["hall"]),
        ("Location?near=46%7C8.54%7C1%7Ckm", vec![]),
        ("Location?partof:below=hall", vec!["room"]),
        ("Patient?_id:not=a", vec!["b"]),
    ] {
        assert_eq!(system.get(query).await.expect_status(200).matches(), expected, "{query}");
    }
    for query in [
        "Observation?subject.nothing=x",
        "Patient?_filter=gender%20gt%20male",
        "Location?near=x",
        "Patient?_has:Observation:code:code=x",
    ] {
        system.get(query).await.expect_status(400);
    }
}

/// What generated searches leave out, as instants are those of the server: every form of `_id` and `_lastUpdated`.
async fn ids_and_instants(server: TestServer) {
    clinic(&server).await;
    let system = server.system();
    let instant = |answer: &tests::Answer| {
        let changed = answer.json().at(&["meta", "lastUpdated"]).and_then(Json::as_str).unwrap().to_owned();
        changed.replace('+', "%2B")
    };
    let (a, b) = (instant(&system.get("Patient/a").await), instant(&system.get("Patient/b").await));
    assert!(a < b, "{a} {b}");
    for (query, expected) in [
        ("_id=a".to_owned(), vec!["a"]),
        ("_id=a,b".to_owned(), vec!["a", "b"]),
        ("_id:not=a".to_owned(), vec!["b"]),
        ("_id:missing=true".to_owned(), vec![]),
        ("_id:missing=false".to_owned(), vec!["a", "b"]),
        ("_lastUpdated:missing=true".to_owned(), vec![]),
        ("_lastUpdated:missing=false".to_owned(), vec!["a", "b"]),
        (format!("_lastUpdated={a}"), vec!["a"]),
        (format!("_lastUpdated=eq{a}"), vec!["a"]),
        (format!("_lastUpdated=ne{a}"), vec!["b"]),
        (format!("_lastUpdated=gt{a}"), vec!["b"]),
        (format!("_lastUpdated=lt{b}"), vec!["a"]),
        (format!("_lastUpdated=ge{b}"), vec!["b"]),
        (format!("_lastUpdated=le{a}"), vec!["a"]),
        (format!("_lastUpdated=sa{a}"), vec!["b"]),
        (format!("_lastUpdated=eb{b}"), vec!["a"]),
        (format!("_lastUpdated=ap{}", &a[..10]), vec!["a", "b"]),
        ("_lastUpdated=ap2001".to_owned(), vec![]),
    ] {
        let found = system.get(&format!("Patient?{query}&_sort=_id")).await.expect_status(200).matches();
        assert_eq!(found, expected, "{query}, {a}, {b}");
    }
}

async fn parts_of_resources(server: TestServer) {
    clinic(&server).await;
    let system = server.system();
    let of = async |query: &str| {
        let answer = system.get(query).await.expect_status(200);
        answer.entries("match").first().cloned().unwrap_or_else(|| panic!("{query}: {}", answer.text()))
    };
    let named = of("Patient?_id=a&_elements=gender").await;
    assert!(named.get("gender").is_some() && named.get("name").is_none() && named.at(&["meta", "tag"]).is_some());
    assert!(of("Patient?_id=a&_summary=text").await.get("gender").is_none());
    assert!(of("Patient?_id=a&_summary=data").await.get("text").is_none());
    assert!(system.get("Patient?_summary=count").await.expect_status(200).entries("match").is_empty());
    system.get("Patient?_elements=nothing").await.expect_status(400);
}

async fn pages_backwards(server: TestServer) {
    clinic(&server).await;
    let system = server.system();
    let first = system.get("Patient?_sort=_id&_count=1").await.expect_status(200);
    assert!(first.link("previous").is_none());
    let second = system.get(&first.link("next").unwrap()).await.expect_status(200);
    let back = system.get(&second.link("previous").unwrap()).await.expect_status(200);
    assert_eq!((second.matches(), back.matches()), (vec!["b".to_owned()], vec!["a".to_owned()]));

    // What stood before the page is gone: a link to there leads to what is left, not to a page without a way on.
    for (of_patients, left) in [("Patient?_sort=_id", "b"), ("?_type=Patient,Group&_sort=_id", "c")] {
        for id in ["b", "c", "d"] {
            system.store(&object! { "resourceType": "Patient", "id": id }).await;
        }
        let first = system.get(&format!("{of_patients}&_count=1")).await.expect_status(200);
        let gone = first.matches().remove(0);
        let second = system.get(&first.link("next").unwrap()).await.expect_status(200);
        system.delete(&format!("Patient/{gone}")).await.expect_status(204);
        let back = system.get(&second.link("previous").unwrap()).await.expect_status(200);
        assert_eq!((second.matches(), back.matches()), (vec![left.to_owned()], vec![left.to_owned()]));
        assert!(back.link("next").is_some() && back.link("previous").is_none(), "{}", back.text());
    }
}

async fn explanations(server: TestServer) {
    clinic(&server).await;
    let answer = server.system().get("Patient?name=berg-a&__explain=true").await.expect_status(200);
    let json = answer.json();
    assert_eq!(json.str("resourceType"), Some("Parameters"));
    server.patient("a").get("Patient?name=berg-a&__explain=true").await.expect_status(403);
    assert!(!json.list("parameter").is_empty() && !answer.text().contains("berg-a"), "{}", answer.text());
}

async fn sm_22_a_chain_is_a_search(server: TestServer) {
    clinic(&server).await;
    let reads = server.with_scope("system/Observation.rs system/Patient.r", None);
    reads.get("Observation?patient.gender=male").await.expect_status(403);
    let searches = server.with_scope("system/Observation.rs system/Patient.s", None);
    assert_eq!(searches.get("Observation?patient.gender=male").await.expect_status(200).matches(), ["o-a"]);
}

async fn lk_10_a_chain_through_the_hidden_finds_nothing(server: TestServer) {
    clinic(&server).await;
    let blind = server.with_scope("system/Observation.rs", None);
    assert!(blind.get("Observation?patient.gender=male").await.expect_status(200).matches().is_empty());
    assert!(blind.get("Observation?_list=l").await.expect_status(200).matches().is_empty());
}
