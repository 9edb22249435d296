//! Tests of `server/src/rest/search.rs`.

use fhir::{array, object};
use tests::TestServer;

tests::on_both_engines!(
    page_by_page,
    get_and_post_are_equal,
    what_is_unknown_is_refused,
    lenient_is_honest,
    lk_17_hidden_is_not_counted,
    lk_15_hidden_ends_of_references_are_not_counted,
    sm_22_a_reverse_include_is_a_search,
    of_several_dates_the_first_in_the_order_counts,
    a_period_without_a_begin_has_a_date,
    punctuation_does_not_count_in_strings,
    parts_of_a_family_name_are_searched_independently,
);

async fn people(server: &TestServer) {
    for (id, family) in [("a", "Ahl"), ("b", "Berg"), ("c", "Berg")] {
        let name = array![object! { "family": family }];
        server.system().store(&object! { "resourceType": "Patient", "id": id, "name": name }).await;
    }
}

async fn page_by_page(server: TestServer) {
    people(&server).await;
    let system = server.system();
    let mut url = Some("Patient?_count=2&_sort=_id".to_owned());
    let mut pages = Vec::new();
    while let Some(next) = url {
        let page = system.get(&next).await.expect_status(200);
        pages.push(page.matches());
        url = page.link("next");
    }
    assert_eq!(pages, [vec!["a", "b"], vec!["c"]]);
    let total = system.get("Patient?family=berg&_total=accurate&_count=1").await.expect_status(200).json();
    assert_eq!(total.get("total").and_then(|it| it.as_number()), Some("2"));
    system.get("Patient?_cursor=forged").await.expect_status(400);
    let bundle = system.get("Patient?family=ahl").await.expect_status(200);
    insta::assert_snapshot!("searchset", tests::redact::answer(&bundle));
}

async fn get_and_post_are_equal(server: TestServer) {
    people(&server).await;
    let system = server.system();
    let got = system.get("Patient?family=berg&_sort=_id").await.expect_status(200);
    let posted = system.post("Patient/_search?family=berg").form(&[("_sort", "_id")]).await.expect_status(200);
    assert_eq!(got.text(), posted.text(), "LK-44");
    system.post("Patient/_search").json(&object! {}).await.expect_status(415);
}

async fn what_is_unknown_is_refused(server: TestServer) {
    let system = server.system();
    for query in
        ["famly=x", "family:fuzzy=x", "birthdate=yesterday", "_sort=nothing", "_include=Nothing:x", "family=%ff"]
    {
        let answer = system.get(&format!("Patient?{query}")).await.expect_status(400);
        assert_eq!(answer.json().str("resourceType"), Some("OperationOutcome"), "{query}");
    }
    system.get("Nothing?x=1").await.expect_status(404);
}

async fn lenient_is_honest(server: TestServer) {
    people(&server).await;
    let answer = server.system().get("Patient?famly=x&family=ahl").header("Prefer", "handling=lenient").await;
    let answer = answer.expect_status(200);
    assert_eq!(answer.matches(), ["a"]);
    assert_eq!(answer.entries("outcome").len(), 1);
    assert!(!answer.link("self").expect("a page has a self link").contains("famly"));
}

async fn lk_17_hidden_is_not_counted(server: TestServer) {
    people(&server).await;
    let answer = server.patient("b").get("Patient?_total=accurate").await.expect_status(200);
    assert_eq!(answer.matches(), ["b"]);
    assert_eq!(answer.json().get("total").and_then(|it| it.as_number()), Some("1"));
}

/// A page that refers to more resources than it may include tells nothing of those that the caller cannot see.
async fn lk_15_hidden_ends_of_references_are_not_counted(server: TestServer) {
    people(&server).await;
    let system = server.system();
    let hidden = |number: usize| {
        let subject = object! { "reference": "Patient/b" };
        let id = format!("h{number}");
        let resource = object! {
            "resourceType": "Flag", "id": id.as_str(), "status": "active", "code": object! { "text": "x" },
            "subject": subject,
        };
        object! { "resource": resource, "request": object! { "method": "PUT", "url": format!("Flag/{id}") } }
    };
    for part in [0..5_001, 5_001..10_001] {
        let entries: Vec<_> = part.map(hidden).collect();
        let bundle = object! { "resourceType": "Bundle", "type": "transaction", "entry": entries };
        system.post("").json(&bundle).await.expect_status(200);
    }
    let items = (0..10_001).map(|number| object! { "item": object! { "reference": format!("Flag/h{number}") } });
    let list = object! {
        "resourceType": "List", "id": "l", "status": "current", "mode": "working",
        "subject": object! { "reference": "Patient/a" }, "entry": items.collect::<Vec<_>>(),
    };
    system.store(&list).await;
    system.get("List?_id=l&_include=List:item").await.expect_status(400);
    let own = server.patient("a").get("List?_id=l&_include=List:*").await.expect_status(200);
    assert_eq!(own.json().list("entry").len(), 2, "the list and the patient");
}

