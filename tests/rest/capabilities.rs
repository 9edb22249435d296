//! Tests of `server/src/rest/capabilities.rs`.

use fhir::{array, object};
use tests::server::block_on;
use tests::{Engine, TestServer};

tests::on_both_engines!(
    the_statement_needs_no_token_and_has_a_tag,
    stated_parameters_work,
    each_mode_has_a_statement,
    statements_can_be_cut,
    stated_interactions_have_their_methods
);

async fn the_statement_needs_no_token_and_has_a_tag(server: TestServer) {
    let anonymous = server.anonymous();
    let statement = anonymous.get("metadata").await.expect_status(200);
    assert_eq!(statement.json().str("fhirVersion"), Some("4.0.1"));
    let tag = statement.header("etag").expect("the statement has a tag").to_owned();
    anonymous.get("metadata").header("If-None-Match", &tag).await.expect_status(304);
    let xml = anonymous.get("metadata?_format=xml").await.expect_status(200);
    assert!(xml.text().contains("<CapabilityStatement xmlns"));
    assert!(anonymous.head("metadata").await.expect_status(200).bytes().is_empty());
}

async fn statements_can_be_cut(server: TestServer) {
    let anonymous = server.anonymous();
    let mut tags = Vec::new();
    for (query, kept, gone) in [
        ("", "rest", "none"),
        ("_summary=text", "kind", "rest"),
        ("_summary=true", "rest", "none"),
        ("_elements=software", "software", "rest"),
        ("mode=terminology&_elements=url", "url", "codeSystem"),
    ] {
        let answer = anonymous.get(&format!("metadata?{query}")).await.expect_status(200);
        let statement = answer.json();
        assert!(statement.get(kept).is_some() && statement.get(gone).is_none(), "{query}: {statement}");
        assert_eq!(query.contains('_'), answer.text().contains("SUBSETTED"), "{query}");
        let tag = answer.header("etag").unwrap().to_owned();
        anonymous.get(&format!("metadata?{query}")).header("If-None-Match", &tag).await.expect_status(304);
        assert!(!tags.contains(&tag), "{query}");
        tags.push(tag);
    }
    for bad in ["_summary=count", "_summary=x", "_elements=nothing", "_summary=true&_elements=url&x=1"] {
        anonymous.get(&format!("metadata?{bad}")).await.expect_status(400);
    }
}

#[test]
fn what_the_server_is_said_to_fulfil_is_stated() {
    for engine in [Engine::Sqlite, Engine::Postgres].into_iter().filter(|engine| engine.is_available()) {
        block_on(instantiated_on(engine));
    }
}

async fn instantiated_on(engine: Engine) {
    let (guide, other) = ("http://guide.example/server", "http://guide.example/unknown");
    let mut server = TestServer::start_with(engine, &["--instantiates", &format!("{guide}, {other}")]).await;
    let stated = async |server: &TestServer, mode: &str| {
        let statement = server.anonymous().get(&format!("metadata?mode={mode}")).await.expect_status(200).json();
        let mut resources = statement.list("rest").iter().flat_map(|rest| rest.list("resource"));
        let patient = resources.find(|it| it.str("type") == Some("Patient"));
        let profiles = patient.map_or(Vec::new(), |it| it.list("supportedProfile").to_vec());
        (statement.list("instantiates").len(), profiles)
    };
    // Bulk Data is fulfilled whatever the settings say.
    assert_eq!(stated(&server, "full").await, (3, Vec::new()), "nothing is known of it yet");
    let asked = |mode: &str, profile: &str| {
        let resource = object! { "type": "Patient", "supportedProfile": array![profile] };
        object! { "mode": mode, "resource": array![resource] }
    };
    let definition = object! {
        "resourceType": "CapabilityStatement", "id": "guide", "url": guide, "status": "active", "date": "2026-01-01",
        "kind": "requirements", "description": "What a guide asks for", "fhirVersion": "4.0.1", "format": array!["json"],
        "rest": array![asked("server", "http://guide.example/patient"), asked("client", "http://guide.example/app")],
    };
    server.system().store(&definition).await;
    server.restart().await;
    assert_eq!(stated(&server, "full").await, (3, vec!["http://guide.example/patient".into()]));
    assert_eq!(stated(&server, "normative").await, (3, Vec::new()), "supportedProfile is trial use in R4");
    assert_eq!(stated(&server, "terminology").await, (0, Vec::new()));
}

