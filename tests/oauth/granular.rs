//! Granular scopes on every path (SM-24, LK-10 … LK-31): of the patient's own data, only what the condition of the
//! scope lets through is there. The hidden observation carries a word that no answer may hold.

use fhir::json::Json;
use fhir::{array, object};
use tests::{Client, TestServer};

use crate::launch::{add_app, error, parameter, request};

tests::on_both_engines!(
    sm_24_nothing_hidden_is_on_any_path,
    sm_24_what_is_visible_is_found,
    sm_24_several_scopes_are_alternatives,
    sm_24_each_version_is_judged_by_itself,
    sm_24_writes_need_both_images_inside,
    lk_13_a_chain_needs_the_right_to_search_its_target,
    lk_17_lk_18_hidden_rows_take_no_place_on_a_page,
    lk_19_a_cursor_is_of_the_token_that_got_it,
    lk_47_two_tokens_in_turn_get_each_their_own,
    lk_26_conditions_are_asked_inside_the_view,
    lk_42_leniency_drops_no_condition_of_a_scope,
    sm_25_conditions_that_cannot_be_honoured_are_not_granted,
);

const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/observation-category";
/// Only the hidden observation holds it.
const HIDDEN: &str = "do-not-tell";

fn vital(rights: &str) -> String {
    format!("patient/Observation.{rights}?category={SYSTEM}|vital-signs")
}

fn observation(id: &str, category: &str, code: &str) -> Json {
    let note = if category == "laboratory" { HIDDEN } else { "plain" };
    let coding = |system: &str, code: &str| array![object! { "system": system, "code": code }];
    object! {
        "resourceType": "Observation", "id": id, "status": "final",
        "category": array![object! { "coding": coding(SYSTEM, category) }],
        "code": object! { "coding": coding("http://loinc.org", code), "text": note },
        "subject": object! { "reference": "Patient/p1" },
        "encounter": object! { "reference": "Encounter/e1" },
        "effectiveDateTime": "2026-01-02T03:04:05Z",
        "note": array![object! { "text": note }],
        "identifier": array![object! { "system": "urn:example", "value": format!("n-{id}") }],
    }
}

/// A patient with two visible observations, one hidden, and two that changed sides.
async fn seed(server: &TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "p1", "name": array![object! { "family": "Li" }] }).await;
    let encounter = object! {
        "resourceType": "Encounter", "id": "e1", "status": "finished", "class": object! { "code": "AMB" },
        "subject": object! { "reference": "Patient/p1" },
    };
    system.store(&encounter).await;
    system.store(&observation("v1", "vital-signs", "8867-4")).await;
    system.store(&observation("v2", "vital-signs", "29463-7")).await;
    system.store(&observation("h1", "laboratory", "2339-0")).await;
    system.store(&observation("out", "vital-signs", "8867-4")).await;
    system.store(&observation("out", "laboratory", "8867-4")).await; // left the view
    system.store(&observation("in", "laboratory", "8867-4")).await;
    system.store(&observation("in", "vital-signs", "8867-4")).await; // came into it
    let member = object! {
        "resourceType": "Observation", "id": "panel", "status": "final", "code": object! { "text": "panel" },
        "category": array![object! { "coding": array![object! { "system": SYSTEM, "code": "vital-signs" }] }],
        "subject": object! { "reference": "Patient/p1" },
        "hasMember": array![object! { "reference": "Observation/h1" }, object! { "reference": "Observation/v1" }],
    };
    system.store(&member).await;
}

fn reader(server: &TestServer) -> Client {
    let scope = format!("{} patient/Patient.rs patient/Encounter.rs", vital("rs"));
    server.with_scope(&scope, Some("p1"))
}

