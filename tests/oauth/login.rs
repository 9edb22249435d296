//! Tests of `server/src/oauth/login.rs`.

use fhir::json::Json;
use tests::{Answer, TestServer};

use crate::launch::{
    Account, App, Browser, SCOPE, add_account, add_app, changed, exchange, fields, location, parameter, read, refresh,
    request, seed,
};

tests::on_both_engines!(
    oa_15_the_session_is_another_after_signing_in,
    oa_14_a_form_without_its_token_or_cookie_is_refused,
    oa_21_unknown_user_and_wrong_password_look_the_same,
    oa_20_guessing_is_slowed_down,
    oa_20_guessing_at_once_is_slowed_down,
    oa_20_a_network_of_ipv6_is_one_guesser,
    oa_20_guessing_elsewhere_locks_nobody_out,
    oa_20_all_guesses_together_are_bounded,
    sm_18_login_hint_fills_in_the_name_and_proves_nothing,
    sm_18_prompt_and_max_age_decide_who_signs_in_anew,
    sm_18_prompt_none_shows_no_page,
    sm_18_an_id_token_hint_says_whose_session_is_meant,
    sm_52_online_access_ends_with_the_session,
);

async fn oa_15_the_session_is_another_after_signing_in(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let mut before = browser.clone();
    browser.sign_in(&login, &account).await.expect_status(200);
    assert_ne!(before.cookie(), browser.cookie());
    let mut again = fields(&login.text());
    again.extend([("username".to_owned(), account.username), ("password".to_owned(), account.password)]);
    before.post("/oauth/login", &again).await.expect_status(400);
}

async fn oa_14_a_form_without_its_token_or_cookie_is_refused(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let mut form = fields(&login.text());
    form.extend([("username".to_owned(), account.username), ("password".to_owned(), account.password)]);

    Browser::new(&server).post("/oauth/login", &form).await.expect_status(400);
    let without: Vec<_> = form.iter().filter(|(name, _)| name != "form_token").cloned().collect();
    browser.post("/oauth/login", &without).await.expect_status(400);
    let mut stranger = Browser::new(&server);
    stranger.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    stranger.post("/oauth/login", &form).await.expect_status(400);
    browser.post("/oauth/login", &form).await.expect_status(303);
}

async fn oa_21_unknown_user_and_wrong_password_look_the_same(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let mut shown = Vec::new();
    for username in [account.username.as_str(), "mallory"] {
        let mut browser = Browser::new(&server);
        let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
        let mut form = fields(&login.text());
        form.extend([("username".to_owned(), username.to_owned()), ("password".to_owned(), "wrong".to_owned())]);
        let answer = browser.post("/oauth/login", &form).await.expect_status(401);
        shown.push(form.iter().fold(answer.text(), |page, (_, value)| page.replace(value.as_str(), "…")));
    }
    assert_eq!(shown[0], shown[1]);
}

async fn oa_20_guessing_is_slowed_down(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let attempt = |account: &Account, password: &str| {
        let mut form = fields(&login.text());
        form.extend([("username".to_owned(), account.username.clone()), ("password".to_owned(), password.to_owned())]);
        form
    };
    for _ in 0..5 {
        browser.post("/oauth/login", &attempt(&account, "wrong")).await.expect_status(401);
    }
    browser.post("/oauth/login", &attempt(&account, &account.password)).await.expect_status(429);
}

async fn oa_20_guessing_at_once_is_slowed_down(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let mut form = fields(&login.text());
    form.extend([("username".to_owned(), account.username), ("password".to_owned(), "wrong".to_owned())]);
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let cookie = browser.cookie().expect("a session");
    let attempts: Vec<_> = (0..32)
        .map(|_| {
            let call = server.anonymous().post("/oauth/login").header("cookie", cookie).form(&form);
            tokio::spawn(async move { call.await.status })
        })
        .collect();
    let mut looked_at = 0;
    for attempt in attempts {
        looked_at += usize::from(attempt.await.expect("answered") == 401);
    }
    assert_eq!(looked_at, 5);
}

