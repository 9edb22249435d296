//! Tests of `server/src/access.rs` and `server/src/rates.rs`: what a token sees of texts, merged patients and labelled
//! data, and how often it may ask.

use fhir::json::Json;
use fhir::{array, object};
use tests::TestServer;

tests::on_both_engines!(
    lk_34_lk_35_a_binary_is_seen_by_whom_its_security_context_names,
    lk_53_sm_30_a_merged_patient_is_seen_and_their_data_is_not,
    lk_45_what_is_labelled_restricted_is_withheld,
    lk_52_every_door_counts_the_requests_of_a_client,
    lk_52_more_requests_than_a_client_may_make_are_429,
);

fn patient(id: &str) -> Json {
    object! { "resourceType": "Patient", "id": id, "active": true }
}

fn to(reference: &str) -> Json {
    object! { "reference": reference }
}

async fn lk_34_lk_35_a_binary_is_seen_by_whom_its_security_context_names(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&patient(id)).await;
    }
    let contexts = [("of-a", Some("Patient/a")), ("of-b", Some("Patient/b")), ("of-text", Some("DocumentReference/d"))];
    for (id, context) in contexts.into_iter().chain([("of-nobody", None)]) {
        let mut binary = object! { "resourceType": "Binary", "id": id, "contentType": "text/plain", "data": "aGk=" };
        if let (Some(context), Some(fields)) = (context, binary.as_object_mut()) {
            fields.insert("securityContext", to(context));
        }
        system.store(&binary).await;
    }
    let attachment = |id: &str| object! { "attachment": object! { "url": format!("Binary/{id}") } };
    let document = object! {
        "resourceType": "DocumentReference", "id": "d", "status": "current", "subject": to("Patient/a"),
        "content": array![attachment("of-a"), attachment("of-b"), attachment("of-nobody")],
    };
    system.store(&document).await;
    let own = server.patient("a");
    // The document names all of them; each is asked for, and judged, by itself.
    own.get("DocumentReference/d").await.expect_status(200);
    for (id, status) in [("of-a", 200), ("of-b", 404), ("of-text", 404), ("of-nobody", 404)] {
        own.get(&format!("Binary/{id}")).await.expect_status(status);
        own.get(&format!("Binary/{id}/_history/1")).await.expect_status(status);
    }
    assert_eq!(own.matches("Binary").await, ["of-a"]);
    assert_eq!(own.matches("Binary?security-context=Patient/a").await, ["of-a"]);
    assert!(own.matches("Binary?security-context=Patient/b").await.is_empty());
    assert_eq!(system.matches("Binary?security-context=Patient/b").await, ["of-b"]);
    let everything = own.get("Patient/a/$everything").await.expect_status(200).text();
    assert!(everything.contains("Binary/of-a") && !everything.contains("\"id\":\"of-b\""), "{everything}");
    let stolen = object! {
        "resourceType": "Binary", "id": "of-b", "contentType": "text/plain", "securityContext": to("Patient/a"),
    };
    let refused = own.put("Binary/of-b").json(&stolen).await;
    assert!(matches!(refused.status, 403 | 404), "{}", refused.describe());
    let given = object! { "resourceType": "Binary", "contentType": "text/plain", "securityContext": to("Patient/b") };
    own.post("Binary").json(&given).await.expect_status(403);
    let moved = object! {
        "resourceType": "Binary", "id": "of-a", "contentType": "text/plain", "securityContext": to("Patient/b"),
    };
    own.put("Binary/of-a").json(&moved).await.expect_status(403);
    system.put("Binary/of-a").json(&moved).await.expect_status(200);
    own.get("Binary/of-a").await.expect_status(404);
}

async fn lk_53_sm_30_a_merged_patient_is_seen_and_their_data_is_not(server: TestServer) {
    let system = server.system();
    let linked = |id: &str, other: &str, kind: &str| {
        let link = object! { "other": to(&format!("Patient/{other}")), "type": kind };
        object! { "resourceType": "Patient", "id": id, "active": kind != "replaced-by", "link": array![link] }
    };
    system.store(&patient("new")).await;
    system.store(&linked("old", "new", "replaced-by")).await;
    for id in ["old", "new"] {
        let observation = object! {
            "resourceType": "Observation", "id": format!("of-{id}"), "status": "final",
            "code": object! { "text": "c" }, "subject": to(&format!("Patient/{id}")),
        };
        system.store(&observation).await;
    }
    // HL7's compartment has the record that names the patient in its link; what is about that record is not in it.
    let new = server.patient("new");
    new.get("Patient/old").await.expect_status(200);
    new.get("Observation/of-old").await.expect_status(404);
    assert_eq!(new.matches("Observation").await, ["of-new"]);
    assert!(new.matches("Observation?patient=old").await.is_empty());
    new.get("Patient/old/$everything").await.expect_status(200).text().contains("of-old").then(|| panic!("LK-53"));
    // A link gives no right in the other direction: the old token stays with the old record.
    let old = server.patient("old");
    old.get("Patient/new").await.expect_status(404);
    old.get("Observation/of-new").await.expect_status(404);
    assert_eq!(old.matches("Observation").await, ["of-old"]);
    assert_eq!(old.matches("Patient").await, ["old"]);
}