async fn sm_24_nothing_hidden_is_on_any_path(server: TestServer) {
    seed(&server).await;
    let client = reader(&server);
    let paths = [
        "Observation",
        "Observation?patient=p1",
        "Observation?_id=h1",
        "Observation?code=2339-0",
        "Observation?category=laboratory",
        "Observation?category:not=vital-signs",
        "Observation?_content=tell",
        "Observation?code:text=do-not",
        "Observation?identifier=urn:example|n-h1",
        "Observation?encounter=Encounter/e1&_sort=-code&_total=accurate",
        "Observation?_lastUpdated=gt2000-01-01&_sort=-_lastUpdated",
        "Observation?has-member=Observation/h1&_include=Observation:has-member",
        "Observation?_id=panel&_include=*",
        "Observation?_include:iterate=Observation:has-member",
        "Observation?has-member.code=2339-0",
        "Observation?has-member:Observation.category=laboratory",
        "Observation?_has:Observation:has-member:_id=panel",
        "Observation?_filter=code eq 2339-0 or category eq laboratory",
        "Encounter?_revinclude=Observation:encounter",
        "Encounter?_has:Observation:encounter:code=2339-0",
        "Patient?_revinclude=Observation:subject&_revinclude:iterate=Observation:has-member",
        "Patient?_has:Observation:subject:category=laboratory",
        "Patient/p1/Observation",
        "Patient/p1/*",
        "Encounter/e1/Observation",
        "?_type=Observation,Patient",
        "Observation/_history",
        "_history",
        "Observation/in/_history",
        "Observation/out/_history",
        "Observation/h1",
        "Observation/h1/_history",
        "Observation/h1/_history/1",
        "Observation/out",
        "Observation/out/_history/2",
        "Observation/in/_history/1",
        "Patient/p1/$everything",
        "Patient/$everything",
        "Encounter/e1/$everything",
        "Observation/$lastn?patient=p1",
        "Observation/$lastn?patient=p1&category=laboratory&max=5",
        "Observation/h1/$validate",
        "Observation/h1/$meta",
        "Observation/in/$diff?from=1&to=2",
        "Observation/h1/$convert",
    ];
    for path in paths {
        let answer = client.get(path).await;
        assert!(!answer.text().contains(HIDDEN), "{path}: {}", answer.describe());
        let ids = answer.text().matches("\"id\":\"h1\"").count();
        assert_eq!(ids, 0, "{path}: {}", answer.describe());
        assert!(answer.status < 500, "{path}: {}", answer.describe());
        // the same as an entry of a batch (SM-29)
        let request = object! { "request": object! { "method": "GET", "url": path } };
        let batch = object! { "resourceType": "Bundle", "type": "batch", "entry": array![request] };
        let answer = client.post("").json(&batch).await.expect_status(200);
        assert!(!answer.text().contains(HIDDEN) && !answer.text().contains("\"id\":\"h1\""), "{path} in a batch");
    }
    for path in ["Observation/h1", "Observation/h1/_history/1", "Observation/out", "Observation/out/_history/2"] {
        let (hidden, unknown) =
            (client.get(path).await, client.get(&path.replace("h1", "zz").replace("out", "zz")).await);
        assert_eq!(hidden.status, unknown.status, "{path}: hidden is unknown");
        let head = client.head(path).header("if-none-match", "W/\"1\"").await;
        assert_eq!(head.status, unknown.status, "LK-30: {path}");
    }
}

async fn sm_24_what_is_visible_is_found(server: TestServer) {
    seed(&server).await;
    let client = reader(&server);
    for (query, expected) in [
        ("Observation", vec!["in", "panel", "v1", "v2"]),
        ("Observation?category=vital-signs", vec!["in", "panel", "v1", "v2"]),
        ("Observation?category=laboratory", vec![]),
        ("Observation?code=8867-4", vec!["in", "v1"]),
        ("Observation?code=2339-0", vec![]),
        ("Observation?encounter=Encounter/e1", vec!["in", "v1", "v2"]),
        ("Patient?_has:Observation:subject:code=8867-4", vec!["p1"]),
        ("Patient?_has:Observation:subject:code=2339-0", vec![]),
        ("Observation?has-member.code=8867-4", vec!["panel"]),
        ("Observation?has-member.code=2339-0", vec![]),
        ("Patient/p1/Observation", vec!["in", "panel", "v1", "v2"]),
    ] {
        let mut found = client.matches(query).await;
        found.sort();
        assert_eq!(found, expected, "{query}");
    }
    let counted = client.get("Observation?_summary=count").await.expect_status(200).json();
    assert_eq!(counted.get("total").and_then(Json::as_number), Some("4"), "LK-17");
    let page = client.get("Observation?_count=2&_total=accurate&_sort=_id").await.expect_status(200);
    assert_eq!(page.matches(), ["in", "panel"]);
    let next = client.get(&page.link("next").expect("two more")).await.expect_status(200);
    assert_eq!(next.matches(), ["v1", "v2"]);
    assert!(next.link("next").is_none(), "hidden rows make no page");
    let included = client.get("Observation?_id=panel&_include=Observation:has-member").await.expect_status(200);
    assert_eq!(included.included(), ["Observation/v1"], "LK-15");
}