/// A server that believes what addresses its tests say they come from.
async fn behind_a_proxy(server: &TestServer) -> TestServer {
    TestServer::start_with(server.engine(), &["--trusted-proxies", "127.0.0.1"]).await
}

/// What somebody at an address is answered who types a name and a password.
async fn typed(server: &TestServer, from: &str, username: &str, password: &str) -> u16 {
    let body = fhir::object! { "username": username, "password": password };
    let call = server.anonymous().post("/oauth/token").header("x-forwarded-for", from);
    call.body("application/json", body.to_string()).await.status
}

async fn oa_20_a_network_of_ipv6_is_one_guesser(server: TestServer) {
    let server = behind_a_proxy(&server).await;
    let ada = add_account(&server, "ada", None);
    for host in 1..=5 {
        assert_eq!(typed(&server, &format!("2001:db8:1:1::{host}"), "ada", "wrong").await, 401, "{host}");
    }
    assert_eq!(typed(&server, "2001:db8:1:1:ffff::1", "ada", &ada.password).await, 429, "one account");
    for host in 6..=20 {
        let name = format!("name-{host}");
        assert_eq!(typed(&server, &format!("2001:db8:1:1::{host}"), &name, "wrong").await, 401, "{host}");
    }
    assert_eq!(typed(&server, "2001:db8:1:1::beef", "another", "wrong").await, 429, "many accounts");
    assert_eq!(typed(&server, "2001:db8:1:2::1", "ada", &ada.password).await, 200, "another network");
    // the same of what else is counted by where it comes from
    let count = |subject: &str| format!("INSERT INTO login_failure (subject, at) VALUES ('{subject}', {})", now());
    for _ in 0..10 {
        server.tamper(&count("sign-up:2001:db8:1:1::"));
    }
    let from = ("x-forwarded-for", "2001:db8:1:1::77");
    let page = server.anonymous().get("/account/sign-up").header(from.0, from.1).await.expect_status(200);
    let cookie = page.header("set-cookie").and_then(|it| it.split(';').next()).expect("a cookie").to_owned();
    let mut form = fields(&page.text());
    let pairs = [("username", "dev"), ("name", "Dev"), ("purpose", "work"), ("password", "a calm river runs deep")];
    form.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (address, status) in [("2001:db8:1:1::77", 429), ("2001:db8:1:2::77", 303)] {
        let call = server.anonymous().post("/account/sign-up").header("cookie", &cookie);
        call.header(from.0, address).form(&form).await.expect_status(status);
    }
}

async fn oa_20_guessing_elsewhere_locks_nobody_out(server: TestServer) {
    let server = behind_a_proxy(&server).await;
    let ada = add_account(&server, "ada", None);
    let home = "198.51.100.7";
    for _ in 0..5 {
        assert_eq!(typed(&server, "203.0.113.1", "ada", "wrong").await, 401);
    }
    assert_eq!(typed(&server, "203.0.113.1", "ada", &ada.password).await, 429);
    assert_eq!(typed(&server, home, "ada", &ada.password).await, 200, "she is not who guesses");
    for network in 2..=6 {
        for _ in 0..5 {
            assert_eq!(typed(&server, &format!("203.0.113.{network}"), "ada", "wrong").await, 401, "{network}");
        }
    }
    assert_eq!(typed(&server, "203.0.113.7", "ada", "wrong").await, 429, "from many networks");
    assert_eq!(typed(&server, "203.0.113.7", "charles", "wrong").await, 401, "others are not meant");
    assert_eq!(typed(&server, home, "ada", &ada.password).await, 200, "from where she signed in before");
    for _ in 0..5 {
        assert_eq!(typed(&server, home, "ada", "wrong").await, 401);
    }
    assert_eq!(typed(&server, home, "ada", &ada.password).await, 429, "from there it is slowed down too");
}

