//! Tests of `id_token`s and the keys that sign them: `server/src/oauth/keys.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fhir::json::Json;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use tests::{Answer, TestServer};

use crate::launch::{
    Account, App, Browser, add_account, add_app, changed, exchange, location, parameter, read, refresh, request, seed,
};

tests::on_both_engines!(
    sm_70_an_id_token_says_who_signed_in,
    sm_70_an_id_token_says_no_more_than_was_granted,
    sm_48_an_id_token_opens_nothing,
    sm_72_rotation_breaks_nobody,
    a_withdrawn_key_is_not_believed,
);

pub(crate) const SCOPES: &str = "openid fhirUser launch/patient patient/*.rs offline_access";

/// A whole launch with a nonce: the answer of the token endpoint.
pub(crate) async fn launched(server: &TestServer, app: &App, account: &Account, scope: &str) -> Answer {
    let asked = changed(&request(server, app, scope), "nonce", Some("n-0S6_WzA2Mj ü"));
    let mut browser = Browser::new(server);
    let login = browser.ask(&asked).await.expect_status(200);
    let consent = browser.sign_in(&login, account).await.expect_status(200);
    let back = location(&browser.decide(&consent, "allow").await.expect_status(303));
    let code = parameter(&back, "code").unwrap_or_else(|| panic!("no code: {back}"));
    exchange(server, app, &code, &[]).await.expect_status(200)
}

pub(crate) fn id_token(answer: &Answer) -> String {
    answer.json().str("id_token").unwrap_or_else(|| panic!("no id_token: {}", answer.describe())).to_owned()
}

pub(crate) fn part(token: &str, index: usize) -> Json {
    let part = token.split('.').nth(index).expect("three parts");
    Json::parse(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

fn number(json: &Json, name: &str) -> i64 {
    let number = json.get(name).and_then(Json::as_number);
    number.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no {name} in {json}"))
}

async fn jwks(server: &TestServer) -> Json {
    let configuration = server.anonymous().get("/.well-known/openid-configuration").await.expect_status(200).json();
    server.anonymous().get(configuration.str("jwks_uri").expect("jwks_uri")).await.expect_status(200).json()
}

/// As an app does it: the key of that name in the published set, and nothing else.
async fn is_verified(server: &TestServer, token: &str) -> bool {
    let set = jwks(server).await;
    let kid = part(token, 0).str("kid").map(str::to_owned);
    let Some(key) = set.list("keys").iter().find(|key| key.str("kid") == kid.as_deref()) else { return false };
    let number = |name: &str| URL_SAFE_NO_PAD.decode(key.str(name).expect("a number")).expect("base64url");
    let key = RsaPublicKeyComponents { n: number("n"), e: number("e") };
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    key.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature).is_ok()
}

async fn sm_70_an_id_token_says_who_signed_in(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let answer = launched(&server, &app, &account, SCOPES).await;
    let token = id_token(&answer);
    assert!(is_verified(&server, &token).await);
    let (header, claims) = (part(&token, 0), part(&token, 1));
    assert_eq!(header.str("alg"), Some("RS256"));
    assert_eq!(claims.str("iss"), Some(server.origin()));
    assert_eq!(claims.str("aud"), Some(app.id.as_str()));
    assert_eq!(claims.str("nonce"), Some("n-0S6_WzA2Mj ü"));
    assert_eq!(number(&claims, "exp") - number(&claims, "iat"), 3600);
    assert!((0..60).contains(&(number(&claims, "iat") - number(&claims, "auth_time"))), "{claims}");
    let fhir_user = claims.str("fhirUser").expect("fhirUser");
    assert_eq!(fhir_user, format!("{}/Patient/p1", server.fhir_base()));
    let client = server.anonymous().with_token(&read(&answer).access);
    client.get(fhir_user).await.expect_status(200);

    let subject = claims.str("sub").expect("sub");
    assert!(!subject.is_empty() && subject.len() <= 255 && !subject.contains("ada"), "{subject}");
    let again = launched(&server, &add_app(&server, "confidential"), &account, SCOPES).await;
    assert_eq!(part(&id_token(&again), 1).str("sub"), Some(subject), "the same person has the same name");
    let other = add_account(&server, "charles", Some("Patient/p2"));
    let other = launched(&server, &app, &other, SCOPES).await;
    assert_ne!(part(&id_token(&other), 1).str("sub"), Some(subject));
}

async fn sm_70_an_id_token_says_no_more_than_was_granted(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let none = launched(&server, &app, &account, "launch/patient patient/*.rs").await;
    assert!(none.json().get("id_token").is_none());
    let quiet = launched(&server, &app, &account, "openid launch/patient patient/*.rs").await;
    let claims = part(&id_token(&quiet), 1);
    assert!(claims.get("fhirUser").is_none() && claims.get("profile").is_none(), "{claims}");
}

async fn sm_48_an_id_token_opens_nothing(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let answer = launched(&server, &app, &account, SCOPES).await;
    let token = id_token(&answer);
    let client = server.anonymous().with_token(&token);
    for path in ["Patient/p1", "/oauth/userinfo"] {
        let refused = client.get(path).await.expect_status(401);
        assert!(refused.header("www-authenticate").is_some_and(|it| it.contains("invalid_token")), "{path}");
    }
    refresh(&server, &app, &token, None).await.expect_status(400);
    exchange(&server, &app, &token, &[]).await.expect_status(400);
}

async fn sm_72_rotation_breaks_nobody(mut server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let first = launched(&server, &app, &account, SCOPES).await;
    let old = id_token(&first);
    let kid = |token: &str| part(token, 0).str("kid").expect("kid").to_owned();

    server.command(&["key", "rotate"]);
    assert_eq!(jwks(&server).await.list("keys").len(), 2, "the next key is published …");
    let still = id_token(&launched(&server, &app, &account, SCOPES).await);
    assert_eq!(kid(&still), kid(&old), "… and signs nothing yet");

    let listed = server.command(&["key", "rotate", "--now"]);
    assert!(listed.lines().any(|line| line.contains("\tactive\t")), "{listed}");
    let new = id_token(&launched(&server, &app, &account, SCOPES).await);
    assert_ne!(kid(&new), kid(&old));
    for token in [&old, &still, &new] {
        assert!(is_verified(&server, token).await);
    }
    let renewed = refresh(&server, &app, &read(&first).refresh, None).await.expect_status(200);
    server.anonymous().with_token(&read(&renewed).access).get("Patient/p1").await.expect_status(200);

    server.restart().await;
    assert!(is_verified(&server, &old).await && is_verified(&server, &new).await);
    let renewed = refresh(&server, &app, &read(&renewed).refresh, None).await.expect_status(200);
    if let Some(token) = renewed.json().str("id_token") {
        assert!(is_verified(&server, token).await);
        assert_eq!(part(token, 1).str("sub"), part(&old, 1).str("sub"));
    }
}

async fn a_withdrawn_key_is_not_believed(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let old = id_token(&launched(&server, &app, &account, SCOPES).await);
    let kid = part(&old, 0).str("kid").expect("kid").to_owned();
    server.command(&["key", "withdraw", &kid]);
    assert!(!is_verified(&server, &old).await);
    let new = id_token(&launched(&server, &app, &account, SCOPES).await);
    assert!(is_verified(&server, &new).await);
    assert!(!server.command(&["key", "list"]).contains(&kid));
}
