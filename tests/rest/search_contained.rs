//! Searches of contained resources and chains into them. <https://hl7.org/fhir/R4/search.html#contained>

use fhir::json::Json;
use fhir::{array, object};
use tests::{Answer, TestServer};

tests::on_both_engines!(
    a_search_that_does_not_ask_finds_none,
    containers_are_answered,
    contained_resources_are_answered,
    both_kinds_are_answered,
    pages_go_forwards_and_back,
    what_changes_is_found_as_it_is,
    chains_go_into_contained_resources,
    chains_stay_inside_a_container,
    in_30_what_cannot_be_asked_is_refused,
    lk_24_contained_resources_are_seen_with_their_container,
);

fn coded(code: &str) -> Json {
    object! { "coding": array![object! { "system": "http://m", "code": code }] }
}

fn medication(id: &str, code: &str, status: &str) -> Json {
    object! { "resourceType": "Medication", "id": id, "code": coded(code), "status": status }
}

/// A request for the first of the medications in it.
fn request(id: &str, patient: &str, contained: Vec<Json>) -> Json {
    let reference =
        contained.first().and_then(|it| it.str("id")).map_or_else(|| "Medication/m".to_owned(), |id| format!("#{id}"));
    let mut request = object! {
        "resourceType": "MedicationRequest", "id": id, "status": "active", "intent": "order",
        "medicationReference": object! { "reference": reference },
        "subject": object! { "reference": format!("Patient/{patient}") },
    };
    if !contained.is_empty() {
        request.as_object_mut().unwrap().insert("contained", contained);
    }
    request
}

async fn pharmacy(server: &TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&object! { "resourceType": "Patient", "id": id }).await;
    }
    system.store(&object! { "resourceType": "Organization", "id": "maker", "name": "Maker" }).await;
    system.store(&medication("m", "x", "active")).await;
    let mut made = medication("inner", "x", "active");
    made.as_object_mut().unwrap().insert("manufacturer", object! { "reference": "Organization/maker" });
    system.store(&request("r1", "a", vec![made, medication("other", "y", "inactive")])).await;
    system
        .store(&request("r2", "b", vec![medication("inner", "x", "inactive"), medication("more", "x", "active")]))
        .await;
    system.store(&request("r3", "a", vec![])).await;
    let practitioner =
        object! { "resourceType": "Practitioner", "id": "p", "name": array![object! { "family": "Berg" }] };
    let statement = object! {
        "resourceType": "MedicationStatement", "id": "s", "status": "active", "contained": array![medication("s1", "x", "active"), practitioner],
        "medicationReference": object! { "reference": "#s1" }, "subject": object! { "reference": "Patient/a" },
        "informationSource": object! { "reference": "#p" },
    };
    system.store(&statement).await;
}

fn urls(answer: &Answer) -> Vec<String> {
    let entries = answer
        .json()
        .list("entry")
        .iter()
        .filter_map(|entry| entry.str("fullUrl").map(str::to_owned))
        .collect::<Vec<_>>();
    entries.iter().filter_map(|url| url.split_once("/fhir/").map(|(_, name)| name.to_owned())).collect()
}

fn total(answer: &Answer) -> Option<String> {
    answer.json().get("total").and_then(Json::as_number).map(str::to_owned)
}

async fn a_search_that_does_not_ask_finds_none(server: TestServer) {
    pharmacy(&server).await;
    let system = server.system();
    for query in
        ["Medication?code=x", "Medication?code=x&_contained=false", "Medication?status:not=nothing", "Medication"]
    {
        let answer =
            system.get(&format!("{query}{}_total=accurate", if query.contains('?') { '&' } else { '?' })).await;
        assert_eq!((urls(&answer), total(&answer)), (vec!["Medication/m".to_owned()], Some("1".to_owned())), "{query}");
    }
    for query in [
        "Medication?_id=inner",
        "Medication?code=y",
        "Practitioner?name=berg",
        "Medication?manufacturer=Organization/maker",
    ] {
        assert!(urls(&system.get(query).await.expect_status(200)).is_empty(), "{query}");
    }
    let back = system.get("Organization?_id=maker&_revinclude=Medication:manufacturer").await.expect_status(200);
    assert_eq!(urls(&back), ["Organization/maker"]);
    assert!(urls(&system.get("Organization?_has:Medication:manufacturer:code=x").await).is_empty());
}

