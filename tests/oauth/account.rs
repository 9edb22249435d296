//! Tests of `server/src/account`.

use tests::TestServer;

use crate::launch::{Account, Browser, SCOPE, add_account, add_app, fields, request, seed, tokens};
use crate::portal::{add_second_factor, between, code, send, sign_in, sign_up};

tests::on_both_engines!(
    a_developer_opens_an_account_and_is_signed_in,
    oa_22_what_cannot_be_an_account_is_told_at_its_field,
    oa_14_forms_of_others_change_nothing,
    oa_15_oa_26_signing_in_makes_a_new_session_and_signing_out_ends_it,
    oa_20_guessing_in_the_portal_counts_with_guessing_at_login,
    oa_09_a_new_password_ends_other_sessions_and_grants,
    sessions_are_listed_and_ended,
    oa_23_a_recovery_link_works_once_and_ends_all,
    oa_23_recovery_does_not_pass_the_second_factor,
    oa_24_a_one_time_password_is_asked_for_and_spent,
    oa_24_oauth_asks_for_the_second_factor_too,
    oa_24_a_recovery_code_is_good_once,
    oa_24_the_second_factor_is_switched_off_with_password_and_code,
    a_disabled_account_is_out_at_once,
);

const PASSWORD: &str = "a calm river runs deep";

async fn a_developer_opens_an_account_and_is_signed_in(server: TestServer) {
    let mut browser = sign_up(&server, "Dev@Example.org", "personal").await;
    let page = browser.get("/portal").await.expect_status(200).text();
    assert!(page.contains("Dev Eloper") && page.contains("/portal/apps"), "{page}");
    assert!(!page.contains("/portal/admin"));
    let account = Account { username: "dev@example.org".to_owned(), password: PASSWORD.to_owned() };
    sign_in(&server, &account).await.get("/portal").await.expect_status(200);
    let pairs = [("username", "dev@example.org"), ("name", "x"), ("purpose", "work"), ("password", PASSWORD)];
    let mut other = Browser::new(&server);
    send(&mut other, "/account/sign-up", "/account/sign-up", &pairs).await.expect_status(409);
}

async fn oa_22_what_cannot_be_an_account_is_told_at_its_field(server: TestServer) {
    let mut browser = Browser::new(&server);
    for (field, value) in [
        ("password", "short"),
        ("password", "password1"),
        ("password", "developer1"),
        ("username", "аda"),
        ("username", "ab"),
        ("name", ""),
        ("name", "a\u{202e}b"),
        ("purpose", "fun"),
    ] {
        let faultless = [("username", "developer"), ("name", "Dev"), ("purpose", "work"), ("password", PASSWORD)];
        let pairs = faultless.map(|(name, other)| if name == field { (name, value) } else { (name, other) });
        let answer = send(&mut browser, "/account/sign-up", "/account/sign-up", &pairs).await.expect_status(400);
        let page = answer.text();
        assert_eq!(page.matches("role=\"alert\"").count(), 1, "{field} {value}");
        assert!(!page.contains(PASSWORD), "OA-32: a password does not come back");
    }
}

async fn oa_14_forms_of_others_change_nothing(server: TestServer) {
    let account = seed(&server).await;
    let mut browser = sign_in(&server, &account).await;
    let mut stranger = sign_up(&server, "stranger", "work").await;
    let token = |page: &str| fields(page).into_iter().find(|(name, _)| name == "form_token").expect("a token");
    let theirs = token(&stranger.get("/account").await.text());
    for form in [vec![], vec![theirs], vec![("form_token".to_owned(), "x".to_owned())]] {
        browser.post("/account/sign-out", &form).await.expect_status(400);
        browser.post("/portal/sharing", &form).await.expect_status(400);
    }
    browser.get("/portal").await.expect_status(200);
    let mut nobody = Browser::new(&server);
    nobody.post("/account/sign-in", &[]).await.expect_status(400);
    let sent = nobody.get("/portal/apps").await.expect_status(303);
    assert_eq!(sent.header("location"), Some("/account/sign-in?to=/portal/apps"));
    for path in ["/portal", "/account", "/account/sign-in"] {
        let page = browser.get(path).await;
        assert_eq!(page.header("cache-control"), Some("no-store"), "{path}");
    }
    let page = browser.get("/portal").await;
    assert_eq!(page.header("x-frame-options"), Some("DENY"), "OA-17");
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
}

async fn oa_15_oa_26_signing_in_makes_a_new_session_and_signing_out_ends_it(server: TestServer) {
    let account = seed(&server).await;
    let mut browser = Browser::new(&server);
    browser.get("/account/sign-in").await.expect_status(200);
    let mut before = browser.clone();
    let pairs = [("username", account.username.as_str()), ("password", &account.password), ("to", "//evil.example")];
    let sent = send(&mut browser, "/account/sign-in", "/account/sign-in", &pairs).await.expect_status(303);
    assert_eq!(sent.header("location"), Some(format!("{}/portal", server.origin()).as_str()), "OA-02");
    assert_ne!(before.cookie(), browser.cookie());
    before.get("/portal").await.expect_status(303);
    // the same session answers consent
    let app = add_app(&server, "public");
    let asked = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    assert!(asked.text().contains("Allow"), "{}", asked.text());
    let mut copy = browser.clone();
    send(&mut browser, "/account", "/account/sign-out", &[]).await.expect_status(303);
    copy.get("/portal").await.expect_status(303);
}