async fn sm_24_several_scopes_are_alternatives(server: TestServer) {
    seed(&server).await;
    let laboratory = format!("patient/Observation.rs?category={SYSTEM}|laboratory");
    let both = server.with_scope(&format!("{} {laboratory}", vital("rs")), Some("p1"));
    let mut found = both.matches("Observation").await;
    found.sort();
    assert_eq!(found, ["h1", "in", "out", "panel", "v1", "v2"]);
    let narrow = server.with_scope(&format!("{}&code=http://loinc.org|8867-4", vital("rs")), Some("p1"));
    let mut found = narrow.matches("Observation").await;
    found.sort();
    assert_eq!(found, ["in", "v1"], "conditions of one scope hold together");
    let reading = server.with_scope(&format!("{} patient/Observation.s", vital("r")), Some("p1"));
    reading.get("Observation/v1").await.expect_status(200);
    let refused = reading.get("Observation/h1").await;
    assert!(matches!(refused.status, 403 | 404), "search alone reads nothing more: {}", refused.describe());
    let wide = server.with_scope(&format!("{} patient/Observation.rs", vital("rs")), Some("p1"));
    assert_eq!(wide.matches("Observation").await.len(), 6, "a whole scope beside a part is the whole");
}

async fn sm_24_each_version_is_judged_by_itself(server: TestServer) {
    seed(&server).await;
    let client = reader(&server);
    let versions = |path: &str| {
        let (client, path) = (client.clone(), path.to_owned());
        async move {
            let bundle = client.get(&path).await.expect_status(200).json();
            let version = |entry: &Json| entry.at(&["resource", "meta", "versionId"])?.as_str().map(str::to_owned);
            bundle.list("entry").iter().filter_map(version).collect::<Vec<_>>()
        }
    };
    assert_eq!(versions("Observation/in/_history").await, ["2"], "LK-11");
    client.get("Observation/in/_history/2").await.expect_status(200);
    client.get("Observation/in/_history/1").await.expect_status(404);
    client.get("Observation/out/_history/1").await.expect_status(200);
    client.get("Observation/out/_history/2").await.expect_status(404);
}

