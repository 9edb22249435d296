//! Tests of what references of a Bundle lead to, `server/src/rest/bundle/resolution.rs`,
//! `server/src/rest/bundle/links.rs` and `server/src/rest/replaced_references.rs`. <https://hl7.org/fhir/R4/http.html#trules>

use std::time::Instant;

use fhir::json::Json;
use fhir::object;
use tests::{Client, TestServer};

use crate::bundle::{bundle, entry, observation, patient, requested, with};

tests::on_both_engines!(
    conditional_references_see_what_the_transaction_writes,
    as_many_conditional_references_as_entries,
    references_to_an_entry_of_elsewhere_are_replaced,
    references_to_versions_name_the_version_that_is_written,
    what_only_a_transaction_replaces_is_refused_elsewhere,
);

/// "Resolve any conditional references" is the last step of a transaction: they see what it writes, and not what it
/// deletes. What looks into other resources cannot see that, so it is refused where it would matter.
async fn conditional_references_see_what_the_transaction_writes(server: TestServer) {
    let system = server.system();
    system.store(&with(patient("known"), "id", "p")).await;
    let of = |text: &str| with(entry("POST", "Observation"), "resource", observation(text));
    let new = with(entry("POST", "Patient"), "resource", patient("new"));
    let seen = bundle("transaction", vec![of("Patient?identifier=http://s|new"), new.clone()]);
    system.post("").json(&seen).await.expect_status(200);
    let twice = with(entry("POST", "Patient"), "resource", patient("known"));
    let ambiguous = bundle("transaction", vec![of("Patient?identifier=http://s|known"), twice]);
    system.post("").json(&ambiguous).await.expect_status(412);
    let gone = bundle("transaction", vec![of("Patient?identifier=http://s|known"), entry("DELETE", "Patient/p")]);
    system.post("").json(&gone).await.expect_status(412);
    let chained = "Patient?_has:Observation:subject:_id=o&organization.name=x";
    let refused = system.post("").json(&bundle("transaction", vec![of(chained), new])).await.expect_status(400);
    assert!(refused.issues().iter().any(|text| text.contains("looks into other resources")), "{}", refused.text());
    system.store(&with(observation("Patient/p"), "id", "o")).await;
    let plain = bundle("transaction", vec![of("Patient?_has:Observation:subject:_id=o")]);
    system.post("").json(&plain).await.expect_status(400); // an Observation is written
    let mut basic = object! { "resourceType": "Basic", "code": object! { "text": "x" } };
    basic.as_object_mut().unwrap().insert("subject", object! { "reference": "Patient?_has:Observation:subject:_id=o" });
    let basic = bundle("transaction", vec![with(entry("POST", "Basic"), "resource", basic)]);
    system.post("").json(&basic).await.expect_status(200);
    assert_eq!(system.matches("Basic?subject=Patient/p").await.len(), 1);
    assert_eq!(system.matches("Observation?subject=Patient/p").await, ["o"]);
}

/// Each Observation names a Patient that another entry writes: it is not looked for among all others.
async fn as_many_conditional_references_as_entries(server: TestServer) {
    const COUNT: usize = 2_000;
    let system = server.system();
    let mut taken = Vec::new();
    for (round, own) in [("a", false), ("b", true)] {
        let value = |number: usize| format!("{round}{}", if own { number } else { 0 });
        let new =
            (0..COUNT).map(|number| with(entry("POST", "Patient"), "resource", patient(&format!("{round}{number}"))));
        let of = |number| observation(&format!("Patient?identifier=http://s|{}", value(number)));
        let observations = (0..COUNT).map(|number| with(entry("POST", "Observation"), "resource", of(number)));
        let all = bundle("transaction", new.chain(observations).collect());
        let started = Instant::now();
        system.post("").json(&all).await.expect_status(200);
        taken.push(started.elapsed());
        let last = value(COUNT - 1);
        let of_last =
            system.get(&format!("Observation?subject:Patient.identifier=http://s|{last}&_summary=count")).await;
        let count = if own { "1" } else { "2000" };
        assert_eq!(of_last.json().get("total").and_then(Json::as_number), Some(count), "{last}");
    }
    // With the square of their number it was ten times as long and more.
    assert!(taken[1] < taken[0] * 5, "{taken:?}");
}

/// The reference of the one Observation that a transaction of these entries, and one with this subject, makes.
async fn subject(system: &Client, entries: Vec<Json>, full_url: &str, reference: &str) -> String {
    let of = with(with(entry("POST", "Observation"), "resource", observation(reference)), "fullUrl", full_url);
    let all = [entries, vec![of]].concat();
    let response = system.post("").json(&bundle("transaction", all)).await.expect_status(200).json();
    let made = response.list("entry").last().unwrap().at(&["response", "location"]).unwrap().as_str().unwrap();
    let path = made.split_once("/fhir/").unwrap().1;
    let made = system.get(path).await.expect_status(200).json();
    made.at(&["subject", "reference"]).unwrap().as_str().unwrap().to_owned()
}

