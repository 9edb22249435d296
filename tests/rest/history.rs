//! Tests of `server/src/rest/history.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fhir::json::Json;
use fhir::{array, object};
use tests::{Answer, Client, TestServer};

tests::on_both_engines!(
    a_life_newest_first,
    pages,
    histories_of_a_type_and_of_all,
    since_and_at,
    versions_are_counted,
    versions_of_what_a_list_names,
    lk_12_other_patients_versions_are_absent,
    lk_11_versions_of_a_resource_that_moved,
    granular_scopes_judge_each_version,
    pages_under_writes_have_no_gap_and_no_repeat,
    what_has_no_effect_is_refused,
    in_a_batch,
);

async fn a_life_newest_first(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a", "gender": "male" }).await;
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    system.delete("Patient/a").await.expect_status(204);
    let history = system.get("Patient/a/_history").await.expect_status(200);
    insta::assert_snapshot!("life", tests::redact::answer(&history));
    system.get("Patient/never/_history").await.expect_status(404);
    server.patient("b").get("Patient/a/_history").await.expect_status(404);
    system.store(&object! { "resourceType": "Patient", "id": "a", "gender": "male" }).await;
    let back = system.get("Patient/a/_history?_count=1").await.json();
    assert_eq!(back.list("entry")[0].at(&["response", "status"]).and_then(Json::as_str), Some("201 Created"));
}

async fn versions_are_counted(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&object! { "resourceType": "Patient", "id": id }).await;
        system.store(&observation(&format!("o{id}"), id, "final")).await;
    }
    system.store(&observation("oa", "a", "amended")).await;
    system.delete("Observation/ob").await.expect_status(204);
    let counted = async |client: &Client, path: &str| {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut totals = Vec::new();
        for asked in ["_count=0", "_summary=count", "_summary=count&_count=5"] {
            let answer = client.get(&format!("{path}{separator}{asked}")).await.expect_status(200);
            let page = answer.json();
            assert!(page.get("entry").is_none() && page.list("link").len() == 1, "{path} {asked}");
            totals.push(page.get("total").and_then(Json::as_number).unwrap().to_owned());
        }
        totals.dedup();
        assert_eq!(totals.len(), 1, "{path}: {totals:?}");
        totals.remove(0)
    };
    for (path, expected) in [
        ("_history", "6"),
        ("Patient/_history", "2"),
        ("Observation/_history", "4"),
        ("Observation/oa/_history", "2"),
        ("Observation/_history?_since=2099-01-01T00:00:00Z", "0"),
        ("_history?_at=2099", "3"),
    ] {
        assert_eq!(counted(&system, path).await, expected, "{path}");
    }
    let app = server.patient("a");
    assert_eq!(counted(&app, "_history").await, "3", "LK-12: hidden versions are not counted");
    let granular = server.with_scope("patient/Observation.rs?status=amended", Some("a"));
    assert_eq!(counted(&granular, "Observation/_history").await, "1");
    app.get("Patient/b/_history?_summary=count").await.expect_status(404);
    system.get("Patient/never/_history?_count=0").await.expect_status(404);
}

