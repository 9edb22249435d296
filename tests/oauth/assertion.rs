//! Clients that prove who they are with a signature: `server/src/oauth/authenticate.rs` and
//! `server/src/oauth/client_keys.rs`.

use std::sync::Arc;
use std::time::Duration;

use fhir::json::Json;
use tests::signer::{ASSERTION_TYPE, KeyServer, Signer, encode, key_set, now, unique};
use tests::{Answer, TestServer};

use crate::launch::{self, REDIRECT_URI, SCOPE, VERIFIER, error, parameter, seed};

tests::on_both_engines!(
    sm_62_single_faults_are_refused,
    sm_62_rs384_and_es384_are_accepted,
    sm_63_an_assertion_counts_once,
    sm_60_each_client_has_one_method,
    sm_65_keys_at_an_address_are_fetched_and_kept_as_allowed,
    sm_65_what_is_no_key_set_opens_nothing,
    sm_66_an_assertion_is_for_one_endpoint,
    sm_46_sm_67_a_backend_service_gets_a_short_token_for_its_own_scopes,
    sm_53_a_confidential_app_signs_at_every_step,
);

/// A client that signs.
#[derive(Debug)]
pub(crate) struct Signing {
    pub(crate) id: String,
    pub(crate) signer: Signer,
}

/// A registered backend service with a key of its own.
pub(crate) fn backend(server: &TestServer) -> Signing {
    add(server, Signer::es384("k1"), &["--kind", "backend"])
}

/// A registered client with that key.
pub(crate) fn add(server: &TestServer, signer: Signer, arguments: &[&str]) -> Signing {
    let file = format!("keys-{}.json", unique());
    std::fs::write(server.folder().join(&file), key_set(&[&signer])).expect("the folder is writable");
    let mut all = vec!["client", "add", "--name", "Lab Bridge", "--json", "--jwks", &file];
    all.extend(arguments);
    Signing { id: client_id(&server.command(&all)), signer }
}

fn client_id(printed: &str) -> String {
    let added = Json::parse(printed.trim().as_bytes()).expect("JSON");
    added.str("client_id").expect("a client_id").to_owned()
}

impl Signing {
    /// A form with an assertion for that endpoint.
    pub(crate) async fn post(&self, server: &TestServer, path: &str, form: &[(&str, &str)]) -> Answer {
        let assertion = self.signer.assertion(&self.id, &format!("{}{path}", server.origin()));
        present(server, path, &assertion, form).await
    }

    /// An access token for these scopes.
    pub(crate) async fn token(&self, server: &TestServer, scope: &str) -> Answer {
        self.post(server, "/oauth/token", &[("grant_type", "client_credentials"), ("scope", scope)]).await
    }
}

