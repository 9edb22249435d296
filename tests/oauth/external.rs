//! Tests of `server/src/oauth/external.rs`, with a provider that can do everything wrong.

use std::collections::HashMap;

use serde_json::json;
use tests::openid_provider::{CLIENT_ID, CLIENT_SECRET, Fault, OpenIdProvider};
use tests::{Answer, TestServer};

use crate::launch::{App, Browser, SCOPE, add_account, add_app, changed, location, parameter, request, seed};
use crate::portal::{administrator_with_key, code, send};

tests::on_both_engines!(
    a_linked_person_signs_in_at_the_hospital,
    oa_27_an_id_token_that_cannot_be_believed_signs_nobody_in,
    oa_14_a_sign_in_is_spent_once_and_by_the_browser_that_was_sent,
    somebody_whom_nobody_linked_is_told_so,
    the_record_that_the_provider_names_decides_where_it_may,
    the_provider_may_change_its_keys,
    sm_18_whoever_is_to_sign_in_anew_is_asked_to_at_the_provider,
    settings_that_make_no_provider_refuse_to_start,
    oa_25_a_provider_that_does_not_say_mfa_stands_for_one_factor,
);

/// What can be wrong, and by which words the log says so.
const FAULTS: [(Fault, &str); 13] = [
    (Fault::WrongNonce, "nonce"),
    (Fault::NoNonce, "nonce"),
    (Fault::WrongAudience, "audience"),
    (Fault::SharedAudience, "audience"),
    (Fault::WrongIssuer, "issuer"),
    (Fault::Expired, "Expired"),
    (Fault::WrongKey, "Signature verification failed"),
    (Fault::Unsigned, "Signature verification failed"),
    (Fault::PublicKeyAsSecret, "Signature verification failed"),
    (Fault::Changed, "Signature verification failed"),
    (Fault::NoToken, "there is none"),
    (Fault::OtherIssuerInAnswer, "another provider"),
    (Fault::Denied, "access_denied"),
];

/// A server behind a provider whose one person is called `h-17`, and an app.
async fn behind(server: &TestServer, further: &[&str]) -> (TestServer, OpenIdProvider, App) {
    let provider = OpenIdProvider::start("h-17").await;
    let mut arguments = vec![
        "--outbound-private",
        "true",
        "--openid-issuer",
        provider.issuer(),
        "--openid-client-id",
        CLIENT_ID,
        "--openid-client-secret",
        CLIENT_SECRET,
        "--openid-name",
        "Northside <Hospital>",
    ];
    arguments.extend(further);
    let server = TestServer::start_with(server.engine(), &arguments).await;
    seed(&server).await;
    let app = add_app(&server, "public");
    (server, provider, app)
}

fn link(server: &TestServer, issuer: &str, username: &str, subject: &str) {
    let account = ["user", "link-openid", username, "--openid-subject", subject];
    let settings = ["--openid-issuer", issuer, "--openid-client-id", CLIENT_ID];
    server.command(&[&account[..], &settings].concat());
}

/// From the sign-in page to the provider and back; the address that the provider sends the browser to.
async fn go(browser: &mut Browser<'_>, login: &Answer, server: &TestServer) -> String {
    let page = login.text();
    assert!(page.contains("Sign in with Northside &#60;Hospital&#62;"), "{page}");
    let href = page.split("href=\"").find(|part| part.starts_with("/oauth/external")).expect("a link");
    let href = href.split('"').next().unwrap_or_default();
    let sent = browser.get(href).await.expect_status(303);
    let back = server.anonymous().get(sent.header("location").expect("a Location")).await.expect_status(302);
    back.header("location").expect("a Location").to_owned()
}

async fn a_linked_person_signs_in_at_the_hospital(server: TestServer) {
    let (server, provider, app) = behind(&server, &[]).await;
    link(&server, provider.issuer(), "ada", "h-17");
    let mut browser = Browser::new(&server);
    let hinted = changed(&request(&server, &app, SCOPE), "login_hint", Some("ada@hospital.example"));
    let login = browser.ask(&hinted).await.expect_status(200);
    let before = browser.cookie().map(str::to_owned);
    let back = go(&mut browser, &login, &server).await;
    let sent = browser.get(&back).await.expect_status(303);
    assert_ne!(browser.cookie().map(str::to_owned), before, "OA-15: another session than before");
    let consent = browser.get(sent.header("location").expect("a Location")).await.expect_status(200);
    let answer = location(&browser.decide(&consent, "allow").await.expect_status(303));
    assert!(parameter(&answer, "code").is_some(), "{answer}");

    let asked = provider.requests().pop().expect("a request");
    assert_eq!(asked.get("login_hint").map(String::as_str), Some("ada@hospital.example"));
    assert_eq!(asked.get("code_challenge_method").map(String::as_str), Some("S256"));
    let callback = format!("{}/oauth/external/callback", server.origin());
    assert_eq!(asked.get("redirect_uri"), Some(&callback));
    let handle = before.unwrap_or_default();
    assert!(!asked.values().any(|value| handle.contains(value.as_str())), "the cookie is not told");
}

