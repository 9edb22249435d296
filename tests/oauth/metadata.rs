//! Tests of `server/src/oauth/metadata.rs` and of `server/src/cors.rs`.

use std::path::Path;

use fhir::json::Json;
use reqwest::Method;
use tests::{Answer, Client, TestServer};

use crate::launch::{App, REDIRECT_URI, SCOPE, add_app, error, request, seed, tokens};

tests::on_both_engines!(
    sm_01_discovery_is_json_for_anybody,
    sm_05_addresses_are_those_of_the_configuration,
    sm_09_sm_10_all_documents_agree,
    sm_07_each_capability_has_a_test,
    sm_80_discovery_may_be_read_by_every_origin,
    sm_80_answers_may_be_read_by_scripts_of_registered_apps,
    sm_80_preflights,
    sm_80_pages_are_read_by_no_script,
    sm_81_a_brand_names_this_server,
);

const DOCUMENTS: [&str; 3] =
    [".well-known/smart-configuration", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"];

/// Capability, and a test that uses it: file of this folder and function.
const PROOFS: &[(&str, &str, &str)] = &[
    ("launch-ehr", "ehr_launch.rs", "sm_38_sm_41_sm_42_a_launch_from_an_ehr_carries_its_context"),
    ("launch-standalone", "token.rs", "sm_31_sm_45_sm_46_a_launch_gives_one_patients_data"),
    ("authorize-post", "authorize.rs", "sm_11_get_and_post_are_equal"),
    ("client-public", "token.rs", "sm_47_oa_05_a_code_is_bound_to_all_it_was_issued_with"),
    ("client-confidential-symmetric", "token.rs", "sm_53_a_confidential_client_authenticates_at_refresh_too"),
    ("client-confidential-asymmetric", "assertion.rs", "sm_53_a_confidential_app_signs_at_every_step"),
    ("sso-openid-connect", "openid.rs", "sm_70_an_id_token_says_who_signed_in"),
    ("context-banner", "ehr_launch.rs", "sm_38_sm_41_sm_42_a_launch_from_an_ehr_carries_its_context"),
    ("context-style", "style.rs", "sm_41_the_style_can_be_kept_for_ever"),
    ("context-ehr-patient", "ehr_launch.rs", "sm_38_sm_41_sm_42_a_launch_from_an_ehr_carries_its_context"),
    ("context-ehr-encounter", "ehr_launch.rs", "sm_39_a_visit_is_of_its_patient"),
    ("context-standalone-patient", "consent.rs", "sm_37_a_practitioner_chooses_among_their_own_patients"),
    ("context-standalone-encounter", "consent.rs", "sm_37_sm_39_a_visit_is_chosen_of_the_chosen_patient"),
    ("permission-offline", "token.rs", "sm_54_refresh_may_narrow_but_not_widen"),
    ("permission-online", "login.rs", "sm_52_online_access_ends_with_the_session"),
    ("permission-patient", "token.rs", "sm_31_sm_45_sm_46_a_launch_gives_one_patients_data"),
    ("permission-user", "consent.rs", "sm_37_a_practitioner_chooses_among_their_own_patients"),
    ("permission-v1", "authorize.rs", "sm_23_v1_is_answered_in_v1_and_v2_in_v2"),
    ("permission-v2", "authorize.rs", "sm_23_v1_is_answered_in_v1_and_v2_in_v2"),
];

async fn sm_01_discovery_is_json_for_anybody(server: TestServer) {
    for path in DOCUMENTS {
        for accept in [Some("application/fhir+xml"), Some("text/html"), Some("*/*;q=0"), Some("application/json"), None]
        {
            let call = server.anonymous().get(path);
            let call = if let Some(accept) = accept { call.header("accept", accept) } else { call };
            let answer = call.await.expect_status(200);
            assert!(answer.header("content-type").is_some_and(|it| it == "application/json"), "{path} {accept:?}");
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
            assert_eq!(answer.json().str("issuer"), Some(server.origin()));
        }
        let refused = server.anonymous().post(path).body("application/json", "{}").await;
        assert_eq!(refused.status, 405, "{path}");
    }
}

async fn sm_05_addresses_are_those_of_the_configuration(server: TestServer) {
    for path in DOCUMENTS.into_iter().chain(["metadata", "/oauth/jwks.json"]) {
        let honest = server.anonymous().get(path).await.expect_status(200).text();
        let forged = server
            .anonymous()
            .get(path)
            .header("host", "evil.example")
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-proto", "gopher")
            .header("forwarded", "host=evil.example;proto=gopher")
            .await
            .expect_status(200);
        assert_eq!(forged.text(), honest, "{path}");
        assert!(!honest.contains("evil.example"), "{path}");
    }
}

async fn sm_09_sm_10_all_documents_agree(server: TestServer) {
    let mut documents = Vec::new();
    for path in DOCUMENTS {
        documents.push(server.anonymous().get(path).await.expect_status(200).json());
    }
    let [smart, openid, oauth] = &documents[..] else { unreachable!("there are three") };
    for (name, value) in oauth.as_object().expect("an object").iter() {
        assert_eq!((smart.get(name), openid.get(name)), (Some(value), Some(value)), "{name}");
    }
    for name in ["authorization_endpoint", "token_endpoint", "jwks_uri", "issuer", "introspection_endpoint"] {
        assert!(smart.str(name).is_some_and(|url| url.starts_with(server.origin())), "{name}");
    }
    let texts = |document: &Json, name: &str| -> Vec<String> {
        document.list(name).iter().filter_map(Json::as_str).map(str::to_owned).collect()
    };
    assert_eq!(texts(openid, "id_token_signing_alg_values_supported"), ["RS256"]);
    assert_eq!(texts(openid, "subject_types_supported"), ["public"]);
    assert_eq!(texts(openid, "response_types_supported"), ["code"]);
    assert!(!texts(smart, "code_challenge_methods_supported").contains(&"plain".to_owned()));

    let statement = server.anonymous().get("metadata").await.expect_status(200).json();
    let security = statement.list("rest")[0].get("security").cloned().expect("security");
    let uris = security.list("extension")[0].list("extension").to_vec();
    for (name, member) in [
        ("authorize", "authorization_endpoint"),
        ("token", "token_endpoint"),
        ("revoke", "revocation_endpoint"),
        ("introspect", "introspection_endpoint"),
        ("register", "registration_endpoint"),
        ("manage", "management_endpoint"),
    ] {
        let stated = uris.iter().find(|uri| uri.str("url") == Some(name)).and_then(|uri| uri.str("valueUri"));
        assert_eq!(stated, smart.str(member), "{name}");
    }
    let code = security.list("service")[0].list("coding")[0].str("code").map(str::to_owned);
    assert_eq!(code.as_deref(), Some("SMART-on-FHIR"));
    assert_eq!(security.get("cors").and_then(Json::as_bool), Some(true));
}

/// What is stated is there, and nothing is stated that no test uses.
async fn sm_07_each_capability_has_a_test(server: TestServer) {
    let document = server.anonymous().get(DOCUMENTS[0]).await.expect_status(200).json();
    let stated: Vec<&str> = document.list("capabilities").iter().filter_map(Json::as_str).collect();
    let proven: Vec<&str> = PROOFS.iter().map(|(capability, ..)| *capability).collect();
    assert_eq!(stated, proven);
    for (capability, file, test) in PROOFS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("oauth").join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(text.contains(&format!("async fn {test}(")), "{capability}: no test {test} in {file}");
    }
    for name in ["authorization_endpoint", "token_endpoint", "jwks_uri", "management_endpoint", "registration_endpoint"]
    {
        let url = document.str(name).unwrap_or_else(|| panic!("no {name}"));
        let answer = server.anonymous().call(Method::OPTIONS, url).await;
        assert_ne!(answer.status, 404, "{name} is stated and not there");
    }
}