async fn oa_20_all_guesses_together_are_bounded(server: TestServer) {
    let server = behind_a_proxy(&server).await;
    let ada = add_account(&server, "ada", None);
    assert_eq!(typed(&server, "198.51.100.7", "ada", &ada.password).await, 200);
    server.tamper(&format!(
        "WITH RECURSIVE guess (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM guess WHERE n < 1200)
         INSERT INTO login_failure (subject, at) SELECT 'passwords', {} FROM guess",
        now()
    ));
    assert_eq!(typed(&server, "203.0.113.1", "ada", "wrong").await, 429);
    assert_eq!(typed(&server, "203.0.113.2", "charles", "wrong").await, 429);
    assert_eq!(typed(&server, "198.51.100.7", "ada", &ada.password).await, 200, "from where she signed in before");
}

/// Microseconds since 1970.
fn now() -> u128 {
    std::time::UNIX_EPOCH.elapsed().expect("it is later than 1970").as_micros()
}

async fn sm_18_login_hint_fills_in_the_name_and_proves_nothing(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let faultless = request(&server, &app, SCOPE);
    let hinted = changed(&faultless, "login_hint", Some("ada"));
    let mut browser = Browser::new(&server);
    let login = browser.ask(&hinted).await.expect_status(200);
    assert!(login.text().contains("value=\"ada\""), "{}", login.text());
    let mut form = fields(&login.text());
    form.extend([("username".to_owned(), "ada".to_owned()), ("password".to_owned(), String::new())]);
    browser.post("/oauth/login", &form).await.expect_status(401);
    browser.sign_in(&login, &account).await.expect_status(200);

    let script = changed(&faultless, "login_hint", Some("\"><script>alert(1)</script>"));
    let login = Browser::new(&server).ask(&script).await.expect_status(200);
    assert!(!login.text().contains("<script>"), "OA-30");
}

/// Whether the person is asked for a password.
fn asks_to_sign_in(page: &Answer) -> bool {
    page.text().contains("type=\"password\"")
}

async fn sm_18_prompt_and_max_age_decide_who_signs_in_anew(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let faultless = request(&server, &app, "openid launch/patient patient/*.rs");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&faultless).await.expect_status(200);
    let consent = browser.sign_in(&login, &account).await.expect_status(200);
    let first = auth_time(&server, &app, &browser.decide(&consent, "allow").await).await;

    assert!(!asks_to_sign_in(&browser.ask(&faultless).await), "one sign-in is enough for a while");
    let old = changed(&faultless, "max_age", Some("3600"));
    assert!(!asks_to_sign_in(&browser.ask(&old).await));
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    for (name, value) in [("max_age", "1"), ("prompt", "login"), ("max_age", "0"), ("prompt", "select_account")] {
        let login = browser.ask(&changed(&faultless, name, Some(value))).await.expect_status(200);
        assert!(asks_to_sign_in(&login), "{name}={value}");
        // Nobody gets past by going to consent with the old session.
        let handle = fields(&login.text()).into_iter().find(|(name, _)| name == "request").expect("a handle").1;
        let sent = browser.get(&format!("/oauth/consent?request={handle}")).await.expect_status(303);
        assert!(sent.header("location").is_some_and(|it| it.contains("/oauth/login")), "{name}={value}");
        let consent = browser.sign_in(&login, &account).await.expect_status(200);
        let again = auth_time(&server, &app, &browser.decide(&consent, "allow").await).await;
        assert!(again > first, "auth_time is that of the new sign-in");
    }
    for (name, value) in [("max_age", "-1"), ("max_age", "soon"), ("prompt", "none login")] {
        let back = location(&browser.get(&address(&changed(&faultless, name, Some(value)))).await.expect_status(303));
        assert_eq!(parameter(&back, "error").as_deref(), Some("invalid_request"), "{name}={value}");
    }
}

