//! Tests of `server/src/oauth/login.rs`.

use tests::TestServer;

use crate::launch::{Account, Browser, SCOPE, add_app, fields, request, seed};

tests::on_both_engines!(
    oa_15_the_session_is_another_after_signing_in,
    oa_14_a_form_without_its_token_or_cookie_is_refused,
    oa_21_unknown_user_and_wrong_password_look_the_same,
    oa_20_guessing_is_slowed_down,
    oa_20_guessing_at_once_is_slowed_down,
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