async fn lk_45_what_is_labelled_restricted_is_withheld(server: TestServer) {
    let server = TestServer::start_with(server.engine(), &["--restricted=withheld"]).await;
    let system = server.system();
    system.store(&patient("a")).await;
    let code = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
    let observation = |id: &str, label: Option<&str>| {
        let meta = if let Some(label) = label {
            object! { "security": array![object! { "system": code, "code": label }] }
        } else {
            object! { "source": "urn:example:nobody" }
        };
        object! {
            "resourceType": "Observation", "id": id, "status": "final", "code": object! { "text": "c" },
            "meta": meta, "subject": to("Patient/a"), "encounter": to("Encounter/e"),
        }
    };
    let encounter = object! {
        "resourceType": "Encounter", "id": "e", "status": "finished", "subject": to("Patient/a"),
        "class": object! { "code": "AMB" },
    };
    system.store(&encounter).await;
    for (id, label) in [("plain", None), ("normal", Some("N")), ("restricted", Some("R")), ("very", Some("V"))] {
        system.store(&observation(id, label)).await;
    }
    let own = server.patient("a");
    for hidden in ["restricted", "very"] {
        own.get(&format!("Observation/{hidden}")).await.expect_status(404);
        own.get(&format!("Observation/{hidden}/_history/1")).await.expect_status(404);
        own.get(&format!("Observation/{hidden}/_history")).await.expect_status(404);
        own.put(&format!("Observation/{hidden}")).json(&observation(hidden, None)).await.expect_status(403);
    }
    own.put("Observation/plain").json(&observation("plain", Some("R"))).await.expect_status(403);
    let seen = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    assert_eq!(seen(own.matches("Observation").await), ["normal", "plain"]);
    assert_eq!(seen(own.matches("Observation?_sort=_lastUpdated").await), ["normal", "plain"]);
    let counted = own.get("Observation?_total=accurate").await.expect_status(200).json();
    assert_eq!(counted.get("total").map(ToString::to_string).as_deref(), Some("2"));
    assert!(own.matches(&format!("Observation?_security={code}|R")).await.is_empty());
    for path in ["Patient/a/$everything", "Encounter?_revinclude=Observation:encounter", "Patient/a/Observation"] {
        let text = own.get(path).await.expect_status(200).text();
        assert!(!text.contains("\"id\":\"restricted\"") && !text.contains("\"id\":\"very\""), "{path}: {text}");
    }
    let named =
        server.with_scope(&format!("patient/Observation.rs patient/Observation.rs?_security={code}|R"), Some("a"));
    named.get("Observation/restricted").await.expect_status(200);
    named.get("Observation/very").await.expect_status(404);
    assert_eq!(seen(named.matches("Observation").await), ["normal", "plain", "restricted"]);
    system.get("Observation/very").await.expect_status(200);
}

async fn lk_52_more_requests_than_a_client_may_make_are_429(server: TestServer) {
    let server = TestServer::start_with(server.engine(), &["--client-requests=20"]).await;
    let system = server.system();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let system = system.clone();
        tasks.spawn(async move { system.get("Patient?_count=1").await });
    }
    let answers = tasks.join_all().await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!refused.is_empty() && refused.len() < 200, "{} refused", refused.len());
    for answer in &refused {
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.json().str("resourceType"), Some("OperationOutcome"));
    }
    tokio::time::sleep(std::time::Duration::from_millis(1_050)).await;
    system.get("Patient").await.expect_status(200);
}

async fn lk_52_every_door_counts_the_requests_of_a_client(server: TestServer) {
    let server = TestServer::start_with(server.engine(), &["--client-requests=3"]).await;
    let system = server.system();
    for (path, expected) in [("Patient?_count=1", 202), ("/R4-patient-api/multiple/api/patient", 200)] {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..24 {
            let system = system.clone();
            tasks.spawn(async move { system.get(path).header("Prefer", "respond-async").await });
        }
        let answers = tasks.join_all().await;
        let refused: Vec<_> = answers.iter().filter(|answer| answer.status != expected).collect();
        assert!(!refused.is_empty(), "{path}");
        for answer in refused {
            assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")), "{}", answer.describe());
        }
    }
}