async fn containers_are_answered(server: TestServer) {
    pharmacy(&server).await;
    let system = server.system();
    for (query, expected) in [
        ("code=x", vec!["MedicationStatement/s", "MedicationRequest/r2", "MedicationRequest/r1"]),
        ("code=x&status=active&_id=inner", vec!["MedicationRequest/r1"]),
        ("code=y", vec!["MedicationRequest/r1"]),
        ("code=y&status=active", vec![]),
        ("code:not=x", vec!["MedicationRequest/r1"]),
        ("manufacturer:missing=false", vec!["MedicationRequest/r1"]),
        ("manufacturer.name=maker", vec!["MedicationRequest/r1"]),
        ("manufacturer=Organization/maker", vec!["MedicationRequest/r1"]),
        ("_filter=code%20eq%20y%20or%20_id%20eq%20more", vec!["MedicationRequest/r2", "MedicationRequest/r1"]),
        ("_containedType=container&_id=more", vec!["MedicationRequest/r2"]),
    ] {
        let answer =
            system.get(&format!("Medication?{query}&_contained=true&_total=accurate")).await.expect_status(200);
        assert_eq!(urls(&answer), expected, "{query}");
        assert_eq!(total(&answer), Some(expected.len().to_string()), "{query}");
        let modes = answer
            .json()
            .list("entry")
            .iter()
            .all(|it| it.at(&["search", "mode"]).and_then(Json::as_str) == Some("match"));
        assert!(modes, "{query}");
    }
    let counted = system.get("Medication?code=x&_contained=true&_count=0").await.expect_status(200);
    assert_eq!((total(&counted), urls(&counted).len()), (Some("3".to_owned()), 0));
    let posted =
        system.post("Medication/_search").form(&[("code", "y"), ("_contained", "true")]).await.expect_status(200);
    assert_eq!(urls(&posted), ["MedicationRequest/r1"]);
}

async fn contained_resources_are_answered(server: TestServer) {
    pharmacy(&server).await;
    let system = server.system();
    let answer = system
        .get("Medication?code=x&_contained=true&_containedType=contained&_total=accurate")
        .await
        .expect_status(200);
    let expected = [
        "MedicationStatement/s#s1",
        "MedicationRequest/r2#inner",
        "MedicationRequest/r2#more",
        "MedicationRequest/r1#inner",
    ];
    assert_eq!(urls(&answer), expected);
    assert_eq!(total(&answer).as_deref(), Some("4"));
    assert_eq!(answer.matches(), ["s1", "inner", "more", "inner"], "each is the resource itself");
    let own = answer.link("self").unwrap();
    assert!(own.contains("_contained=true") && own.contains("_containedType=contained"), "{own}");
    let part = system
        .get("Medication?code=y&_contained=true&_containedType=contained&_elements=status")
        .await
        .expect_status(200);
    let resource = part.json().list("entry")[0].get("resource").cloned().unwrap();
    assert_eq!((resource.str("status"), resource.get("code")), (Some("inactive"), None));
}

async fn both_kinds_are_answered(server: TestServer) {
    pharmacy(&server).await;
    let system = server.system();
    let answer = system.get("Medication?code=x&_contained=both&_total=accurate").await.expect_status(200);
    let mut found = urls(&answer);
    found.sort_unstable();
    assert_eq!(found, ["Medication/m", "MedicationRequest/r1", "MedicationRequest/r2", "MedicationStatement/s"]);
    assert_eq!(total(&answer).as_deref(), Some("4"));
    let alone = system.get("Medication?_id=m,more&_contained=both&_containedType=contained").await.expect_status(200);
    let mut found = urls(&alone);
    found.sort_unstable();
    assert_eq!(found, ["Medication/m", "MedicationRequest/r2#more"]);
}

async fn pages_go_forwards_and_back(server: TestServer) {
    pharmacy(&server).await;
    let system = server.system();
    for form in ["container", "contained"] {
        let query = format!("Medication?_contained=both&_containedType={form}");
        let all = urls(&system.get(&query).await.expect_status(200));
        let mut page = system.get(&format!("{query}&_count=1")).await.expect_status(200);
        let (mut found, mut last) = (urls(&page), None);
        while let Some(next) = page.link("next") {
            last = Some(urls(&page));
            page = system.get(&next).await.expect_status(200);
            assert_eq!(urls(&page).len(), 1, "{form}");
            found.extend(urls(&page));
        }
        assert_eq!(found, all, "{form}");
        let back = system.get(&page.link("previous").unwrap()).await.expect_status(200);
        assert_eq!(Some(urls(&back)), last, "{form}");
        let other =
            page.link("previous").unwrap().replace(&format!("_containedType={form}"), "_containedType=container");
        system.get(&other).await.expect_status(if form == "container" { 200 } else { 400 });
    }
}