async fn oa_27_an_id_token_that_cannot_be_believed_signs_nobody_in(server: TestServer) {
    let (server, provider, app) = behind(&server, &[]).await;
    link(&server, provider.issuer(), "ada", "h-17");
    link(&server, provider.issuer(), "ada", "somebody-else");
    for (fault, cause) in FAULTS {
        provider.misbehave(fault);
        let mut browser = Browser::new(&server);
        let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
        let back = go(&mut browser, &login, &server).await;
        let refused = browser.get(&back).await;
        assert_eq!(refused.status, 400, "{fault:?}: {}", refused.describe());
        assert!(refused.header("set-cookie").is_none(), "{fault:?}");
        let log = server.log();
        let said = log.lines().rfind(|line| line.contains("sign-in at the other provider was refused"));
        assert!(said.is_some_and(|line| line.contains(cause)), "{fault:?}: {said:?}");
        browser.get("/portal").await.expect_status(303);
    }
    provider.misbehave(Fault::None);
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let back = go(&mut browser, &login, &server).await;
    browser.get(&back).await.expect_status(303);
}

async fn oa_14_a_sign_in_is_spent_once_and_by_the_browser_that_was_sent(server: TestServer) {
    let (server, provider, app) = behind(&server, &[]).await;
    link(&server, provider.issuer(), "ada", "h-17");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let back = go(&mut browser, &login, &server).await;

    Browser::new(&server).get(&back).await.expect_status(400);
    let mut stranger = Browser::new(&server);
    let other = stranger.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    stranger.get(&back).await.expect_status(400);
    // The stranger's own state with the code of the other: the verifier does not fit.
    let own = go(&mut stranger, &other, &server).await;
    let (mine, theirs) = (pairs(&own), pairs(&back));
    let mixed = own.replace(&mine["code"], &theirs["code"]);
    stranger.get(&mixed).await.expect_status(400);

    for changed in [back.replace("trx_", "trq_"), back.replace(&theirs["state"], "x"), format!("{back}&state=x")] {
        browser.get(&changed).await.expect_status(400);
    }
    let mut again = browser.clone();
    // The stranger's attempt used up the code, so that this one is refused: nobody gets in by it twice.
    browser.get(&back).await.expect_status(400);
    again.get(&back).await.expect_status(400);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let back = go(&mut browser, &login, &server).await;
    let mut before = browser.clone();
    browser.get(&back).await.expect_status(303);
    before.get(&back).await.expect_status(400);
    browser.get(&back).await.expect_status(400);
}

async fn somebody_whom_nobody_linked_is_told_so(server: TestServer) {
    let (server, provider, app) = behind(&server, &[]).await;
    provider.person("<b>h-99", json!({ "fhirUser": format!("{}/Patient/p1", server.fhir_base()) }));
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let back = go(&mut browser, &login, &server).await;
    let refused = browser.get(&back).await.expect_status(400);
    assert!(refused.text().contains("&#60;b&#62;h-99") && !refused.text().contains("<b>h-99"), "OA-30");
    // The same name at another provider is somebody else.
    link(&server, "https://other.example/realm", "ada", "<b>h-99");
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let back = go(&mut browser, &login, &server).await;
    browser.get(&back).await.expect_status(400);
    link(&server, provider.issuer(), "ada", "<b>h-99");
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let back = go(&mut browser, &login, &server).await;
    browser.get(&back).await.expect_status(303);
}

async fn the_record_that_the_provider_names_decides_where_it_may(server: TestServer) {
    let (server, provider, app) = behind(&server, &["--openid-fhir-user", "true"]).await;
    let base = server.fhir_base();
    for (fhir_user, status) in [
        (format!("{base}/Patient/p1"), 303),
        ("Patient/p1".to_owned(), 303),
        ("https://other.example/fhir/Patient/p1".to_owned(), 400),
        (format!("{base}/Patient/p2"), 400),
        (format!("{base}/Patient"), 400),
    ] {
        provider.person("h-1", json!({ "fhirUser": fhir_user }));
        let mut browser = Browser::new(&server);
        let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
        let back = go(&mut browser, &login, &server).await;
        assert_eq!(browser.get(&back).await.status, status, "{fhir_user}");
    }
    add_account(&server, "another", Some("Patient/p1"));
    provider.person("h-1", json!({ "fhirUser": "Patient/p1" }));
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let back = go(&mut browser, &login, &server).await;
    browser.get(&back).await.expect_status(400);
}

async fn the_provider_may_change_its_keys(server: TestServer) {
    let (server, provider, app) = behind(&server, &[]).await;
    link(&server, provider.issuer(), "ada", "h-17");
    for _ in 0..2 {
        let mut browser = Browser::new(&server);
        let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
        let back = go(&mut browser, &login, &server).await;
        browser.get(&back).await.expect_status(303);
        provider.rotate();
    }
}