async fn sm_18_prompt_none_shows_no_page(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let faultless = request(&server, &app, SCOPE);
    let silent = changed(&faultless, "prompt", Some("none"));
    let mut browser = Browser::new(&server);
    let back = location(&browser.get(&address(&silent)).await.expect_status(303));
    assert_eq!(parameter(&back, "error").as_deref(), Some("login_required"));
    assert_eq!(parameter(&back, "state").as_deref(), Some("s-1"));
    assert_eq!(parameter(&back, "iss").as_deref(), Some(server.origin()));
    let login = browser.ask(&faultless).await.expect_status(200);
    browser.sign_in(&login, &account).await.expect_status(200);
    let back = location(&browser.get(&address(&silent)).await.expect_status(303));
    let error = parameter(&back, "error").unwrap_or_default();
    assert!(["consent_required", "interaction_required"].contains(&error.as_str()), "{back}");
}

async fn sm_18_an_id_token_hint_says_whose_session_is_meant(server: TestServer) {
    let ada = seed(&server).await;
    let charles = add_account(&server, "charles", Some("Patient/p2"));
    let app = add_app(&server, "public");
    let faultless = request(&server, &app, "openid launch/patient patient/*.rs");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&faultless).await.expect_status(200);
    let consent = browser.sign_in(&login, &ada).await.expect_status(200);
    let back = location(&browser.decide(&consent, "allow").await.expect_status(303));
    let token = id_token(&server, &app, &back).await;
    let hinted = changed(&faultless, "id_token_hint", Some(&token));
    assert!(!asks_to_sign_in(&browser.ask(&hinted).await), "it is hers");
    let forged = changed(&faultless, "id_token_hint", Some(&format!("{token}x")));
    assert!(asks_to_sign_in(&browser.ask(&forged).await));

    let mut other = Browser::new(&server);
    let login = other.ask(&faultless).await.expect_status(200);
    other.sign_in(&login, &charles).await.expect_status(200);
    assert!(asks_to_sign_in(&other.ask(&hinted).await), "another person is meant");
    let silent = changed(&hinted, "prompt", Some("none"));
    let back = location(&other.get(&address(&silent)).await.expect_status(303));
    assert_eq!(parameter(&back, "error").as_deref(), Some("login_required"));
}

async fn sm_52_online_access_ends_with_the_session(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    for (scope, status) in [("online_access", 400), ("offline_access", 200)] {
        let asked = request(&server, &app, &format!("{scope} launch/patient patient/*.rs"));
        let mut browser = Browser::new(&server);
        let login = browser.ask(&asked).await.expect_status(200);
        let consent = browser.sign_in(&login, &account).await.expect_status(200);
        let back = location(&browser.decide(&consent, "allow").await.expect_status(303));
        let code = parameter(&back, "code").unwrap_or_else(|| panic!("no code: {back}"));
        let tokens = read(&exchange(&server, &app, &code, &[]).await.expect_status(200));
        assert!(tokens.scope.contains(scope), "{}", tokens.scope);
        let renewed = read(&refresh(&server, &app, &tokens.refresh, None).await.expect_status(200));
        let portal = browser.get("/portal").await.expect_status(200);
        let token = fields(&portal.text()).into_iter().find(|(name, _)| name == "form_token").expect("a form");
        browser.post("/account/sign-out", &[token]).await.expect_status(303);
        assert_eq!(refresh(&server, &app, &renewed.refresh, None).await.status, status, "{scope}");
    }
}

fn address(request: &[(String, String)]) -> String {
    format!("/oauth/authorize?{}", crate::launch::encode(request))
}

async fn id_token(server: &TestServer, app: &App, back: &url::Url) -> String {
    let code = parameter(back, "code").unwrap_or_else(|| panic!("no code: {back}"));
    let answer = exchange(server, app, &code, &[]).await.expect_status(200);
    answer.json().str("id_token").expect("an id_token").to_owned()
}

/// `auth_time` of the `id_token` behind an answer to an app.
async fn auth_time(server: &TestServer, app: &App, answer: &Answer) -> i64 {
    let token = id_token(server, app, &location(answer)).await;
    let payload = token.split('.').nth(1).expect("three parts");
    let payload = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload);
    let payload = Json::parse(&payload.expect("base64url")).expect("JSON");
    payload.get("auth_time").and_then(Json::as_number).and_then(|it| it.parse().ok()).expect("auth_time")
}