async fn versions_of_what_a_list_names(server: TestServer) {
    let system = server.system();
    for status in ["preliminary", "final"] {
        for (id, patient) in [("one", "a"), ("two", "a"), ("other", "b"), ("apart", "a")] {
            system.store(&object! { "resourceType": "Patient", "id": patient }).await;
            system.store(&observation(id, patient, status)).await;
        }
    }
    let item = |reference: &str| object! { "item": object! { "reference": reference } };
    let names = array![
        item("Observation/one"),
        item("Observation/two/_history/1"),
        item("Observation/other"),
        item("Observation/none"),
        item("Patient/a"),
        item("http://elsewhere/Observation/apart"),
    ];
    let list = object! {
        "resourceType": "List", "id": "l", "status": "current", "mode": "working",
        "subject": object! { "reference": "Patient/a" }, "entry": names,
    };
    system.store(&list).await;
    let sorted = |answer: &Answer| {
        let mut versions = versions(answer);
        versions.sort_unstable();
        versions
    };
    let all = ["other/1", "other/2", "one/1", "one/2", "two/1"];
    for (path, expected) in [
        ("Observation/_history?_list=l", &all[..]),
        ("_history?_list=l", &["a/1", "other/1", "other/2", "one/1", "one/2", "two/1"]),
        ("Patient/_history?_list=l", &["a/1"]),
        ("Observation/two/_history?_list=l", &["two/1"]),
        ("Observation/apart/_history?_list=l", &[]),
        ("Observation/_history?_list=unknown", &[]),
        ("Observation/_history?_list=l&_since=2099-01-01T00:00:00Z", &[]),
    ] {
        let page = system.get(path).await.expect_status(200);
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(sorted(&page), expected, "{path}");
    }
    let (mut url, mut seen) = (Some("Observation/_history?_list=l&_count=2".to_owned()), Vec::new());
    while let Some(next) = url {
        let page = system.get(&next).await.expect_status(200);
        seen.extend(versions(&page));
        url = page.link("next");
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
    let count = system.get("Observation/_history?_list=l&_count=0").await.expect_status(200).json();
    assert_eq!(count.get("total").and_then(Json::as_number), Some("5"));
    let app = server.patient("a");
    let own = app.get("Observation/_history?_list=l").await.expect_status(200);
    assert_eq!(sorted(&own), ["one/1", "one/2", "two/1"], "LK-12: a List opens nothing");
    assert_eq!(versions(&server.patient("b").get("Observation/_history?_list=l").await.expect_status(200)), [""; 0]);
    server.with_scope("patient/Observation.rs", Some("a")).get("Observation/_history?_list=l").await.expect_status(403);
    for bad in ["$current-problems", "", "l&_list=l"] {
        system.get(&format!("Observation/_history?_list={bad}")).await.expect_status(400);
    }
}

async fn pages(server: TestServer) {
    let system = server.system();
    for version in 0..5 {
        let patient = object! { "resourceType": "Patient", "id": "a", "birthDate": format!("200{version}") };
        system.store(&patient).await;
    }
    for (path, order) in [
        ("Patient/a/_history?_count=2", ["a/5 a/4", "a/3 a/2", "a/1"]),
        ("Patient/a/_history?_count=2&_sort=_lastUpdated", ["a/1 a/2", "a/3 a/4", "a/5"]),
        ("Patient/_history?_count=2", ["a/5 a/4", "a/3 a/2", "a/1"]),
        ("_history?_count=2&_sort=_lastUpdated", ["a/1 a/2", "a/3 a/4", "a/5"]),
    ] {
        let (mut url, mut there) = (Some(path.to_owned()), Vec::new());
        let mut last = None;
        while let Some(next) = url {
            let page = system.get(&next).await.expect_status(200);
            assert!(page.link("self").is_some());
            assert!(page.json().get("total").is_none(), "one page does not know the total");
            there.push(versions(&page).join(" "));
            url = page.link("next");
            last = Some(page);
        }
        assert_eq!(there, order, "{path}");
        let (mut url, mut back) = (last.unwrap().link("previous"), Vec::new());
        while let Some(previous) = url {
            let page = system.get(&previous).await.expect_status(200);
            back.push(versions(&page).join(" "));
            url = page.link("previous");
        }
        assert_eq!(back, [order[1], order[0]], "{path} backwards");
    }
}

async fn histories_of_a_type_and_of_all(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    system.store(&observation("o", "a", "final")).await;
    system.store(&observation("o", "a", "amended")).await;
    system.delete("Observation/o").await.expect_status(204);
    let page = system.get("Observation/_history").await.expect_status(200);
    assert_eq!(versions(&page), ["o/3", "o/2", "o/1"]);
    assert_eq!(page.json().get("total").and_then(Json::as_number), Some("3"));
    assert!(page.json().list("entry")[0].get("resource").is_none(), "a deletion has no resource");
    assert_eq!(versions(&system.get("_history").await.expect_status(200)), ["o/3", "o/2", "o/1", "a/1"]);
    assert_eq!(versions(&system.get("Device/_history").await.expect_status(200)), [""; 0]);
    system.get("Nothing/_history").await.expect_status(404);
    server.anonymous().get("_history").await.expect_status(401);
    let reads = server.with_scope("system/Observation.r", None);
    reads.get("Observation/_history").await.expect_status(403);
    reads.get("_history").await.expect_status(403);
    let searches = server.with_scope("system/Patient.rs", None);
    assert_eq!(versions(&searches.get("_history").await.expect_status(200)), ["a/1"]);
    searches.get("Observation/_history").await.expect_status(403);
}

async fn since_and_at(server: TestServer) {
    let system = server.system();
    let mut instants = Vec::new();
    for gender in ["male", "female", "other"] {
        let stored = system.store(&object! { "resourceType": "Patient", "id": "a", "gender": gender }).await.json();
        instants.push(stored.at(&["meta", "lastUpdated"]).and_then(Json::as_str).unwrap().to_owned());
    }
    system.delete("Patient/a").await.expect_status(204);
    system.store(&object! { "resourceType": "Patient", "id": "b" }).await;
    let [first, second, third] = instants.try_into().unwrap();
    for (query, instance, all) in [
        (format!("_since={second}"), "a/4 a/3 a/2", "b/1 a/4 a/3 a/2"),
        (format!("_since={third}"), "a/4 a/3", "b/1 a/4 a/3"),
        ("_since=2100-01-01T00:00:00Z".to_owned(), "", ""),
        ("_since=1999-01-01T00:00:00-12:00".to_owned(), "a/4 a/3 a/2 a/1", "b/1 a/4 a/3 a/2 a/1"),
        (format!("_at={first}"), "a/1", "a/1"),
        (format!("_at={second}"), "a/2", "a/2"),
        ("_at=1999".to_owned(), "", ""),
        ("_at=2100".to_owned(), "", "b/1"),
        (format!("_since={second}&_at={third}"), "a/3", "a/3"),
    ] {
        for (path, expected) in [("Patient/a/_history", instance), ("Patient/_history", all), ("_history", all)] {
            let page = system.get(&format!("{path}?{query}")).await.expect_status(200);
            assert_eq!(versions(&page).join(" "), expected, "{path}?{query}");
        }
    }
    let year = &first[..4];
    let page = system.get(&format!("Patient/_history?_at={year}")).await.expect_status(200);
    assert_eq!(versions(&page), ["b/1", "a/4", "a/3", "a/2", "a/1"], "all were current some time this year");
    system.get(&format!("Patient/never/_history?_since={first}")).await.expect_status(404);
}

async fn lk_12_other_patients_versions_are_absent(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&object! { "resourceType": "Patient", "id": id }).await;
        system.store(&observation(&format!("of-{id}"), id, "final")).await;
    }
    system.delete("Observation/of-b").await.expect_status(204);
    system.delete("Observation/of-a").await.expect_status(204);
    system.store(&object! { "resourceType": "Practitioner", "id": "doc" }).await;
    let app = server.patient("a");
    let page = app.get("Observation/_history").await.expect_status(200);
    assert_eq!(versions(&page), ["of-a/2", "of-a/1"]);
    assert_eq!(page.json().get("total").and_then(Json::as_number), Some("2"));
    assert_eq!(versions(&app.get("Patient/_history").await.expect_status(200)), ["a/1"]);
    assert_eq!(versions(&app.get("_history").await.expect_status(200)), ["doc/1", "of-a/2", "of-a/1", "a/1"]);
    assert_eq!(versions(&server.patient("nobody").get("Observation/_history").await.expect_status(200)), [""; 0]);
    let next = app.get("_history?_count=1").await.link("next").unwrap();
    server.patient("b").get(&next).await.expect_status(400);
    server.with_scope("patient/Observation.rs", Some("a")).get(&next).await.expect_status(400);
}