async fn sm_24_writes_need_both_images_inside(server: TestServer) {
    seed(&server).await;
    let scope = format!("{} patient/Patient.rs", vital("cruds"));
    let client = server.with_scope(&scope, Some("p1"));
    let without_id = |category: &str| {
        let mut resource = observation("x", category, "8867-4");
        resource.as_object_mut().expect("an object").remove("id");
        resource
    };
    client.post("Observation").json(&without_id("vital-signs")).await.expect_status(201);
    client.post("Observation").json(&without_id("laboratory")).await.expect_status(403);
    // into the view, out of the view, and past it
    let into = client.put("Observation/h1").json(&observation("h1", "vital-signs", "2339-0")).await;
    let unknown = client.put("Observation/zz").json(&observation("zz", "vital-signs", "2339-0")).await;
    assert_eq!(into.status, unknown.status, "LK-27: {}", into.describe());
    assert!(into.status >= 400);
    client.put("Observation/v1").json(&observation("v1", "laboratory", "8867-4")).await.expect_status(403);
    client.put("Observation/v1").json(&observation("v1", "vital-signs", "8867-4")).await.expect_status(200);
    let patch = r#"[{"op":"replace","path":"/category/0/coding/0/code","value":"laboratory"}]"#;
    let patched = client.patch("Observation/v1").body("application/json-patch+json", patch).await;
    assert_eq!(patched.status, 403, "LK-28: {}", patched.describe());
    let probe = r#"[{"op":"test","path":"/code/text","value":"do-not-tell"}]"#;
    let probed = client.patch("Observation/h1").body("application/json-patch+json", probe).await;
    let absent = client.patch("Observation/zz").body("application/json-patch+json", probe).await;
    assert_eq!(probed.status, absent.status, "a test of what is hidden says nothing");
    assert!(!probed.text().contains(HIDDEN));
    let (hidden, absent) = (client.delete("Observation/h1").await, client.delete("Observation/zz").await);
    assert_eq!(hidden.status, absent.status, "LK-31");
    server.system().get("Observation/h1").await.expect_status(200);
    // the same by a transaction
    let entry = object! {
        "resource": observation("v2", "laboratory", "29463-7"),
        "request": object! { "method": "PUT", "url": "Observation/v2" },
    };
    let transaction = object! { "resourceType": "Bundle", "type": "transaction", "entry": array![entry] };
    client.post("").json(&transaction).await.expect_status(403);
}

async fn lk_13_a_chain_needs_the_right_to_search_its_target(server: TestServer) {
    seed(&server).await;
    let reading = server.with_scope("patient/Observation.rs patient/Encounter.r", Some("p1"));
    reading.get("Observation?encounter.status=finished").await.expect_status(403);
    let blind = server.with_scope("patient/Observation.rs", Some("p1"));
    assert!(blind.matches("Observation?encounter.status=finished").await.is_empty(), "nothing of it is visible");
    assert!(blind.matches("Observation?subject:Patient.name=li").await.is_empty());
    let both = server.with_scope("patient/Observation.rs patient/Encounter.rs", Some("p1"));
    assert_eq!(both.matches("Observation?encounter.status=finished").await.len(), 5);
}

async fn lk_19_a_cursor_is_of_the_token_that_got_it(server: TestServer) {
    seed(&server).await;
    let client = reader(&server);
    let page = client.get("Observation?_count=1").await.expect_status(200);
    let next = page.link("next").expect("more");
    client.get(&next).await.expect_status(200);
    for other in [server.with_scope("patient/Observation.rs", Some("p1")), server.patient("p2"), server.system()] {
        let swapped = other.get(&next).await;
        assert_eq!(swapped.status, 400, "{}", swapped.describe());
    }
    let of_all = server.system().get("Observation?_count=1").await.expect_status(200).link("next").expect("more");
    client.get(&of_all).await.expect_status(400);
    let (start, cursor) = next.split_once("_cursor=").expect("a cursor");
    let mut bytes = cursor.as_bytes().to_vec();
    for position in [0, bytes.len() / 2, bytes.len() - 2] {
        let kept = bytes[position];
        bytes[position] = if kept == b'A' { b'B' } else { b'A' };
        let flipped = String::from_utf8(bytes.clone()).expect("ASCII");
        client.get(&format!("{start}_cursor={flipped}")).await.expect_status(400);
        bytes[position] = kept;
    }
}

async fn lk_26_conditions_are_asked_inside_the_view(server: TestServer) {
    seed(&server).await;
    let scope = vital("cruds");
    let client = server.with_scope(&scope, Some("p1"));
    let mut new = observation("x", "vital-signs", "8867-4");
    new.as_object_mut().expect("an object").remove("id");
    let ask = |criteria: &str| client.post("Observation").header("if-none-exist", criteria).json(&new);
    ask("identifier=urn:example|n-v1").await.expect_status(200);
    // somebody else's and nobody's are the same
    let (hidden, absent) = (ask("identifier=urn:example|n-h1").await, ask("identifier=urn:example|n-zz").await);
    assert_eq!((hidden.status, absent.status), (201, 201));
    let (hidden, absent) = (
        client.delete("Observation?identifier=urn:example|n-out").await,
        client.delete("Observation?identifier=urn:example|n-yy").await,
    );
    assert_eq!(hidden.status, absent.status);
    server.system().get("Observation/out").await.expect_status(200);
    for typo in ["Observation?identifer=urn:example|n-v1", "Observation?no-such=1"] {
        client.delete(typo).await.expect_status(400); // LK-43
        client.delete(typo).header("prefer", "handling=lenient").await.expect_status(400);
    }
    server.system().get("Observation/v1").await.expect_status(200);
}