async fn oa_20_guessing_in_the_portal_counts_with_guessing_at_login(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let mut browser = Browser::new(&server);
    for _ in 0..3 {
        let pairs = [("username", account.username.as_str()), ("password", "wrong")];
        send(&mut browser, "/account/sign-in", "/account/sign-in", &pairs).await.expect_status(401);
    }
    let mut at_login = Browser::new(&server);
    let login = at_login.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let mut form = fields(&login.text());
    form.extend([("username".to_owned(), account.username.clone()), ("password".to_owned(), "wrong".to_owned())]);
    at_login.post("/oauth/login", &form).await.expect_status(401);
    at_login.post("/oauth/login", &form).await.expect_status(401);
    let pairs = [("username", account.username.as_str()), ("password", &account.password)];
    send(&mut browser, "/account/sign-in", "/account/sign-in", &pairs).await.expect_status(429);
}

async fn oa_09_a_new_password_ends_other_sessions_and_grants(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let granted = tokens(&server, &app, &account, SCOPE).await;
    let client = server.anonymous().with_token(&granted.access);
    client.get("Patient/p1").await.expect_status(200);
    let (mut here, mut there) = (sign_in(&server, &account).await, sign_in(&server, &account).await);
    let new = "another quiet lake";
    for (old, chosen) in [("wrong", new), (account.password.as_str(), "short")] {
        let pairs = [("password", old), ("new_password", chosen)];
        send(&mut here, "/account", "/account/password", &pairs).await.expect_status(400);
    }
    let pairs = [("password", account.password.as_str()), ("new_password", new)];
    send(&mut here, "/account", "/account/password", &pairs).await.expect_status(303);
    here.get("/portal").await.expect_status(200);
    there.get("/portal").await.expect_status(303);
    client.get("Patient/p1").await.expect_status(401);
    crate::launch::refresh(&server, &app, &granted.refresh, None).await.expect_status(400);
    sign_in(&server, &Account { password: new.to_owned(), ..account }).await;
}

async fn sessions_are_listed_and_ended(server: TestServer) {
    let account = seed(&server).await;
    let (mut here, mut there) = (sign_in(&server, &account).await, sign_in(&server, &account).await);
    let page = here.get("/account").await.expect_status(200).text();
    assert_eq!(page.matches("last seen").count(), 2);
    let other = fields(&page).into_iter().find(|(name, _)| name == "session").expect("the other session").1;
    // somebody else's session is not ended by its name
    let mut stranger = sign_up(&server, "stranger", "work").await;
    send(&mut stranger, "/account", "/account/sessions", &[("session", &other)]).await.expect_status(303);
    there.get("/portal").await.expect_status(200);
    send(&mut here, "/account", "/account/sessions", &[("session", &other)]).await.expect_status(303);
    there.get("/portal").await.expect_status(303);
    here.get("/portal").await.expect_status(200);
}

async fn oa_23_a_recovery_link_works_once_and_ends_all(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let granted = tokens(&server, &app, &account, SCOPE).await;
    let mut signed_in = sign_in(&server, &account).await;
    let older = link(&server, &account);
    let secret = link(&server, &account);
    let mut browser = Browser::new(&server);
    browser.get(&format!("/account/recover?link={older}")).await.expect_status(400);
    let page = format!("/account/recover?link={secret}");
    browser.get(&page).await.expect_status(200);
    send(&mut browser, &page, "/account/recover", &[("link", &secret), ("password", "short")]).await.expect_status(400);
    let new = "another quiet lake";
    let pairs = [("link", secret.as_str()), ("password", new)];
    send(&mut browser, &page, "/account/recover", &pairs).await.expect_status(303);
    browser.get(&page).await.expect_status(400);
    signed_in.get("/portal").await.expect_status(303);
    server.anonymous().with_token(&granted.access).get("Patient/p1").await.expect_status(401);
    sign_in(&server, &Account { password: new.to_owned(), ..account }).await;
    for other in [granted.access.as_str(), "trv_x", ""] {
        browser.get(&format!("/account/recover?link={other}")).await.expect_status(400);
    }
}

async fn oa_23_recovery_does_not_pass_the_second_factor(server: TestServer) {
    let account = seed(&server).await;
    add_second_factor(&mut sign_in(&server, &account).await, &account.password).await;
    let secret = link(&server, &account);
    let mut browser = Browser::new(&server);
    let page = format!("/account/recover?link={secret}");
    let pairs = [("link", secret.as_str()), ("password", "another quiet lake")];
    send(&mut browser, &page, "/account/recover", &pairs).await.expect_status(303);
    let account = Account { password: "another quiet lake".to_owned(), ..account };
    let mut browser = sign_in(&server, &account).await;
    browser.get("/portal").await.expect_status(303);
    server.command(&["user", "recover", &account.username, "--drop-second-factor"]);
    sign_in(&server, &account).await.get("/portal").await.expect_status(200);
}

