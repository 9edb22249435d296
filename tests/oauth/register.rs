//! Tests of `server/src/oauth/register.rs`. <https://www.rfc-editor.org/rfc/rfc7591>

use fhir::json::Json;
use tests::signer::{Signer, key_set};
use tests::{Answer, TestServer};

use crate::launch::{self, App, REDIRECT_URI, SCOPE, add_app, error, seed};

tests::on_both_engines!(
    oa_29_an_invitation_registers_one_app,
    oa_29_a_registered_app_works,
    oa_03_oa_29_what_cannot_be_registered,
);

fn invite(server: &TestServer) -> String {
    server.command(&["client", "invite"]).trim().to_owned()
}

async fn register(server: &TestServer, invitation: &str, metadata: &str) -> Answer {
    let client = server.anonymous().with_token(invitation);
    client.post("/oauth/register").body("application/json", metadata).await
}

fn metadata(more: &str) -> String {
    format!(r#"{{"client_name":"Heart Watch","redirect_uris":["{REDIRECT_URI}"]{more}}}"#)
}

async fn oa_29_an_invitation_registers_one_app(server: TestServer) {
    let invitation = invite(&server);
    let public = metadata(r#","token_endpoint_auth_method":"none""#);
    let app = add_app(&server, "public");
    let code = "trc_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for none in ["", "x", code, &server.mint("system/*.rs", None), &invitation[..invitation.len() - 1]] {
        let answer = register(&server, none, &public).await.expect_status(401);
        assert_eq!(error(&answer), "invalid_token", "{none}");
        assert!(answer.header("www-authenticate").unwrap_or_default().starts_with("Bearer"));
    }
    let answer = server.anonymous().post("/oauth/register").body("application/json", public.as_str()).await;
    answer.expect_status(401);
    let registered = register(&server, &invitation, &public).await.expect_status(201);
    assert_eq!(registered.header("cache-control"), Some("no-store"));
    assert_ne!(registered.json().str("client_id"), Some(app.id.as_str()));
    let server = std::sync::Arc::new(server);
    let (fresh, mut made) = (invite(&server), 0);
    let attempts: Vec<_> = (0..16)
        .map(|_| {
            let (server, fresh, public) = (server.clone(), fresh.clone(), public.clone());
            tokio::spawn(async move { register(&server, &fresh, &public).await.status })
        })
        .collect();
    for attempt in attempts {
        made += usize::from(attempt.await.expect("answered") == 201);
    }
    assert_eq!(made, 1);
    register(&server, &invitation, &public).await.expect_status(401);
    // an invitation opens nothing else
    server.anonymous().with_token(&invite(&server)).get("Patient").await.expect_status(401);
}

async fn oa_29_a_registered_app_works(server: TestServer) {
    let account = seed(&server).await;
    for (more, method, has_secret) in [
        (r#","token_endpoint_auth_method":"none""#.to_owned(), "none", false),
        (String::new(), "client_secret_basic", true),
        (format!(r#","scope":"{SCOPE} system/*.cruds nonsense""#), "client_secret_basic", true),
    ] {
        let body = register(&server, &invite(&server), &metadata(&more)).await.expect_status(201).json();
        assert_eq!(body.str("token_endpoint_auth_method"), Some(method));
        assert_eq!(body.list("redirect_uris").first().and_then(Json::as_str), Some(REDIRECT_URI));
        assert!(!body.str("scope").unwrap_or_default().contains("system/"), "SM-67");
        assert_eq!(body.get("client_secret").is_some(), has_secret);
        assert_eq!(body.get("client_secret_expires_at").and_then(Json::as_number), has_secret.then_some("0"));
        let app = App {
            id: body.str("client_id").expect("a client_id").to_owned(),
            secret: body.str("client_secret").map(str::to_owned),
        };
        let granted = launch::tokens(&server, &app, &account, SCOPE).await;
        server.anonymous().with_token(&granted.access).get("Patient/p1").await.expect_status(200);
    }
    let keys = format!(r#","token_endpoint_auth_method":"private_key_jwt","jwks":{}"#, key_set(&[&Signer::es384("k")]));
    let body = register(&server, &invite(&server), &metadata(&keys)).await.expect_status(201).json();
    assert!(body.get("client_secret").is_none() && body.get("jwks").is_some());
}

async fn oa_03_oa_29_what_cannot_be_registered(server: TestServer) {
    let invitation = invite(&server);
    let name = r#""client_name":"A""#;
    let uris = format!(r#""redirect_uris":["{REDIRECT_URI}"]"#);
    for uri in [
        "http://app.example/cb",
        "https://app.example/cb#x",
        "https://*.example/cb",
        "https://me@app.example/cb",
        "javascript:alert(1)",
        "data:text/html,x",
        "myapp:/cb",
        "/cb",
        "",
    ] {
        let body = format!(r#"{{{name},"redirect_uris":["{REDIRECT_URI}","{uri}"]}}"#);
        let answer = register(&server, &invitation, &body).await.expect_status(400);
        assert_eq!(error(&answer), "invalid_redirect_uri", "{uri}");
    }
    let answer = register(&server, &invitation, &format!("{{{name}}}")).await.expect_status(400);
    assert_eq!(error(&answer), "invalid_redirect_uri");
    let private = key_set(&[&Signer::es384("k")]).replace("\"kty\"", "\"d\":\"AA\",\"kty\"");
    let signs = format!(r#"{name},{uris},"token_endpoint_auth_method":"private_key_jwt""#);
    for body in [
        "[]".to_owned(),
        "x".to_owned(),
        format!("{{{uris}}}"),
        format!(r#"{{"client_name":"",{uris}}}"#),
        format!(r#"{{"client_name":"a\u202Eb",{uris}}}"#),
        format!(r#"{{"client_name":"a\u200Bb",{uris}}}"#),
        format!(r#"{{"client_name":"a\nb",{uris}}}"#),
        format!(r#"{{"client_name":"{}",{uris}}}"#, "a".repeat(101)),
        format!(r#"{{"client_name":1,{uris}}}"#),
        format!(r#"{{{name},"redirect_uris":"{REDIRECT_URI}"}}"#),
        format!(r#"{{{name},{uris},"token_endpoint_auth_method":"client_secret_jwt"}}"#),
        format!(r#"{{{name},{uris},"grant_types":["client_credentials"]}}"#),
        format!(r#"{{{name},{uris},"grant_types":["implicit"]}}"#),
        format!(r#"{{{name},{uris},"response_types":["token"]}}"#),
        format!(r#"{{{name},{uris},"scope":"system/*.cruds"}}"#),
        format!(r#"{{{name},{uris},"scope":"nonsense"}}"#),
        format!("{{{signs}}}"),
        format!(r#"{{{signs},"jwks":{{"keys":[]}}}}"#),
        format!(r#"{{{signs},"jwks":{private}}}"#),
        format!(r#"{{{signs},"jwks_uri":"http://app.example/jwks.json"}}"#),
        format!(r#"{{{signs},"jwks_uri":"https://127.0.0.1/jwks.json"}}"#),
        format!(r#"{{{signs},"jwks_uri":"file:///etc/passwd"}}"#),
        format!(r#"{{{signs},"jwks":{{"keys":[]}},"jwks_uri":"https://app.example/jwks.json"}}"#),
        format!(r#"{{{name},{uris},"jwks_uri":"https://app.example/jwks.json"}}"#),
    ] {
        let answer = register(&server, &invitation, &body).await.expect_status(400);
        let code = error(&answer);
        assert!(matches!(code.as_str(), "invalid_client_metadata" | "invalid_redirect_uri"), "{code}: {body}");
    }
    // all that did not spend the invitation
    register(&server, &invitation, &metadata("")).await.expect_status(201);
}