async fn stated_parameters_work(server: TestServer) {
    let statement = server.anonymous().get("metadata").await.expect_status(200).json();
    let system = server.system();
    for resource in statement.list("rest")[0].list("resource") {
        let resource_type = resource.str("type").expect("a type");
        if !["Patient", "Observation", "Claim", "ValueSet"].contains(&resource_type) {
            continue;
        }
        for parameter in resource.list("searchParam") {
            let name = parameter.str("name").expect("a name");
            let values = match parameter.str("type") {
                Some("date") => vec!["2020"],
                Some("number" | "quantity") => vec!["1"],
                Some("reference") => vec!["Patient/1", "Device/1", "ValueSet/1", "x"],
                Some("composite") => vec!["x$x", "x$1", "x$2020", "1$1", "x$Patient/1", "Patient/1$x"],
                Some("special") => vec!["x", "1|1"],
                _ => vec!["x"],
            };
            let mut answers = Vec::new();
            for value in values {
                answers.push(system.get(&format!("{resource_type}?{name}={value}")).await);
            }
            assert!(answers.iter().any(|it| it.status == 200), "{resource_type} {name}: {}", answers[0].describe());
        }
    }
}

async fn each_mode_has_a_statement(server: TestServer) {
    let anonymous = server.anonymous();
    let full = anonymous.get("metadata?mode=full").await.expect_status(200);
    assert_eq!(full.bytes(), anonymous.get("metadata").await.bytes());
    let normative = anonymous.get("metadata?mode=normative").await.expect_status(200).json();
    assert_eq!(normative.str("resourceType"), Some("CapabilityStatement"));
    assert!(normative.list("rest")[0].get("security").is_none(), "trial use in R4");
    let terminology = anonymous.get("metadata?mode=terminology").await.expect_status(200);
    assert_eq!(terminology.json().str("resourceType"), Some("TerminologyCapabilities"));
    assert_ne!(terminology.header("etag"), full.header("etag"));
    anonymous.get("metadata?mode=some").await.expect_status(400);
}

async fn stated_interactions_have_their_methods(server: TestServer) {
    let anonymous = server.anonymous();
    let statement = anonymous.get("metadata").await.expect_status(200).json();
    let rest = &statement.list("rest")[0];
    let of = |resource: &fhir::json::Json| -> Vec<String> {
        resource.list("interaction").iter().filter_map(|it| it.str("code").map(str::to_owned)).collect()
    };
    let (system, patient) = (of(rest), of(&rest.list("resource")[0]));
    for (code, stated, path, method) in [
        ("read", &patient, "Patient/a", "GET"),
        ("vread", &patient, "Patient/a/_history/1", "GET"),
        ("update", &patient, "Patient/a", "PUT"),
        ("patch", &patient, "Patient/a", "PATCH"),
        ("delete", &patient, "Patient/a", "DELETE"),
        ("history-instance", &patient, "Patient/a/_history", "GET"),
        ("history-type", &patient, "Patient/_history", "GET"),
        ("create", &patient, "Patient", "POST"),
        ("search-type", &patient, "Patient", "GET"),
        ("batch", &system, "", "POST"),
        ("transaction", &system, "", "POST"),
        ("search-system", &system, "", "GET"),
        ("history-system", &system, "_history", "GET"),
    ] {
        let answer = anonymous.call(reqwest::Method::OPTIONS, path).await;
        let allowed = answer.header("allow").unwrap_or_default().to_owned();
        let works = allowed.split(", ").any(|known| known == method);
        assert_eq!(stated.iter().any(|known| known == code), works, "{code}: {allowed}");
    }
}