const ORIGIN: &str = "https://app.example";

fn cors(answer: &Answer) -> Option<&str> {
    assert!(answer.header("access-control-allow-credentials").is_none(), "never: {}", answer.describe());
    answer.header("access-control-allow-origin")
}

async fn sm_80_discovery_may_be_read_by_every_origin(server: TestServer) {
    for path in DOCUMENTS.into_iter().chain(["metadata", "/oauth/jwks.json"]) {
        let answer = server.anonymous().get(path).header("origin", "https://any.example").await.expect_status(200);
        assert_eq!(cors(&answer), Some("*"), "{path}");
        let asked = preflight(&server.anonymous(), path, "https://any.example", "GET").await;
        assert_eq!((asked.status, cors(&asked)), (204, Some("*")), "{path}");
    }
}

/// A registered app, known to the server as one whose scripts may read.
async fn registered(server: &TestServer) -> App {
    assert!(REDIRECT_URI.starts_with(ORIGIN));
    let app = add_app(server, "public");
    tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    app
}

async fn sm_80_answers_may_be_read_by_scripts_of_registered_apps(server: TestServer) {
    let account = seed(&server).await;
    let client = server.anonymous();
    let before = client.get("Patient/p1").header("origin", ORIGIN).await.expect_status(401);
    assert_eq!(cors(&before), None, "nobody is registered");
    let app = registered(&server).await;
    let granted = tokens(&server, &app, &account, SCOPE).await;
    let reader = client.with_token(&granted.access);
    for (origin, expected) in [
        (ORIGIN, Some(ORIGIN)),
        ("https://evil.example", None),
        ("https://app.example.evil.example", None),
        ("https://app.example:444", None),
        ("http://app.example", None),
        ("HTTPS://APP.EXAMPLE", None),
        ("null", None),
    ] {
        let read = reader.get("Patient/p1").header("origin", origin).await.expect_status(200);
        assert_eq!(cors(&read), expected, "{origin}");
        let varies = read.headers("vary").join(", ");
        assert!(varies.split(", ").any(|name| name == "Origin"), "{origin}: {varies}");
        let missing = reader.get("Patient/none").header("origin", origin).await;
        assert_eq!(cors(&missing), expected, "errors can be read too");
        let unauthorized = client.get("Patient/p1").header("origin", origin).await.expect_status(401);
        assert_eq!(cors(&unauthorized), expected, "{origin}");
        let form = [("grant_type", "authorization_code"), ("client_id", &app.id), ("code", "x")];
        let token = client.post("/oauth/token").header("origin", origin).form(&form).await.expect_status(400);
        assert_eq!(cors(&token), expected, "{origin}");
        assert!(!error(&token).is_empty());
    }
    let exposed = reader.get("Patient/p1").header("origin", ORIGIN).await;
    let exposed = exposed.header("access-control-expose-headers").unwrap_or_default().to_owned();
    for name in ["Location", "ETag", "WWW-Authenticate"] {
        assert!(exposed.split(", ").any(|other| other == name), "{exposed}");
    }
    let plain = reader.get("Patient/p1").await.expect_status(200);
    assert_eq!(cors(&plain), None);
}