async fn sm_22_a_reverse_include_is_a_search(server: TestServer) {
    people(&server).await;
    let condition = object! { "resourceType": "Condition", "id": "c", "subject": object! { "reference": "Patient/a" } };
    server.system().store(&condition).await;
    let path = "Patient?_revinclude=Condition:subject";
    let reads = server.with_scope("patient/Patient.rs patient/Condition.r", Some("a"));
    reads.get("Condition/c").await.expect_status(200);
    reads.get(path).await.expect_status(403);
    let entry = object! { "request": object! { "method": "GET", "url": path } };
    let transaction = object! { "resourceType": "Bundle", "type": "transaction", "entry": array![entry] };
    reads.post("").json(&transaction).await.expect_status(403);
    let sees_none = server.with_scope("patient/Patient.rs", Some("a"));
    assert!(sees_none.get(path).await.expect_status(200).included().is_empty());
    let searches = server.with_scope("patient/Patient.rs patient/Condition.s", Some("a"));
    assert_eq!(searches.get(path).await.expect_status(200).included(), ["Condition/c"]);
}

/// "The sort is based on the item in the set of multiple parameters that comes earliest in the specified sort order":
/// <https://hl7.org/fhir/R4/search.html#sort>.
async fn of_several_dates_the_first_in_the_order_counts(server: TestServer) {
    for (id, events) in [("ma", array!["2020", "2025"]), ("mb", array!["2022"]), ("mc", array![])] {
        let timing = object! { "timing": object! { "event": events } };
        let mut request = object! {
            "resourceType": "MedicationRequest", "id": id, "status": "active", "intent": "order",
            "medicationCodeableConcept": object! { "text": "x" }, "subject": object! { "display": "somebody" },
        };
        if id != "mc" {
            request.as_object_mut().unwrap().insert("dosageInstruction", array![timing]);
        }
        server.system().store(&request).await;
    }
    for (sort, found) in
        [("-date", ["ma", "mb", "mc"]), ("date", ["ma", "mb", "mc"]), ("-date,_id", ["ma", "mb", "mc"])]
    {
        let mut url = Some(format!("MedicationRequest?_sort={sort}&_count=2"));
        let mut matches = Vec::new();
        while let Some(next) = url {
            let page = server.system().get(&next).await.expect_status(200);
            matches.extend(page.matches());
            url = page.link("next");
        }
        assert_eq!(matches, found, "{sort}");
    }
}

async fn a_period_without_a_begin_has_a_date(server: TestServer) {
    for (id, period) in
        [("none", object! {}), ("until", object! { "end": "2020" }), ("in", object! { "start": "2019" })]
    {
        let mut observation = object! {
            "resourceType": "Observation", "id": id, "status": "final", "code": object! { "text": "x" },
        };
        if id != "none" {
            observation.as_object_mut().unwrap().insert("effectivePeriod", period);
        }
        server.system().store(&observation).await;
    }
    for (sort, found) in [("date", ["until", "in", "none"]), ("-date", ["in", "until", "none"])] {
        let answer = server.system().get(&format!("Observation?_sort={sort}")).await.expect_status(200);
        assert_eq!(answer.matches(), found, "{sort}");
    }
}

/// "Punctuation and non-significant whitespace … SHOULD also be ignored": <https://hl7.org/fhir/R4/search.html#string>.
async fn punctuation_does_not_count_in_strings(server: TestServer) {
    let name = object! { "family": "O'Brien-Smith", "given": array!["Mary-Ann", "J."], "text": "100% _Mary" };
    server.system().store(&object! { "resourceType": "Patient", "id": "p", "name": array![name] }).await;
    for (asked, is_found) in [
        ("family=obrien", true),
        ("family=O%E2%80%99Brien%20Smith", true),
        ("family:contains=smith", true),
        ("family:exact=O%27Brien-Smith", true),
        ("family:exact=OBrien%20Smith", false),
        ("given=mary%20ann", true),
        ("given=Mary-A", true),
        ("given=maryann", false),
        ("given=j.", true),
        ("name=100%25", true),
        ("name=100%25%20mary", false),
        ("_filter=given%20eq%20%22mary%20ann%22", true),
    ] {
        let answer = server.system().get(&format!("Patient?{asked}")).await.expect_status(200);
        assert_eq!(!answer.matches().is_empty(), is_found, "{asked}");
    }
    server.system().get("Patient?given=.").await.expect_status(400);
}

/// "Servers SHOULD search the parts of a family name independently. E.g. searching either Carreno or Quinones should match
/// a family name of \"Carreno Quinones\"": <https://hl7.org/fhir/R4/search.html#string>.
async fn parts_of_a_family_name_are_searched_independently(server: TestServer) {
    for (id, family) in [("c", "Carreno Quinones"), ("l", "Lee"), ("z", "Zu Abel-Bauer")] {
        let name = array![object! { "family": family, "given": array!["Anna Maria"] }];
        server.system().store(&object! { "resourceType": "Patient", "id": id, "name": name }).await;
    }
    for (asked, found) in [
        ("family=quinones&_sort=_id", &["c"][..]),
        ("family=quin&_sort=_id", &["c"]),
        ("name=quinones&_sort=_id", &["c"]),
        ("family=carreno%20q&_sort=_id", &["c"]),
        ("family=bauer&_sort=_id", &["z"]),
        ("family=abel%20bauer&_sort=_id", &["z"]),
        ("given=maria&_sort=_id", &[]),
        ("family:exact=Quinones&_sort=_id", &[]),
        ("family:missing=true&_sort=_id", &[]),
        ("_filter=family%20eq%20quinones&_sort=_id", &[]),
        ("_filter=family%20ne%20%22carreno%20quinones%22&_sort=_id", &["l", "z"]),
        ("_sort=family", &["c", "l", "z"]),
        ("_sort=-family", &["z", "l", "c"]),
    ] {
        let answer = server.system().get(&format!("Patient?{asked}")).await.expect_status(200);
        assert_eq!(answer.matches(), found, "{asked}");
    }
}