async fn oa_24_a_one_time_password_is_asked_for_and_spent(server: TestServer) {
    let account = seed(&server).await;
    let mut first = sign_in(&server, &account).await;
    let mut other = sign_in(&server, &account).await;
    let (key, codes) = add_second_factor(&mut first, &account.password).await;
    assert_eq!(codes.len(), 10);
    other.get("/portal").await.expect_status(303); // signed in without it
    first.get("/portal").await.expect_status(200);
    let mut browser = sign_in(&server, &account).await;
    for path in ["/portal", "/account", "/portal/apps"] {
        browser.get(path).await.expect_status(303);
    }
    let page = "/account/second-factor";
    for wrong in ["", "000000", &code(&key, 0), &code(&key, -3)] {
        send(&mut browser, page, page, &[("code", wrong)]).await.expect_status(401);
    }
    let half = browser.cookie().map(str::to_owned);
    send(&mut browser, page, page, &[("code", &code(&key, 1))]).await.expect_status(303);
    assert_ne!(browser.cookie().map(str::to_owned), half, "OA-15");
    browser.get("/portal").await.expect_status(200);
    // the same code again, in another browser
    let mut again = sign_in(&server, &account).await;
    send(&mut again, page, page, &[("code", &code(&key, 1))]).await.expect_status(401);
    again.get("/portal").await.expect_status(303);
}

async fn oa_24_oauth_asks_for_the_second_factor_too(server: TestServer) {
    let account = seed(&server).await;
    let (key, _) = add_second_factor(&mut sign_in(&server, &account).await, &account.password).await;
    let app = add_app(&server, "public");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let question = browser.sign_in(&login, &account).await.expect_status(200);
    let hidden = fields(&question.text());
    let handle = hidden.iter().find(|(name, _)| name == "request").expect("the request").1.clone();
    // nobody is signed in: consent is not shown
    let early = browser.get(&format!("/oauth/consent?request={handle}")).await;
    assert!(early.status != 200 || !early.text().contains("value=\"allow\""), "{}", early.describe());
    let mut form = hidden.clone();
    form.push(("code".to_owned(), code(&key, 1)));
    let sent = browser.post("/account/second-factor", &form).await.expect_status(303);
    let consent = browser.get(sent.header("location").expect("a Location")).await.expect_status(200);
    let back = crate::launch::location(&browser.decide(&consent, "allow").await.expect_status(303));
    assert!(crate::launch::parameter(&back, "code").is_some(), "{back}");
}

async fn oa_24_a_recovery_code_is_good_once(server: TestServer) {
    let account = seed(&server).await;
    let (_, codes) = add_second_factor(&mut sign_in(&server, &account).await, &account.password).await;
    let page = "/account/second-factor";
    let mut browser = sign_in(&server, &account).await;
    let typed = codes[3].to_lowercase().replace('-', " ");
    send(&mut browser, page, page, &[("code", &typed)]).await.expect_status(303);
    assert!(browser.get("/account").await.expect_status(200).text().contains("9 recovery codes are left"));
    let mut again = sign_in(&server, &account).await;
    send(&mut again, page, page, &[("code", &codes[3])]).await.expect_status(401);
}

async fn oa_24_the_second_factor_is_switched_off_with_password_and_code(server: TestServer) {
    let account = seed(&server).await;
    let mut browser = sign_in(&server, &account).await;
    let (key, codes) = add_second_factor(&mut browser, &account.password).await;
    let remove = "/account/second-factor/remove";
    for (password, typed) in [("wrong", code(&key, 1)), (account.password.as_str(), "000000".to_owned())] {
        let pairs = [("password", password), ("code", typed.as_str())];
        send(&mut browser, "/account", remove, &pairs).await.expect_status(400);
    }
    let pairs = [("password", account.password.as_str()), ("code", codes[0].as_str())];
    send(&mut browser, "/account", remove, &pairs).await.expect_status(303);
    sign_in(&server, &account).await.get("/portal").await.expect_status(200);
}

async fn a_disabled_account_is_out_at_once(server: TestServer) {
    let account = seed(&server).await;
    let mut browser = sign_in(&server, &account).await;
    server.command(&["user", "disable", &account.username]);
    browser.get("/portal").await.expect_status(303);
    server.command(&["user", "enable", &account.username]);
    sign_in(&server, &account).await.get("/portal").await.expect_status(200);
    let other = add_account(&server, "charles", None);
    server.command(&["user", "record", &other.username, "Patient/p2"]);
    let page = sign_in(&server, &other).await.get("/account").await.expect_status(200);
    assert!(page.text().contains("Patient/p2"));
}

fn link(server: &TestServer, account: &Account) -> String {
    let printed = server.command(&["user", "recover", &account.username, "--json"]);
    between(&printed, "link=", "\"").to_owned()
}