async fn what_changes_is_found_as_it_is(server: TestServer) {
    pharmacy(&server).await;
    let system = server.system();
    let found = async |code: &str| {
        urls(&system.get(&format!("Medication?code={code}&_contained=true")).await.expect_status(200))
    };
    system.store(&request("r1", "a", vec![medication("new", "z", "active")])).await;
    assert_eq!(found("y").await, Vec::<String>::new());
    assert_eq!(found("z").await, ["MedicationRequest/r1"]);
    system.store(&request("r1", "a", vec![])).await;
    assert_eq!(found("z").await, Vec::<String>::new());
    system.delete("MedicationRequest/r2").await.expect_status(204);
    assert_eq!(found("x").await, ["MedicationStatement/s"]);
    system.store(&request("r3", "a", vec![medication("late", "y", "active")])).await;
    assert_eq!(found("y").await, ["MedicationRequest/r3"]);
    server.command(&["reindex"]);
    assert_eq!(
        (found("y").await, found("x").await),
        (vec!["MedicationRequest/r3".to_owned()], vec!["MedicationStatement/s".to_owned()])
    );
    let checked = server.command(&["doctor", "--search", "--json", "--sample", "50"]);
    let checked = Json::parse(checked.as_bytes()).unwrap();
    assert!(checked.at(&["sample"]).unwrap().list("different").is_empty(), "{checked}");
    assert!(checked.list("parameters").iter().any(|it| it.str("parameter") == Some("Medication.code (contained)")));
}

async fn chains_go_into_contained_resources(server: TestServer) {
    pharmacy(&server).await;
    let system = server.system();
    for (query, expected) in [
        ("MedicationRequest?medication.code=x", vec!["r3", "r2", "r1"]),
        ("MedicationRequest?medication:Medication.code=x&status=active&patient=a", vec!["r3", "r1"]),
        ("MedicationRequest?medication.status=inactive", vec!["r2"]),
        // Points at the other one.
        ("MedicationRequest?medication.code=y", vec![]),
        ("MedicationRequest?medication.manufacturer.name=maker", vec!["r1"]),
        ("MedicationRequest?medication._id=inner", vec!["r2", "r1"]),
        ("MedicationStatement?source:Practitioner.name=berg", vec!["s"]),
        ("Patient?_has:MedicationRequest:patient:medication.code=x&_sort=_id", vec!["a", "b"]),
        ("Patient?_has:MedicationRequest:patient:medication.status=inactive", vec!["b"]),
    ] {
        let answer = system.get(query).await.expect_status(200);
        assert_eq!(answer.matches(), expected, "{query}");
    }
    // More than are named one by one.
    let many = (0..30).map(|number| {
        let contained = (0..40).map(|it| medication(&format!("c{it}"), "many", "active")).collect();
        request(&format!("many-{number}"), "b", contained)
    });
    for resource in many {
        system.store(&resource).await;
    }
    let answer = system.get("MedicationRequest?medication.code=many&_total=accurate&_count=7").await.expect_status(200);
    assert_eq!((total(&answer).as_deref(), answer.matches().len()), (Some("30"), 7));
    let answer = system.get("Medication?code=many&_contained=true&_total=accurate&_containedType=contained").await;
    assert_eq!(total(&answer).as_deref(), Some("1200"));
}

/// "References are resolved by looking through the 'container' resource":
/// <https://hl7.org/fhir/R4/references.html#contained>.
async fn chains_stay_inside_a_container(server: TestServer) {
    let system = server.system();
    let questionnaire = object! {
        "resourceType": "Questionnaire", "id": "q", "status": "active", "url": "http://q", "version": "1", "title": "asked",
    };
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    system.store(&questionnaire).await;
    for (id, maker) in [("r1", "#o1"), ("r2", "#o2"), ("r3", "#none"), ("r4", "Organization/o1")] {
        let mut inner = medication("m", "x", "active");
        inner.as_object_mut().unwrap().insert("manufacturer", object! { "reference": maker });
        let organization = |id: &str, name: &str| object! { "resourceType": "Organization", "id": id, "name": name };
        let answers = object! {
            "resourceType": "QuestionnaireResponse", "id": "qr", "status": "completed", "questionnaire": "http://q|1",
        };
        let mut contained = vec![inner, organization("o1", "inside"), organization("o2", "outside")];
        contained.extend((id == "r1").then_some(answers));
        system.store(&request(id, "a", contained)).await;
    }
    for (query, expected) in [
        ("Medication?_contained=true&manufacturer.name=inside", vec!["MedicationRequest/r1"]),
        (
            "Medication?_contained=true&_containedType=contained&manufacturer.name=outside",
            vec!["MedicationRequest/r2#m"],
        ),
        ("Medication?_contained=true&manufacturer:Organization._id=o1", vec!["MedicationRequest/r1"]),
        ("Medication?_contained=true&manufacturer.name=nobody", vec![]),
        ("MedicationRequest?medication.manufacturer.name=inside", vec!["MedicationRequest/r1"]),
        ("QuestionnaireResponse?_contained=true&questionnaire.title=asked", vec!["MedicationRequest/r1"]),
    ] {
        assert_eq!(urls(&system.get(query).await.expect_status(200)), expected, "{query}");
    }
    let stranger = server.patient("b");
    assert!(urls(&stranger.get("Medication?_contained=true&manufacturer.name=inside").await).is_empty());
    // What is contained no more leads nowhere.
    system.store(&request("r1", "a", vec![medication("m", "x", "active")])).await;
    assert!(urls(&system.get("Medication?_contained=true&manufacturer.name=inside").await).is_empty());
}