async fn lk_17_lk_18_hidden_rows_take_no_place_on_a_page(server: TestServer) {
    seed(&server).await;
    // newer than all that is visible, so that they stand before it in every order by time
    let entry = |number: usize| {
        object! {
            "resource": observation(&format!("many{number}"), "laboratory", "2339-0"),
            "request": object! { "method": "PUT", "url": format!("Observation/many{number}") },
        }
    };
    let entries: Vec<Json> = (0..400).map(entry).collect();
    let batch = object! { "resourceType": "Bundle", "type": "batch", "entry": entries };
    server.system().post("").json(&batch).await.expect_status(200);
    let client = reader(&server);
    for sort in ["", "&_sort=-_lastUpdated", "&_sort=-date", "&_sort=code"] {
        let page = client.get(&format!("Observation?_count=4&_total=accurate{sort}")).await.expect_status(200);
        assert_eq!(page.matches().len(), 4, "{sort}");
        assert_eq!(page.json().get("total").and_then(Json::as_number), Some("4"), "{sort}");
        assert!(page.link("next").is_none(), "{sort}");
    }
}

async fn lk_47_two_tokens_in_turn_get_each_their_own(server: TestServer) {
    seed(&server).await;
    let (narrow, wide) = (reader(&server), server.patient("p1"));
    for turn in 0..100 {
        for (path, hidden) in [("Observation/h1", 404), ("Observation/v1", 200)] {
            assert_eq!(narrow.get(path).await.status, hidden, "{path} {turn}");
            assert_eq!(wide.get(path).await.status, 200, "{path} {turn}");
        }
        assert_eq!(narrow.matches("Observation?code=2339-0").await.len(), 0, "{turn}");
        assert_eq!(wide.matches("Observation?code=2339-0").await.len(), 1, "{turn}");
    }
}

async fn lk_42_leniency_drops_no_condition_of_a_scope(server: TestServer) {
    seed(&server).await;
    let client = reader(&server);
    for query in ["Observation?no-such=1", "Observation?category:no-such=x", "Observation?no-such=1&patient=p1"] {
        client.get(query).await.expect_status(400);
        let answer = client.get(query).header("prefer", "handling=lenient").await;
        assert!(!answer.text().contains(HIDDEN), "{query}: {}", answer.describe());
        if answer.status == 200 {
            assert!(answer.matches().iter().all(|id| ["in", "panel", "v1", "v2"].contains(&id.as_str())), "{query}");
        }
    }
}

async fn sm_25_conditions_that_cannot_be_honoured_are_not_granted(server: TestServer) {
    let app = add_app(&server, "public");
    for scope in [
        "patient/Observation.rs?no-such=1",
        "patient/Observation.rs?category:not=laboratory",
        "patient/Observation.rs?subject.name=x",
        "patient/Observation.rs?_filter=x",
        "patient/Observation.rs?_include=Observation:subject",
        "patient/*.rs?category=laboratory",
    ] {
        let asked = request(&server, &app, scope);
        let path = format!("/oauth/authorize?{}", crate::launch::encode(&asked));
        let back = crate::launch::location(&server.anonymous().get(&path).await.expect_status(303));
        assert_eq!(parameter(&back, "error").as_deref(), Some("invalid_scope"), "{scope}");
    }
    let program = crate::assertion::backend(&server);
    let refused = program.token(&server, "system/Observation.rs?no-such=1").await.expect_status(400);
    assert_eq!(error(&refused), "invalid_scope");
}