async fn lk_11_versions_of_a_resource_that_moved(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&object! { "resourceType": "Patient", "id": id }).await;
    }
    for patient in ["a", "b", "a"] {
        system.store(&observation("o", patient, "final")).await;
    }
    for (patient, expected) in [("a", ["o/3", "o/1"].as_slice()), ("b", &["o/2"])] {
        let app = server.patient(patient);
        for path in ["Observation/o/_history", "Observation/_history"] {
            assert_eq!(versions(&app.get(path).await.expect_status(200)), expected, "{patient} {path}");
        }
        assert!(app.get("Observation/_history?_count=5").await.link("next").is_none());
    }
}

async fn granular_scopes_judge_each_version(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    for number in 0..7 {
        for status in ["final", "amended"] {
            system.store(&observation(&format!("o{number}"), "a", status)).await;
        }
    }
    let final_ones = server.with_scope("patient/Observation.rs?status=final", Some("a"));
    let mut url = Some("Observation/_history?_count=3".to_owned());
    let mut pages = Vec::new();
    while let Some(next) = url {
        let page = final_ones.get(&next).await.expect_status(200);
        pages.push(versions(&page).join(" "));
        url = page.link("next");
    }
    assert_eq!(pages, ["o6/1 o5/1 o4/1", "o3/1 o2/1 o1/1", "o0/1"], "hidden ones take no place on a page");
    let at = final_ones.get("Observation/o3/_history?_at=2100").await.expect_status(200);
    assert_eq!(versions(&at), ["o3/1"], "what is hidden did not take its place");
}