/// "Servers SHALL replace all matching links in the bundle", also where the id stays the same.
async fn references_to_an_entry_of_elsewhere_are_replaced(server: TestServer) {
    let system = server.system();
    let put = |full_url: &str| {
        let put = with(entry("PUT", "Patient/for7"), "resource", with(patient("x"), "id", "for7"));
        vec![with(put, "fullUrl", full_url)]
    };
    let foreign = "http://x.example/fhir/Patient/for7";
    for reference in [foreign, "Patient/for7"] {
        let stored = subject(&system, put(foreign), "http://x.example/fhir/Observation/1", reference).await;
        assert_eq!(stored, "Patient/for7");
    }
    assert_eq!(subject(&system, put(foreign), "urn:uuid:1", foreign).await, "Patient/for7");
    for own in [format!("{}/Patient/for7", server.fhir_base()), "Patient/for7".to_owned()] {
        assert_eq!(subject(&system, put(&own), "urn:uuid:1", "Patient/for7").await, "Patient/for7");
    }
    let elsewhere = "http://y.example/fhir/Patient/for7";
    assert_eq!(subject(&system, put(foreign), "urn:uuid:1", elsewhere).await, elsewhere);
}

/// "Version-specific references should remain as version-specific references after the references have been updated",
/// and match entries "based on Resource.meta.versionId".
async fn references_to_versions_name_the_version_that_is_written(server: TestServer) {
    let system = server.system();
    let (foreign, here) = ("http://x.example/fhir/Patient/7", "http://x.example/fhir/Observation/1");
    let new = |version: Option<&str>| {
        let meta = version.map(|version| object! { "versionId": version });
        let resource = meta.into_iter().fold(patient("x"), |resource, meta| with(resource, "meta", meta));
        vec![with(with(entry("POST", "Patient"), "resource", resource), "fullUrl", foreign)]
    };
    for (stated, reference) in [
        (Some("3"), "http://x.example/fhir/Patient/7/_history/3"),
        (Some("3"), "Patient/7/_history/3"),
        (None, "Patient/7/_history/5"),
    ] {
        let replaced = subject(&system, new(stated), here, reference).await;
        let id = replaced.strip_prefix("Patient/").and_then(|rest| rest.strip_suffix("/_history/1"));
        let id = id.unwrap_or_else(|| panic!("{reference} became {replaced}"));
        assert_eq!(system.get(&format!("Patient/{id}/_history/1")).await.status, 200);
    }
    let other = "http://x.example/fhir/Patient/7/_history/4";
    assert_eq!(subject(&system, new(Some("3")), here, other).await, other);
    // What is there already has the version that it has.
    for value in ["k", "l"] {
        let known = with(with(patient("known"), "id", "known"), "language", value);
        system.store(&known).await;
    }
    let known = requested(new(None).remove(0), "ifNoneExist", "identifier=http://s|known");
    let reference = "Patient/7/_history/1";
    assert_eq!(subject(&system, vec![known], here, reference).await, "Patient/known/_history/2");
    // Which version an update makes is known only when it is made.
    let put = with(entry("PUT", "Patient/known"), "resource", with(patient("known"), "id", "known"));
    let put = with(put, "fullUrl", foreign);
    let of = with(with(entry("POST", "Observation"), "resource", observation(reference)), "fullUrl", here);
    let refused = system.post("").json(&bundle("transaction", vec![put, of])).await.expect_status(400);
    assert!(refused.issues().iter().any(|text| text.contains("leave the version out")), "{}", refused.text());
}

/// "References within a Bundle.entry.resource to another Bundle.entry.resource that is being created within the batch are
/// considered to be non-conformant": nothing is stored that points at nothing, and the other entries are carried out.
async fn what_only_a_transaction_replaces_is_refused_elsewhere(server: TestServer) {
    let system = server.system();
    let sibling = "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0";
    let new = with(with(entry("POST", "Patient"), "resource", patient("new")), "fullUrl", sibling);
    let of = |text: &str| with(entry("POST", "Observation"), "resource", observation(text));
    let known_elsewhere = of("urn:uuid:5ab06c0d-4c4f-4d6c-8d8b-5a2c0c6c1b5e");
    let versioned = format!("{sibling}/_history/1");
    let asked = vec![of(sibling), of(&versioned), of("?identifier=http://s|new"), new, known_elsewhere];
    let answer = system.post("").json(&bundle("batch", asked.clone())).await.expect_status(200).json();
    let statuses: Vec<_> = answer.list("entry").iter().map(|it| it.at(&["response", "status"]).unwrap()).collect();
    let statuses: Vec<_> = statuses.iter().map(|it| &it.as_str().unwrap()[..3]).collect();
    assert_eq!(statuses, ["400", "400", "400", "201", "201"]);
    let refused = answer.list("entry")[0].to_string();
    assert!(refused.contains("Observation.subject.reference") && refused.contains("send a transaction"), "{refused}");
    assert_eq!(system.matches("Observation").await.len(), 1);
    assert_eq!(system.matches("Patient").await.len(), 1);
    for text in ["Patient?identifier=http://s|new", "?identifier=http://s|new"] {
        let refused = system.post("Observation").json(&observation(text)).await.expect_status(400);
        assert!(refused.text().contains("replaced in transactions only"), "{}", refused.text());
    }
    let whole = bundle("transaction", vec![asked[0].clone(), asked[3].clone()]);
    system.post("").json(&whole).await.expect_status(200);
}