async fn in_30_what_cannot_be_asked_is_refused(server: TestServer) {
    pharmacy(&server).await;
    let system = server.system();
    for query in [
        "Medication?_contained=true&_sort=code",
        "Medication?_contained=true&_sort=-_lastUpdated",
        "Medication?_contained=both&_include=Medication:manufacturer",
        "Medication?_contained=true&_revinclude=MedicationRequest:medication",
        "Medication?_contained=true&_has:MedicationRequest:medication:status=active",
        "Medication?_contained=true&_lastUpdated=ge2020",
        "Medication?_contained=true&_content=x",
        "Medication?_contained=true&_list=l",
        "Location?_contained=true&near=1|1",
        "Medication?_contained=true&__explain=true",
        "Medication?_contained=maybe",
        "Medication?_contained=true&_contained=both",
        "Medication?_containedType=contained",
        "Medication?_contained=false&_containedType=contained",
        "Medication?_contained=true&_containedType=both",
        "?_type=Medication&_contained=true",
        "?_type=Medication,Patient&_contained=both",
        "Patient/a/MedicationRequest?_contained=true",
        "Patient/a/*?_contained=true",
        "Patient/a/$everything?_contained=true",
        "Observation/$lastn?patient=a&code=x&_contained=true",
    ] {
        let answer = system.get(query).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
    }
    // Left out, not half done.
    let lenient =
        system.get("Medication?_contained=true&_score=1").header("Prefer", "handling=lenient").await.expect_status(200);
    assert!(lenient.text().contains("_score"), "{}", lenient.text());
    system.put("Medication?code=x&_contained=true").json(&medication("m", "x", "active")).await.expect_status(400);
}

/// Whose data it is, and by what right it is seen, is up to the container alone.
async fn lk_24_contained_resources_are_seen_with_their_container(server: TestServer) {
    pharmacy(&server).await;
    let all = "Medication?code=x&_contained=true&_containedType=contained&_total=accurate";
    let app = server.patient("a");
    let own = app.get(all).await.expect_status(200);
    assert_eq!(urls(&own), ["MedicationStatement/s#s1", "MedicationRequest/r1#inner"]);
    assert_eq!(total(&own).as_deref(), Some("2"));
    assert!(!own.text().contains("more"));
    assert_eq!(urls(&app.get("Medication?_id=more&_contained=both").await.expect_status(200)), Vec::<String>::new());
    let chained = app.get("MedicationRequest?medication.status=inactive&_total=accurate").await.expect_status(200);
    assert_eq!((total(&chained).as_deref(), urls(&chained).len()), (Some("0"), 0));
    // A right on the type of what is contained is none on its container, and the other way round.
    let few = server.with_scope("patient/Medication.rs patient/MedicationStatement.rs", Some("a"));
    assert_eq!(urls(&few.get(all).await.expect_status(200)), ["MedicationStatement/s#s1"]);
    let none = server.with_scope("patient/Medication.rs", Some("a"));
    assert_eq!(urls(&none.get(all).await.expect_status(200)), Vec::<String>::new());
    let other = server.with_scope("patient/MedicationRequest.rs", Some("a"));
    other.get(all).await.expect_status(403);
    // A container that may be read but not searched is not looked into.
    let read = server.with_scope("patient/Medication.rs patient/MedicationRequest.r", Some("a"));
    assert_eq!(urls(&read.get(all).await.expect_status(200)), Vec::<String>::new());
    // Granular rules are about the container.
    let granular = server.with_scope("patient/Medication.rs patient/MedicationRequest.rs?status=stopped", Some("a"));
    assert_eq!(urls(&granular.get(all).await.expect_status(200)), Vec::<String>::new());
    let granular = server.with_scope("patient/Medication.rs patient/MedicationRequest.rs?status=active", Some("a"));
    assert_eq!(urls(&granular.get(all).await.expect_status(200)), ["MedicationRequest/r1#inner"]);
}