async fn sm_18_whoever_is_to_sign_in_anew_is_asked_to_at_the_provider(server: TestServer) {
    let (server, provider, app) = behind(&server, &[]).await;
    link(&server, provider.issuer(), "ada", "h-17");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let back = go(&mut browser, &login, &server).await;
    browser.get(&back).await.expect_status(303);
    assert_eq!(provider.requests().pop().expect("a request").get("prompt"), None);
    let anew = changed(&request(&server, &app, SCOPE), "prompt", Some("login"));
    let login = browser.ask(&anew).await.expect_status(200);
    let back = go(&mut browser, &login, &server).await;
    let asked = provider.requests().pop().expect("a request");
    assert_eq!(asked.get("prompt").map(String::as_str), Some("login"));
    assert_eq!(asked.get("max_age").map(String::as_str), Some("0"));
    browser.get(&back).await.expect_status(303);
    // A provider that takes no notice of it.
    let login = browser.ask(&anew).await.expect_status(200);
    provider.person("h-17", json!({ "auth_time": 1_700_000_000 }));
    let back = go(&mut browser, &login, &server).await;
    browser.get(&back).await.expect_status(400);
}

async fn settings_that_make_no_provider_refuse_to_start(server: TestServer) {
    for arguments in [["--openid-issuer", "https://op.example"], ["--openid-client-id", "tributary"]] {
        let mut command = tests::program::command(&["user", "list", "--database", server.database_url()]);
        let output = command.args(arguments).current_dir(server.folder()).output().expect("it starts");
        assert!(!output.status.success(), "{arguments:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("openid-issuer") && text.contains("openid-client-id"), "{text}");
    }
    server.anonymous().get("/oauth/external").await.expect_status(404);
    server.anonymous().get("/oauth/external/callback?state=x&code=y").await.expect_status(404);
    let app = add_app(&server, "public");
    let login = Browser::new(&server).ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    assert!(!login.text().contains("/oauth/external"));
}

/// Comes in through the provider, without an app; where the browser is sent then.
async fn come_in(server: &TestServer, browser: &mut Browser<'_>) -> String {
    let sent = browser.get("/oauth/external").await.expect_status(303);
    let back = server.anonymous().get(sent.header("location").expect("a Location")).await.expect_status(302);
    let in_or_asked = browser.get(back.header("location").expect("a Location")).await.expect_status(303);
    in_or_asked.header("location").expect("a Location").trim_start_matches(server.origin()).to_owned()
}

async fn oa_25_a_provider_that_does_not_say_mfa_stands_for_one_factor(server: TestServer) {
    let (server, provider, _) = behind(&server, &[]).await;
    let (mut root, key) = administrator_with_key(&server).await;
    server.command(&["user", "billing", "root"]);
    link(&server, provider.issuer(), "root", "h-17");
    root.get("/portal/admin").await.expect_status(200);
    let pages = ["/portal/admin", "/portal/admin/audit", "/portal/billing"];
    let question = "/account/second-factor";
    for (turn, amr) in [None, Some(json!(["pwd"])), Some(json!([]))].into_iter().enumerate() {
        provider.person("h-17", amr.map_or(json!({}), |amr| json!({ "amr": amr })));
        let mut browser = Browser::new(&server);
        assert!(come_in(&server, &mut browser).await.starts_with(question));
        for page in pages {
            browser.get(page).await.expect_status(303); // nobody is signed in yet
        }
        if turn == 0 {
            send(&mut browser, question, question, &[("code", &code(&key, 1))]).await.expect_status(303);
            for page in pages {
                browser.get(page).await.expect_status(200);
            }
        }
    }
    provider.person("h-17", json!({ "amr": ["pwd", "otp", "mfa"] }));
    let mut browser = Browser::new(&server);
    assert_eq!(come_in(&server, &mut browser).await, "/portal");
    for page in pages {
        browser.get(page).await.expect_status(200);
    }
    // Without a second factor of their own they are let in, and not to these pages unless the provider asked for one.
    server.command(&["user", "add", "rita", "--admin", "--billing"]);
    link(&server, provider.issuer(), "rita", "h-18");
    for (amr, portal, status) in [(json!(["pwd"]), 200, 400), (json!(["mfa"]), 200, 200)] {
        provider.person("h-18", json!({ "amr": amr }));
        let mut browser = Browser::new(&server);
        assert_eq!(come_in(&server, &mut browser).await, "/portal");
        browser.get("/portal").await.expect_status(portal);
        for page in pages {
            assert_eq!(browser.get(page).await.status, status, "{amr} {page}");
        }
    }
}

fn pairs(url: &str) -> HashMap<String, String> {
    url::Url::parse(url).expect("a URL").query_pairs().into_owned().collect()
}