/// Pages are read while others write: each version that was there at the start is met once, and who follows the pages
/// from the oldest on meets all.
async fn pages_under_writes_have_no_gap_and_no_repeat(server: TestServer) {
    const WRITERS: usize = 6;
    // Bounded, so that whoever follows the feed in small pages catches up with it in the end.
    const WRITES: usize = 60;
    let system = server.system();
    for number in 0..40 {
        system.store(&object! { "resourceType": "Device", "id": format!("before-{number}") }).await;
    }
    let over = Arc::new(AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (system, over) = (system.clone(), over.clone());
        writers.spawn(async move {
            for written in 0..WRITES {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let device =
                    |id: String| object! { "resourceType": "Device", "id": id, "lotNumber": written.to_string() };
                if written % 3 == 0 {
                    let put = |id: String| {
                        let url = format!("Device/{id}");
                        object! { "request": object! { "method": "PUT", "url": url }, "resource": device(id) }
                    };
                    let entries = (0..5).map(|part| put(format!("w{writer}-{written}-{part}"))).collect::<Vec<_>>();
                    let bundle = object! { "resourceType": "Bundle", "type": "transaction", "entry": entries };
                    system.post("").json(&bundle).await.expect_status(200);
                } else {
                    system.store(&device(format!("w{writer}"))).await;
                }
            }
        });
    }
    let mut followed = Vec::new();
    let mut since = "2000-01-01T00:00:00Z".to_owned();
    for _ in 0..6 {
        let newest_first = all_pages(&system, "Device/_history?_count=9").await;
        assert_once(&newest_first);
        let before = newest_first.iter().filter(|(name, _)| name.starts_with("before-")).count();
        assert_eq!(before, 40, "what was there is met");
        followed.extend(all_pages(&system, &format!("_history?_count=20&_sort=_lastUpdated&_since={since}")).await);
        since.clone_from(&followed.last().unwrap().1);
    }
    over.store(true, Ordering::Relaxed);
    writers.join_all().await;
    followed.extend(all_pages(&system, &format!("_history?_count=500&_sort=_lastUpdated&_since={since}")).await);
    let followed: BTreeMap<String, String> = followed.into_iter().collect();
    let all = all_pages(&system, "_history?_count=1000").await;
    assert_once(&all);
    let missed: Vec<_> = all.iter().filter(|(name, _)| !followed.contains_key(name)).collect();
    assert!(missed.is_empty(), "{} of {} versions were missed: {missed:?}", missed.len(), all.len());
    assert!(all.len() > 60, "the writers wrote");
}

