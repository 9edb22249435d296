//! Tests of `server/src/audit.rs`: nothing that is handed out is left out of the trail, however it is asked for.

use fhir::json::Json;
use fhir::{array, object};
use tests::{Answer, Client, TestServer};

use crate::audit::{decoded, of_request, references, request_of, subtype};

tests::on_both_engines!(
    co_01_an_escaped_address_is_the_same_event,
    co_01_what_was_there_already_is_in_the_trail,
    co_01_all_patients_of_many_are_in_the_trail,
);

fn observation() -> Json {
    object! {
        "resourceType": "Observation", "id": "obs1", "status": "final", "code": object! { "text": "c" },
        "identifier": array![object! { "value": "one" }], "subject": object! { "reference": "Patient/a" },
    }
}

/// The one event of a request.
async fn event(client: &Client, answer: &Answer) -> Json {
    let mut events = of_request(client, &request_of(answer)).await;
    assert_eq!(events.len(), 1, "{}: {events:?}", answer.describe());
    events.remove(0)
}

async fn co_01_an_escaped_address_is_the_same_event(server: TestServer) {
    let system = server.system();
    system.store(&observation()).await;
    let searched = system.get("/f%68ir/Patient?name=Smith").await.expect_status(200);
    let told = event(&system, &searched).await;
    assert_eq!(subtype(&told), "search-type", "{told}");
    let query = told.list("entity").iter().find_map(|entity| entity.str("query")).map(decoded);
    assert_eq!(query.as_deref(), Some("Patient?name=Smith"));
    let read = system.get("Observation/%6fbs1").await.expect_status(200);
    assert_eq!(references(&event(&system, &read).await), ["Patient/a", "Observation/obs1/_history/1"]);
    let odd = system.get("/f%68ir/Patient%00?name=x%00").await;
    assert!((400..500).contains(&odd.status), "{}", odd.describe());
}

async fn co_01_what_was_there_already_is_in_the_trail(server: TestServer) {
    let system = server.system();
    system.store(&observation()).await;
    let patch = "[{\"op\":\"replace\",\"path\":\"/status\",\"value\":\"final\"}]";
    let writes = [
        system.post("Observation").header("if-none-exist", "identifier=one").json(&observation()),
        system.put("Observation/obs1").json(&observation()),
        system.put("Observation?identifier=one").json(&observation()),
        system.patch("Observation/obs1").body("application/json-patch+json", patch),
    ];
    for write in writes {
        let answer = write.await.expect_status(200);
        let told = event(&system, &answer).await;
        assert_eq!(references(&told), ["Patient/a", "Observation/obs1/_history/1"], "{told}");
    }
    let entry = |request: Json| object! { "request": request, "resource": observation() };
    let entries = [
        entry(object! { "method": "POST", "url": "Observation", "ifNoneExist": "identifier=one" }),
        entry(object! { "method": "PUT", "url": "Observation/obs1" }),
    ];
    for (kind, entry) in ["batch", "transaction"].into_iter().flat_map(|kind| entries.iter().map(move |it| (kind, it)))
    {
        let bundle = object! { "resourceType": "Bundle", "type": kind, "entry": array![entry.clone()] };
        let answer = system.post("").header("prefer", "return=representation").json(&bundle).await.expect_status(200);
        assert!(answer.text().contains("\"200 OK\""), "{}", answer.describe());
        let told = event(&system, &answer).await;
        assert_eq!(references(&told), ["Patient/a", "Observation/obs1/_history/1"], "{kind}: {told}");
    }
}

async fn co_01_all_patients_of_many_are_in_the_trail(server: TestServer) {
    let system = server.system();
    let member = |number: usize| object! { "entity": object! { "reference": format!("Patient/p{number}") } };
    let group = object! {
        "resourceType": "Group", "id": "g", "type": "person", "actual": true,
        "member": (0..1_200).map(member).collect::<Vec<Json>>(),
    };
    system.store(&group).await;
    let read = system.get("Group/g").await.expect_status(200);
    for patient in ["p0", "p999", "p1000", "p1199"] {
        assert_eq!(system.matches(&format!("AuditEvent?patient={patient}&subtype=read")).await.len(), 1, "{patient}");
    }
    assert_eq!(system.matches("AuditEvent?entity=Group/g&subtype=read").await.len(), 1);
    let rows = of_request(&system, &request_of(&read)).await;
    assert!(rows.len() > 1 && rows.iter().all(|row| subtype(row) == "read"), "{}", rows.len());
    let own = server.with_scope("patient/AuditEvent.rs", Some("p1199"));
    let seen = own.get("AuditEvent?subtype=read").await.expect_status(200);
    assert!(seen.text().contains("Patient/p1199") && !seen.text().contains("Group/g"), "{}", seen.describe());
}
