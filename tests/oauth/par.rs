//! Tests of `server/src/oauth/par.rs`. <https://www.rfc-editor.org/rfc/rfc9126>

use tests::{Answer, Engine, TestServer};

use crate::assertion;
use crate::launch::{
    self, App, Browser, REDIRECT_URI, SCOPE, add_app, changed, encode, error, parameter, request, seed,
};

tests::on_both_engines!(
    par_a_pushed_request_can_be_launched_once,
    par_what_is_pushed_is_checked_at_once,
    oa_10_par_authenticates_the_client,
    oa_06_a_pushed_request_is_of_one_app_and_nothing_else,
    oa_33_pushing_fills_no_disk,
);

async fn push(server: &TestServer, app: &App, request: &[(String, String)]) -> Answer {
    let form: Vec<(&str, &str)> = request
        .iter()
        .filter(|(name, _)| name != "client_id")
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    launch::post(server, app, "/oauth/par", &form).await
}

fn pushed(app: &App, answer: &Answer) -> Vec<(String, String)> {
    let uri = answer.json().str("request_uri").expect("a request_uri").to_owned();
    vec![("client_id".to_owned(), app.id.clone()), ("request_uri".to_owned(), uri)]
}

async fn par_a_pushed_request_can_be_launched_once(server: TestServer) {
    let account = seed(&server).await;
    for kind in ["public", "confidential"] {
        let app = add_app(&server, kind);
        let answer = push(&server, &app, &request(&server, &app, SCOPE)).await.expect_status(201);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let lives: u32 =
            answer.json().get("expires_in").and_then(|it| it.as_number()?.parse().ok()).expect("expires_in");
        assert!((5..=90).contains(&lives), "{lives}");
        let named = pushed(&app, &answer);
        assert!(named[1].1.starts_with("urn:ietf:params:oauth:request_uri:"));
        let mut browser = Browser::new(&server);
        // what stands beside it is not looked at
        let mut asked = named.clone();
        asked.push(("scope".to_owned(), "user/*.cruds".to_owned()));
        let login = browser.ask(&asked).await.expect_status(200);
        let consent = browser.sign_in(&login, &account).await.expect_status(200);
        let back = launch::location(&browser.decide(&consent, "allow").await.expect_status(303));
        assert_eq!(parameter(&back, "state").as_deref(), Some("s-1"));
        let code = parameter(&back, "code").expect("a code");
        let granted = launch::read(&launch::exchange(&server, &app, &code, &[]).await.expect_status(200));
        assert_eq!(granted.scope, SCOPE);
        let again = Browser::new(&server).get(&format!("/oauth/authorize?{}", encode(&named))).await;
        assert_eq!(again.status, 400, "used: {}", again.describe());
    }
}

async fn par_what_is_pushed_is_checked_at_once(server: TestServer) {
    seed(&server).await;
    let app = add_app(&server, "public");
    let good = request(&server, &app, SCOPE);
    for (name, value, code) in [
        ("redirect_uri", Some("https://evil.example/"), "invalid_request"),
        ("redirect_uri", None, "invalid_request"),
        ("response_type", Some("token"), "unsupported_response_type"),
        ("code_challenge", None, "invalid_request"),
        ("code_challenge_method", Some("plain"), "invalid_request"),
        ("state", None, "invalid_request"),
        ("aud", Some("https://evil.example/fhir"), "invalid_target"),
        ("scope", Some("system/*.rs"), "invalid_scope"),
        ("request_uri", Some("urn:ietf:params:oauth:request_uri:x"), "invalid_request"),
    ] {
        let answer = push(&server, &app, &changed(&good, name, value)).await.expect_status(400);
        assert_eq!(error(&answer), code, "{name} {value:?}");
    }
    let twice = format!("{}&scope=x", encode(&good));
    let answer = server.anonymous().post("/oauth/par").body("application/x-www-form-urlencoded", twice).await;
    assert_eq!(error(&answer.expect_status(400)), "invalid_request");
    server.anonymous().get("/oauth/par").await.expect_status(405);
}