async fn preflight(client: &Client, path: &str, origin: &str, method: &str) -> Answer {
    client
        .call(Method::OPTIONS, path)
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "authorization, content-type, if-match, prefer")
        .await
}

async fn sm_80_preflights(server: TestServer) {
    registered(&server).await;
    let client = server.anonymous();
    for (path, methods) in [
        ("Patient/p1", &["GET", "PUT", "PATCH", "DELETE"][..]),
        ("Observation", &["GET", "POST"]),
        ("", &["POST"]),
        ("Patient/p1/$everything", &["GET"]),
        ("/oauth/token", &["POST"]),
        ("/oauth/introspect", &["POST"]),
        ("/oauth/revoke", &["POST"]),
        ("/oauth/userinfo", &["GET", "POST"]),
    ] {
        for method in methods {
            let answer = preflight(&client, path, ORIGIN, method).await;
            assert_eq!((answer.status, cors(&answer)), (204, Some(ORIGIN)), "{path} {method}");
            let allowed = answer.header("access-control-allow-methods").unwrap_or_default();
            assert!(allowed.split(", ").any(|name| name == *method), "{path}: {allowed}");
            let headers = answer.header("access-control-allow-headers").unwrap_or_default().to_ascii_lowercase();
            for name in ["authorization", "content-type", "if-match", "prefer"] {
                assert!(headers.split(", ").any(|other| other == name), "{path}: {headers}");
            }
            assert!(answer.header("access-control-max-age").is_some());
            let stranger = preflight(&client, path, "https://evil.example", method).await;
            assert_eq!(cors(&stranger), None, "{path} {method}");
        }
    }
    let plain = client.call(Method::OPTIONS, "Patient/p1").await.expect_status(204);
    assert!(plain.header("allow").is_some_and(|it| it.contains("PUT")), "not every OPTIONS is a preflight");
}

async fn sm_81_a_brand_names_this_server(server: TestServer) {
    let client = server.anonymous();
    let stated = client.get(".well-known/smart-configuration").await.expect_status(200).json();
    let place = stated.str("user_access_brand_bundle").expect("stated").to_owned();
    let answer = client.get(&place).header("origin", "https://anywhere.example").await.expect_status(200);
    assert_eq!(cors(&answer), Some("*"));
    assert_eq!(answer.header("strict-transport-security"), None, "SM-84: this server is not asked over TLS");
    let tag = answer.header("etag").expect("an ETag").to_owned();
    assert!(tag.starts_with("W/"), "{tag}");
    client.get(&place).header("if-none-match", &tag).await.expect_status(304);
    let bundle = answer.json();
    assert_eq!(bundle.str("type"), Some("collection"));
    let brands = bundle.list("entry").iter().filter_map(|entry| entry.get("resource"));
    let identifiers: Vec<_> = brands.flat_map(|it| it.list("identifier")).collect();
    assert_eq!(identifiers, [stated.get("user_access_brand_identifier").expect("stated")]);
    let system = server.system();
    for entry in bundle.list("entry") {
        let resource = entry.get("resource").expect("a resource");
        let path = format!("{}/$validate", resource.str("resourceType").unwrap_or_default());
        let outcome = system.post(&path).json(resource).await.expect_status(200).text();
        assert!(!outcome.contains("\"severity\":\"error\""), "{outcome}");
    }
}

async fn sm_80_pages_are_read_by_no_script(server: TestServer) {
    let app = registered(&server).await;
    let address = crate::launch::encode(&request(&server, &app, SCOPE));
    for path in [&format!("/oauth/authorize?{address}"), "/oauth/login", "/oauth/consent", "/portal", "/"] {
        let answer = server.anonymous().get(path).header("origin", ORIGIN).await;
        assert_eq!(cors(&answer), None, "{path}");
        assert_eq!(cors(&preflight(&server.anonymous(), path, ORIGIN, "POST").await), None, "{path}");
    }
}