async fn what_has_no_effect_is_refused(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    for path in ["Patient/a/_history", "Patient/_history", "_history"] {
        for (query, named) in [
            ("_since=2020", "_since"),
            ("_since=yesterday", "_since"),
            ("_at=gt2020", "_at"),
            ("_count=-1", "_count"),
            ("_count=1&_count=2", "_count"),
            ("_sort=_id", "_sort"),
            ("_since=2021-01-01T00:00:00Z&_at=2020", "_at"),
            ("name=x", "name"),
            ("_cursor=AAAA", "_cursor"),
        ] {
            let answer = system.get(&format!("{path}?{query}")).await.expect_status(400);
            assert!(answer.issues().iter().any(|issue| issue.contains(named)), "{}", answer.describe());
        }
    }
    for method in [reqwest::Method::POST, reqwest::Method::PUT, reqwest::Method::DELETE] {
        let answer = system.call(method, "Patient/_history").await;
        assert!((400..500).contains(&answer.status), "{}", answer.describe());
    }
}

async fn in_a_batch(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    let urls = ["Patient/a/_history", "Patient/_history?_count=1", "_history?_sort=_lastUpdated", "_history?x=1"];
    let entries = urls.map(|url| object! { "request": object! { "method": "GET", "url": url } }).to_vec();
    let batch = object! { "resourceType": "Bundle", "type": "batch", "entry": entries };
    let response = system.post("").json(&batch).await.expect_status(200).json();
    let status = |entry: &Json| entry.at(&["response", "status"]).and_then(Json::as_str).unwrap()[..3].to_owned();
    let entries = response.list("entry");
    assert_eq!(entries.iter().map(status).collect::<Vec<_>>(), ["200", "200", "200", "400"]);
    for entry in &entries[..3] {
        assert_eq!(entry.at(&["resource", "type"]).and_then(Json::as_str), Some("history"));
    }
}

/// Name and instant of each version on all pages.
async fn all_pages(client: &Client, path: &str) -> Vec<(String, String)> {
    let mut url = Some(path.to_owned());
    let mut all = Vec::new();
    while let Some(next) = url {
        let page = client.get(&next).await.expect_status(200);
        let bundle = page.json();
        let instant = |entry: &Json| entry.at(&["response", "lastModified"]).and_then(Json::as_str).unwrap().to_owned();
        all.extend(versions(&page).into_iter().zip(bundle.list("entry").iter().map(instant)));
        url = page.link("next");
    }
    all
}

fn assert_once(versions: &[(String, String)]) {
    let unique: BTreeMap<_, _> = versions.iter().cloned().collect();
    assert_eq!(unique.len(), versions.len(), "no version is met twice");
}

/// `id/version` of the entries, in order.
fn versions(page: &Answer) -> Vec<String> {
    let name = |entry: &Json| {
        let id = entry.str("fullUrl").unwrap().rsplit('/').next().unwrap();
        let etag = entry.at(&["response", "etag"]).and_then(Json::as_str).unwrap();
        format!("{id}/{}", etag.trim_start_matches("W/").trim_matches('"'))
    };
    page.json().list("entry").iter().map(name).collect()
}

fn observation(id: &str, patient: &str, status: &str) -> Json {
    object! {
        "resourceType": "Observation",
        "id": id,
        "status": status,
        "code": object! { "coding": array![object! { "code": "x" }] },
        "subject": object! { "reference": format!("Patient/{patient}") },
    }
}