async fn oa_10_par_authenticates_the_client(server: TestServer) {
    let app = add_app(&server, "confidential");
    let good = request(&server, &app, SCOPE);
    let unproven = App { secret: None, ..app.clone() };
    let wrong = App { secret: Some("trk_wrong".to_owned()), ..app.clone() };
    let unknown = App { id: "nobody".to_owned(), secret: None };
    for app in [unproven, wrong, unknown] {
        assert_eq!(error(&push(&server, &app, &good).await.expect_status(401)), "invalid_client");
    }
    push(&server, &app, &good).await.expect_status(201);
    // a client that signs is let in, and told that it has no flow with a person
    let service = assertion::backend(&server);
    let form = [("redirect_uri", REDIRECT_URI), ("response_type", "code")];
    let answer = service.post(&server, "/oauth/par", &form).await.expect_status(400);
    assert_eq!(error(&answer), "invalid_request");
}

async fn oa_06_a_pushed_request_is_of_one_app_and_nothing_else(server: TestServer) {
    seed(&server).await;
    let (app, other) = (add_app(&server, "public"), add_app(&server, "public"));
    let answer = push(&server, &app, &request(&server, &app, SCOPE)).await.expect_status(201);
    let named = pushed(&app, &answer);
    let uri = named[1].1.clone();
    let handle = uri.rsplit(':').next().expect("a handle").to_owned();
    for (client, request_uri) in [
        (&other.id, uri.as_str()),
        (&app.id, handle.as_str()),
        (&app.id, "urn:ietf:params:oauth:request_uri:"),
        (&app.id, "urn:ietf:params:oauth:request_uri:trc_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        (&app.id, "https://evil.example/request"),
    ] {
        let asked = [("client_id".to_owned(), client.clone()), ("request_uri".to_owned(), request_uri.to_owned())];
        let answer = server.anonymous().get(&format!("/oauth/authorize?{}", encode(&asked))).await;
        assert_eq!(answer.status, 400, "{request_uri}");
    }
    launch::exchange(&server, &app, &handle, &[]).await.expect_status(400);
    server.anonymous().with_token(&handle).get("Patient/p1").await.expect_status(401);
    // all that took nothing from its owner
    server.anonymous().get(&format!("/oauth/authorize?{}", encode(&named))).await.expect_status(303);
}

async fn oa_33_pushing_fills_no_disk(server: TestServer) {
    let server = TestServer::start_with(server.engine(), &["--trusted-proxies", "127.0.0.1"]).await;
    let (app, proven) = (add_app(&server, "public"), add_app(&server, "confidential"));
    let good = request(&server, &app, SCOPE);
    let long = changed(&good, "id_token_hint", Some(&"x".repeat(5_000)));
    assert_eq!(error(&push(&server, &app, &long).await.expect_status(400)), "invalid_request");
    // a row that has expired is gone with the next request: its key is free again
    let key = if server.engine() == Engine::Sqlite { "X'00'" } else { "'\\x00'::bytea" };
    let expired = format!(
        "INSERT INTO pushed_request (hash, client_id, parameters, created_at, expires_at) VALUES ({key}, 'a', '', 1, 2)"
    );
    server.tamper(&expired);
    push(&server, &app, &good).await.expect_status(201);
    server.tamper(&expired);
    let form: Vec<(&str, &str)> = good.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let from = |address: String| server.anonymous().post("/oauth/par").header("x-forwarded-for", &address).form(&form);
    for host in 0..60 {
        from(format!("2001:db8:1:1::{host:x}")).await.expect_status(201);
    }
    let refused = from("2001:db8:1:1:f::1".to_owned()).await.expect_status(429);
    assert_eq!(error(&refused), "temporarily_unavailable");
    assert_eq!(refused.header("retry-after"), Some("60"));
    from("2001:db8:1:2::1".to_owned()).await.expect_status(201);
    for _ in 0..61 {
        push(&server, &proven, &request(&server, &proven, SCOPE)).await.expect_status(201);
    }
}