async fn present(server: &TestServer, path: &str, assertion: &str, form: &[(&str, &str)]) -> Answer {
    let mut form = form.to_vec();
    form.extend([("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)]);
    server.anonymous().post(path).form(&form).await
}

const CREDENTIALS: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("scope", "system/*.rs")];

async fn ask(server: &TestServer, assertion: &str) -> Answer {
    present(server, "/oauth/token", assertion, &CREDENTIALS).await
}

/// Header and claims without fault, one of whose members can be replaced.
struct Draft {
    header: Vec<(&'static str, String)>,
    claims: Vec<(&'static str, String)>,
}

impl Draft {
    fn new(server: &TestServer, client: &Signing) -> Self {
        let quoted = |text: &str| format!("\"{text}\"");
        Draft {
            header: vec![
                ("alg", quoted(client.signer.algorithm())),
                ("kid", quoted(&client.signer.kid)),
                ("typ", quoted("JWT")),
            ],
            claims: vec![
                ("iss", quoted(&client.id)),
                ("sub", quoted(&client.id)),
                ("aud", quoted(&format!("{}/oauth/token", server.origin()))),
                ("exp", (now() + 240).to_string()),
                ("jti", quoted(&unique())),
            ],
        }
    }

    fn with(mut self, place: Place, name: &'static str, value: &str) -> Self {
        let members = if place == Place::Header { &mut self.header } else { &mut self.claims };
        if place != Place::Twice {
            members.retain(|(other, _)| *other != name);
        }
        if !value.is_empty() {
            members.push((name, value.to_owned()));
        }
        self
    }

    fn parts(&self) -> (String, String) {
        let text = |members: &[(&str, String)]| {
            let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        };
        (text(&self.header), text(&self.claims))
    }

    fn sign(&self, signer: &Signer) -> String {
        let (header, claims) = self.parts();
        signer.sign(&header, &claims)
    }
}

/// Where a fault is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Header,
    Claims,
    /// A second claim of that name.
    Twice,
}

/// Each has one fault; everything else of the request is as it should be.
fn faults(origin: &str) -> Vec<(Place, &'static str, String)> {
    use Place::{Claims, Header, Twice};
    let token = format!("{origin}/oauth/token");
    let mut faults: Vec<(Place, &'static str, String)> = Vec::new();
    let mut add = |place, name, values: &[&str]| {
        faults.extend(values.iter().map(|value| (place, name, (*value).to_owned())));
    };
    add(Header, "alg", &["", "\"none\"", "\"None\"", "\"HS384\"", "\"RS384\"", "\"ES256\"", "\"PS384\"", "1"]);
    add(Header, "kid", &["", "\"\"", "\"unknown\"", "1", "\"../../k1\"", "\"k1' OR '1'='1\""]);
    add(Header, "typ", &["", "\"at+jwt\"", "1"]);
    add(Header, "jku", &["\"https://good.example.evil/jwks.json\"", "1"]);
    add(Header, "jwk", &["{}"]);
    add(Header, "x5u", &["\"https://evil.example/x\""]);
    add(Header, "crit", &["[\"exp\"]"]);
    add(Header, "b64", &["false"]);
    add(Header, "enc", &["\"A256GCM\""]);
    add(Header, "cty", &["\"JWT\""]);
    add(Claims, "iss", &["", "\"other\"", "[\"other\"]"]);
    add(Claims, "sub", &["", "\"other\"", "1"]);
    add(Claims, "aud", &["", "1", "[]", "\"https://evil.example/token\""]);
    let stranger = format!("[\"{token}\",\"https://evil.example\"]");
    add(Claims, "aud", &[&stranger, &format!("\"{token}/\""), &format!("\"{origin}/oauth/par\"")]);
    let (past, late) = ((now() - 1).to_string(), (now() + 400).to_string());
    add(Claims, "exp", &["", &past, &late, "9223372036854775808", &format!("\"{}\"", now() + 60)]);
    add(Claims, "exp", &[&format!("{}.5", now() + 60), "null"]);
    add(Claims, "nbf", &[&(now() + 200).to_string()]);
    add(Claims, "iat", &[&(now() + 200).to_string()]);
    add(Claims, "jti", &["", "\"\"", "1"]);
    add(Twice, "jti", &["\"second\""]);
    add(Twice, "sub", &["\"second\""]);
    faults
}

async fn sm_62_single_faults_are_refused(server: TestServer) {
    let (client, stranger) = (backend(&server), backend(&server));
    ask(&server, &Draft::new(&server, &client).sign(&client.signer)).await.expect_status(200);
    let mut refused = 0;
    for (place, name, value) in faults(server.origin()) {
        let assertion = Draft::new(&server, &client).with(place, name, &value).sign(&client.signer);
        let answer = ask(&server, &assertion).await;
        assert_eq!((answer.status, error(&answer).as_str()), (401, "invalid_client"), "{name} {value}");
        refused += 1;
    }
    let good = || Draft::new(&server, &client).sign(&client.signer);
    let cut = |text: &str, by: usize| text[..text.len() - by].to_owned();
    let (header, claims) = Draft::new(&server, &client).parts();
    let unsigned = format!("{}.{}.", encode(header.replace("ES384", "none")), encode(&claims));
    let padded = format!("{}.{}.{}", encode(&header), encode(&claims), "A".repeat(20_000));
    for (what, assertion) in [
        ("another client's key", Draft::new(&server, &client).sign(&stranger.signer)),
        ("no signature", unsigned),
        ("cut", cut(&good(), 1)),
        ("nothing", "x".to_owned()),
        ("trailing garbage", format!("{}.x", good())),
        ("padding", format!("{}=", good())),
        ("a nested token", client.signer.sign(&header, &good())),
        ("five parts", format!("{0}.{0}.{0}.{0}.{0}", encode("{}"))),
        ("long", padded),
        ("an unknown client", client.signer.assertion("nobody", &format!("{}/oauth/token", server.origin()))),
    ] {
        let answer = ask(&server, &assertion).await;
        assert_eq!((answer.status, error(&answer).as_str()), (401, "invalid_client"), "{what}");
        refused += 1;
    }
    for (what, form) in [
        (
            "an unknown type",
            vec![("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer")],
        ),
        ("no type", vec![]),
        ("another client_id", vec![("client_assertion_type", ASSERTION_TYPE), ("client_id", "other")]),
        ("a secret beside it", vec![("client_assertion_type", ASSERTION_TYPE), ("client_secret", "x")]),
        ("two assertions", vec![("client_assertion_type", ASSERTION_TYPE), ("client_assertion", "x")]),
    ] {
        let assertion = good();
        let mut form = form;
        form.extend(CREDENTIALS);
        form.push(("client_assertion", &assertion));
        let answer = server.anonymous().post("/oauth/token").form(&form).await;
        assert!(matches!(answer.status, 400 | 401), "{what}: {}", answer.describe());
        assert!(matches!(error(&answer).as_str(), "invalid_client" | "invalid_request"), "{what}");
        refused += 1;
    }
    assert!(refused >= 60, "{refused} faults");
    ask(&server, &good()).await.expect_status(200);
}

async fn sm_62_rs384_and_es384_are_accepted(server: TestServer) {
    for signer in [Signer::rs384("r"), Signer::es384("e")] {
        let client = add(&server, signer, &["--kind", "backend"]);
        client.token(&server, "system/*.rs").await.expect_status(200);
        let wide = format!("[\"{}/oauth/token\"]", server.origin());
        let listed = Draft::new(&server, &client).with(Place::Claims, "aud", &wide).sign(&client.signer);
        ask(&server, &listed).await.expect_status(200);
    }
}

async fn sm_63_an_assertion_counts_once(mut server: TestServer) {
    let (client, other) = (backend(&server), backend(&server));
    let draft = Draft::new(&server, &client).with(Place::Claims, "jti", "\"once\"");
    let assertion = draft.sign(&client.signer);
    let shared = Arc::new(server);
    let attempts: Vec<_> = (0..16)
        .map(|_| {
            let (server, assertion) = (shared.clone(), assertion.clone());
            tokio::spawn(async move { ask(&server, &assertion).await.status })
        })
        .collect();
    let mut statuses = Vec::new();
    for attempt in attempts {
        statuses.push(attempt.await.expect("answered"));
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 401)), "{statuses:?}");
    server = Arc::into_inner(shared).expect("all attempts have ended");
    server.restart().await; // kill -9
    ask(&server, &assertion).await.expect_status(401);
    let again = draft.with(Place::Claims, "exp", &(now() + 200).to_string()).sign(&client.signer);
    ask(&server, &again).await.expect_status(401);
    let same = Draft::new(&server, &other).with(Place::Claims, "jti", "\"once\"").sign(&other.signer);
    ask(&server, &same).await.expect_status(200);
}

async fn sm_60_each_client_has_one_method(server: TestServer) {
    let (secret, signing) = (launch::add_app(&server, "confidential"), backend(&server));
    let token = format!("{}/oauth/token", server.origin());
    let assertion = signing.signer.assertion(&secret.id, &token);
    assert_eq!(error(&ask(&server, &assertion).await.expect_status(401)), "invalid_client");
    for other in [None, Some("trk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned())] {
        let app = launch::App { id: signing.id.clone(), secret: other };
        let answer = launch::post(&server, &app, "/oauth/token", &CREDENTIALS).await.expect_status(401);
        assert_eq!(error(&answer), "invalid_client");
    }
    let mut command = tests::program::command(&["client", "add", "--name", "B", "--kind", "backend"]);
    command.args(["--database", server.database_url()]).current_dir(server.folder());
    let refused = command.output().expect("starts");
    assert!(!refused.status.success(), "a backend service without keys");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("keys"));
}

fn add_at(server: &TestServer, address: &str) -> String {
    let arguments = ["client", "add", "--name", "At", "--kind", "backend", "--json", "--outbound-private=true"];
    client_id(&server.command(&[&arguments[..], &["--jwks-url", address]].concat()))
}

async fn sm_65_keys_at_an_address_are_fetched_and_kept_as_allowed(server: TestServer) {
    let server = TestServer::start_with(server.engine(), &["--outbound-private=true"]).await;
    let (first, second, third) = (Signer::es384("k1"), Signer::es384("k2"), Signer::rs384("k3"));
    let keys = KeyServer::start(&key_set(&[&first]), "Cache-Control: max-age=2\r\n").await;
    let id = add_at(&server, keys.address());
    let token = format!("{}/oauth/token", server.origin());
    let jku = |jku: &str| {
        let header = first.header().replace("\"typ\"", &format!("\"jku\":\"{jku}\",\"typ\""));
        let (exp, jti) = (now() + 60, unique());
        let claims = format!(r#"{{"iss":"{id}","sub":"{id}","aud":"{token}","exp":{exp},"jti":"{jti}"}}"#);
        first.sign(&header, &claims)
    };
    ask(&server, &jku(keys.address())).await.expect_status(200);
    ask(&server, &jku(&format!("{}?", keys.address()))).await.expect_status(401);
    for _ in 0..5 {
        ask(&server, &first.assertion(&id, &token)).await.expect_status(200);
    }
    assert!(keys.requests() <= 2, "{} requests", keys.requests());
    // replaced: the old key is refused as soon as the answer is too old
    keys.publish(&key_set(&[&second]), "Cache-Control: max-age=3600\r\n");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    ask(&server, &first.assertion(&id, &token)).await.expect_status(401);
    ask(&server, &second.assertion(&id, &token)).await.expect_status(200);
    // added: a key that is not known is looked for once more, but not more often than every few seconds
    keys.publish(&key_set(&[&second, &third]), "Cache-Control: max-age=3600\r\n");
    let before = keys.requests();
    for _ in 0..5 {
        ask(&server, &Signer::es384("k9").assertion(&id, &token)).await.expect_status(401);
    }
    assert!(keys.requests() <= before + 1, "{} requests more", keys.requests() - before);
    tokio::time::sleep(Duration::from_millis(5100)).await;
    ask(&server, &third.assertion(&id, &token)).await.expect_status(200);
}

async fn sm_65_what_is_no_key_set_opens_nothing(server: TestServer) {
    let open = TestServer::start_with(server.engine(), &["--outbound-private=true"]).await;
    let signer = Signer::es384("k1");
    let good = key_set(&[&signer]);
    let keys = KeyServer::start(&good, "").await;
    let large = format!("{}{}", " ".repeat(200_000), good);
    let private = good.replace("\"kty\"", "\"d\":\"AA\",\"kty\"");
    let elsewhere = KeyServer::start(&good, "").await;
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", elsewhere.address());
    let plain = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    for (what, answer) in [
        ("too large", plain(&large)),
        ("a private key", plain(&private)),
        ("no JSON", plain("<html>")),
        ("no keys", plain("{\"keys\":[]}")),
        ("a redirect", redirect),
        ("an error", "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("nothing", String::new()),
    ] {
        keys.answer_with(&answer);
        let id = add_at(&open, &format!("{}?{}", keys.address(), what.replace(' ', "-")));
        let assertion = signer.assertion(&id, &format!("{}/oauth/token", open.origin()));
        assert_eq!(error(&ask(&open, &assertion).await.expect_status(401)), "invalid_client", "{what}");
    }
    assert_eq!(elsewhere.requests(), 0, "redirects are not followed");
    // without the setting nobody on this machine is asked
    keys.publish(&good, "");
    let id = add_at(&server, keys.address());
    let before = keys.requests();
    ask(&server, &signer.assertion(&id, &format!("{}/oauth/token", server.origin()))).await.expect_status(401);
    assert_eq!(keys.requests(), before);
}

async fn sm_66_an_assertion_is_for_one_endpoint(server: TestServer) {
    let client = backend(&server);
    let (issuer, token) = (server.origin(), format!("{}/oauth/token", server.origin()));
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        let own = format!("{issuer}{path}");
        for (audience, status) in [(issuer, 200), (&own, 200), (&token, 401), (&format!("{issuer}/"), 401)] {
            let assertion = client.signer.assertion(&client.id, audience);
            let answer = present(&server, path, &assertion, &[("token", "x")]).await;
            assert_eq!(answer.status, status, "{path} {audience}");
        }
    }
    ask(&server, &client.signer.assertion(&client.id, issuer)).await.expect_status(200);
    ask(&server, &client.signer.assertion(&client.id, &format!("{issuer}/oauth/revoke"))).await.expect_status(401);
}

async fn sm_46_sm_67_a_backend_service_gets_a_short_token_for_its_own_scopes(server: TestServer) {
    seed(&server).await;
    let client = backend(&server);
    let answer = client.token(&server, "system/Patient.rs patient/*.rs offline_access").await.expect_status(200);
    let body = answer.json();
    assert_eq!(body.str("scope"), Some("system/Patient.rs"));
    assert_eq!(body.get("expires_in").and_then(Json::as_number), Some("300"), "SM-46");
    assert!(body.get("refresh_token").is_none() && body.get("id_token").is_none(), "SM-46");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "SM-45");
    let reader = server.anonymous().with_token(body.str("access_token").expect("a token"));
    assert_eq!(reader.matches("Patient").await.len(), 2);
    reader.get("Observation").await.expect_status(403);
    assert_eq!(error(&client.token(&server, "patient/*.rs").await.expect_status(400)), "invalid_scope");
    assert_eq!(error(&client.token(&server, "").await.expect_status(400)), "invalid_scope");
    server.command(&["client", "disable", &client.id]);
    reader.get("Patient").await.expect_status(401);
    assert_eq!(error(&client.token(&server, "system/*.rs").await.expect_status(401)), "invalid_client");
}

async fn sm_53_a_confidential_app_signs_at_every_step(server: TestServer) {
    let account = seed(&server).await;
    let client = add(&server, Signer::es384("k1"), &["--kind", "confidential", "--redirect-uri", REDIRECT_URI]);
    let app = launch::App { id: client.id.clone(), secret: None };
    let back = launch::launch(&server, &app, &account, SCOPE).await;
    let code = parameter(&back, "code").expect("a code");
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    launch::post(&server, &app, "/oauth/token", &form).await.expect_status(401);
    let granted = launch::read(&client.post(&server, "/oauth/token", &form).await.expect_status(200));
    let form = [("grant_type", "refresh_token"), ("refresh_token", granted.refresh.as_str())];
    launch::post(&server, &app, "/oauth/token", &form).await.expect_status(401);
    let renewed = launch::read(&client.post(&server, "/oauth/token", &form).await.expect_status(200));
    server.anonymous().with_token(&renewed.access).get("Patient/p1").await.expect_status(200);
    let form = [("token", renewed.refresh.as_str())];
    client.post(&server, "/oauth/revoke", &form).await.expect_status(200);
    server.anonymous().with_token(&renewed.access).get("Patient/p1").await.expect_status(401);
}
