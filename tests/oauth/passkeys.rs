//! Tests of `server/src/account/passkeys`, with an authenticator in software. <https://www.w3.org/TR/webauthn-3/>

use serde_json::{Value, json};
use tests::authenticator::Authenticator;
use tests::{Answer, TestServer};

use crate::launch::{Account, Browser, SCOPE, add_account, add_app, fields, request, seed};
use crate::portal::{add_second_factor, between, code, send, sign_in};

tests::on_both_engines!(
    oa_24_a_passkey_signs_in_without_a_password,
    oa_24_a_passkey_answers_an_app,
    oa_24_each_fault_of_a_new_passkey_is_refused,
    oa_24_each_fault_of_a_signature_is_refused,
    oa_24_a_challenge_is_answered_once_in_its_browser_for_its_purpose,
    oa_24_a_passkey_is_the_second_factor,
    oa_24_passkeys_are_named_and_removed_by_their_person,
    oa_23_recovery_leaves_passkeys_unless_an_operator_takes_them,
    there_are_no_passkeys_at_an_address_of_numbers,
);

const PAGE: &str = "/account/sign-in";

/// What goes wrong, and how it is made to.
type Fault = (&'static str, fn(&mut Authenticator));

/// A machine that signs with a passkey, and the account it is of.
struct Owner {
    account: Account,
    authenticator: Authenticator,
    codes: Vec<String>,
}

async fn oa_24_a_passkey_signs_in_without_a_password(mut server: TestServer) {
    let mut owner = owner(&mut server).await;
    assert_eq!(owner.codes.len(), 10);
    for _ in 0..2 {
        let mut browser = Browser::new(&server);
        let before = {
            browser.get(PAGE).await;
            browser.cookie().map(str::to_owned)
        };
        let sent = enter(&mut browser, &mut owner.authenticator).await.expect_status(303);
        assert_eq!(sent.header("location"), Some(format!("{}/portal", server.origin()).as_str()));
        assert_ne!(browser.cookie().map(str::to_owned), before, "OA-15");
        browser.get("/portal").await.expect_status(200);
    }
    let shown = Browser::new(&server).get(PAGE).await;
    let policy = shown.header("content-security-policy").expect("a policy");
    assert!(policy.contains(&format!("script-src {}/account/passkeys.js;", server.origin())), "{policy}");
    let page = shown.text();
    assert_eq!(page.matches("<script").count(), 1, "one script, and none inline: {page}");
    assert!(page.contains("<script src=\"/account/passkeys.js\" defer></script>"));
}

async fn oa_24_a_passkey_answers_an_app(mut server: TestServer) {
    let mut owner = owner(&mut server).await;
    let app = add_app(&server, "public");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200).text();
    let form = between(&login, "<form class=\"passkey\"", "</form>");
    let mut form: Vec<_> = fields(form).into_iter().filter(|(name, _)| name != "credential").collect();
    let options = browser.post("/account/passkeys/options", &form).await.expect_status(200);
    form.push(("credential".to_owned(), owner.authenticator.get(&value(&options))));
    let sent = browser.post("/account/passkeys/sign-in", &form).await.expect_status(303);
    let consent = browser.get(sent.header("location").expect("a Location")).await.expect_status(200);
    browser.decide(&consent, "allow").await.expect_status(303);
}

async fn oa_24_each_fault_of_a_new_passkey_is_refused(mut server: TestServer) {
    server.move_to("localhost").await;
    let account = seed(&server).await;
    let mut browser = sign_in(&server, &account).await;
    let refused = send(&mut browser, "/account", "/account/passkeys/start", &[("password", "wrong")]).await;
    assert_eq!(value(&refused.expect_status(400))["problem"], "This is not your password.");
    let faults: [Fault; 11] = [
        ("type", |it| it.said.push(("type", json!("webauthn.get")))),
        ("challenge", |it| it.said.push(("challenge", json!("dHJoX0FBQUE")))),
        ("origin", |it| it.origin = "https://evil.example".into()),
        ("port", |it| it.origin = "http://localhost:1".into()),
        ("frame", |it| it.said.push(("crossOrigin", json!(true)))),
        ("top origin", |it| it.said.push(("topOrigin", json!("https://evil.example")))),
        ("site", |it| it.party = "evil.example".into()),
        ("not there", |it| it.flags = 0x04),
        ("not verified", |it| it.flags = 0x01),
        ("left over", |it| it.trailer = vec![0]),
        ("algorithm", |it| it.algorithm = -9),
    ];
    for (fault, make) in faults {
        let mut authenticator = Authenticator::new(server.origin());
        make(&mut authenticator);
        let answer = add(&mut browser, &account, &mut authenticator).await;
        assert_eq!(answer.status, 400, "{fault}");
    }
    let mut authenticator = Authenticator::new(server.origin());
    add(&mut browser, &account, &mut authenticator).await.expect_status(200);
    add(&mut browser, &account, &mut authenticator).await.expect_status(400); // the same once more
    let other = add_account(&server, "other", None);
    let mut other_browser = sign_in(&server, &other).await;
    authenticator.user.clear();
    add(&mut other_browser, &other, &mut authenticator).await.expect_status(400); // somebody else's
}

async fn oa_24_each_fault_of_a_signature_is_refused(mut server: TestServer) {
    let faults: [Fault; 14] = [
        ("type", |it| it.said.push(("type", json!("webauthn.create")))),
        ("challenge", |it| it.said.push(("challenge", json!("dHJoX0FBQUE")))),
        ("origin", |it| it.origin = "https://evil.example".into()),
        ("http for https", |it| it.origin = it.origin.replace("http:", "https:")),
        ("frame", |it| it.said.push(("crossOrigin", json!(true)))),
        ("site", |it| it.party = "evil.example".into()),
        ("not there", |it| it.flags = 0x04),
        ("not verified", |it| it.flags = 0x01),
        ("left over", |it| it.trailer = vec![0]),
        ("backed up, though it cannot be", |it| it.flags |= 0x10),
        ("somebody else", |it| it.user = b"somebody".to_vec()),
        ("nobody", |it| it.user.clear()),
        ("unknown passkey", |it| it.id = b"unknown".to_vec()),
        ("counter stands still", |it| it.count -= 1),
    ];
    let mut owner = owner(&mut server).await;
    enter(&mut Browser::new(&server), &mut owner.authenticator).await.expect_status(303);
    for (fault, make) in faults {
        let it = &owner.authenticator;
        let kept = (it.id.clone(), it.user.clone(), it.origin.clone(), it.party.clone(), it.flags, it.count);
        make(&mut owner.authenticator);
        let mut browser = Browser::new(&server);
        assert_eq!(enter(&mut browser, &mut owner.authenticator).await.status, 400, "{fault}");
        assert_eq!(browser.get("/portal").await.status, 303, "{fault}");
        let it = &mut owner.authenticator;
        (it.id, it.user, it.origin, it.party, it.flags, it.count) = kept;
        (it.said, it.trailer) = (Vec::new(), Vec::new());
    }
    // Another key under its name.
    let mut forger = Authenticator::new(server.origin());
    (forger.id, forger.user, forger.count) =
        (owner.authenticator.id.clone(), owner.authenticator.user.clone(), owner.authenticator.count);
    enter(&mut Browser::new(&server), &mut forger).await.expect_status(400);
    enter(&mut Browser::new(&server), &mut owner.authenticator).await.expect_status(303);
    server.command(&["user", "disable", &owner.account.username]);
    enter(&mut Browser::new(&server), &mut owner.authenticator).await.expect_status(400);
}

async fn oa_24_a_challenge_is_answered_once_in_its_browser_for_its_purpose(mut server: TestServer) {
    let mut owner = owner(&mut server).await;
    let (mut one, mut other) = (Browser::new(&server), Browser::new(&server));
    let credential = owner.authenticator.get(&options(&mut one).await);
    options(&mut other).await;
    answer(&mut other, &credential).await.expect_status(400); // another browser
    answer(&mut one, &credential).await.expect_status(303);
    answer(&mut Browser::new(&server), &credential).await.expect_status(400);
    one.get("/portal").await.expect_status(200);
    let fields = |credential: &str| [("credential".to_owned(), credential.to_owned())].to_vec();
    assert_eq!(one.post("/account/passkeys/sign-in", &fields(&credential)).await.status, 400, "no form token");
    // A refused answer has spent its challenge, too.
    let mut browser = Browser::new(&server);
    let asked = options(&mut browser).await;
    owner.authenticator.flags = 0x01;
    answer(&mut browser, &owner.authenticator.get(&asked)).await.expect_status(400);
    owner.authenticator.flags = tests::authenticator::VERIFIED;
    answer(&mut browser, &owner.authenticator.get(&asked)).await.expect_status(400);
    // Asked later is asked instead.
    let asked = options(&mut browser).await;
    options(&mut browser).await;
    answer(&mut browser, &owner.authenticator.get(&asked)).await.expect_status(400);
    // What was asked for a new passkey does not sign in, and the other way round.
    let start = "/account/passkeys/start";
    let asked = value(&send(&mut one, "/account", start, &[("password", &owner.account.password)]).await);
    let credential = owner.authenticator.get(&asked);
    send(&mut one, "/account", "/account/passkeys/sign-in", &[("credential", &credential)]).await.expect_status(400);
    let asked = value(&send(&mut one, "/account", "/account/passkeys/options", &[]).await);
    let credential = Authenticator::new(server.origin()).create(&asked);
    send(&mut one, "/account", "/account/passkeys", &[("credential", &credential)]).await.expect_status(400);
}

async fn oa_24_a_passkey_is_the_second_factor(mut server: TestServer) {
    let mut owner = owner(&mut server).await;
    let page = "/account/second-factor";
    let mut browser = sign_in(&server, &owner.account).await;
    browser.get("/portal").await.expect_status(303); // the password alone is not enough
    let shown = browser.get(page).await.expect_status(200).text();
    assert!(shown.contains("Sign in with a passkey") && shown.contains("Recovery code"), "{shown}");
    // Somebody else's passkey is none.
    let stranger = add_account(&server, "stranger", None);
    let mut own = sign_in(&server, &stranger).await;
    let mut foreign = Authenticator::new(server.origin());
    add(&mut own, &stranger, &mut foreign).await.expect_status(200);
    let asked = value(&send(&mut browser, page, "/account/passkeys/options", &[]).await);
    let credential = foreign.get(&asked);
    send(&mut browser, page, "/account/passkeys/sign-in", &[("credential", &credential)]).await.expect_status(400);
    let asked = value(&send(&mut browser, page, "/account/passkeys/options", &[]).await);
    let credential = owner.authenticator.get(&asked);
    send(&mut browser, page, "/account/passkeys/sign-in", &[("credential", &credential)]).await.expect_status(303);
    browser.get("/portal").await.expect_status(200);
    // A recovery code stands in for it, once.
    for (code, status) in [(&owner.codes[0], 303), (&owner.codes[0], 401)] {
        let mut browser = sign_in(&server, &owner.account).await;
        send(&mut browser, page, page, &[("code", code)]).await.expect_status(status);
    }
    // With an authenticator app besides, either will do.
    let (key, codes) = add_second_factor(&mut browser, &owner.account.password).await;
    assert_eq!(codes.len(), 10);
    let mut browser = sign_in(&server, &owner.account).await;
    send(&mut browser, page, page, &[("code", &code(&key, 1))]).await.expect_status(303);
}

async fn oa_24_passkeys_are_named_and_removed_by_their_person(mut server: TestServer) {
    let owner = owner(&mut server).await;
    let mut browser = sign_in(&server, &owner.account).await;
    let page = "/account/second-factor";
    send(&mut browser, page, page, &[("code", &owner.codes[0])]).await.expect_status(303);
    let shown = browser.get("/account").await.expect_status(200).text();
    assert!(shown.contains("<strong><bdi>A browser</bdi></strong>") && shown.contains("9 recovery codes"), "{shown}");
    let key = fields(&shown).into_iter().find(|(name, _)| name == "passkey").expect("a passkey").1;
    let stranger = add_account(&server, "stranger", None);
    let mut other = sign_in(&server, &stranger).await;
    let (rename, remove) = ("/account/passkeys/rename", "/account/passkeys/remove");
    let taken = [("passkey", key.as_str()), ("name", "Mine"), ("password", &stranger.password)];
    send(&mut other, "/account", rename, &taken).await.expect_status(404);
    send(&mut other, "/account", remove, &taken).await.expect_status(404);
    let pairs = |name| [("passkey", key.as_str()), ("name", name)];
    send(&mut browser, "/account", rename, &pairs("  ")).await.expect_status(400);
    send(&mut browser, "/account", rename, &pairs("My <phone>")).await.expect_status(303);
    assert!(browser.get("/account").await.text().contains("<bdi>My &#60;phone&#62;</bdi>"));
    let pairs = |password| [("passkey", key.as_str()), ("password", password)];
    send(&mut browser, "/account", remove, &pairs("wrong")).await.expect_status(400);
    send(&mut browser, "/account", remove, &pairs(&owner.account.password)).await.expect_status(303);
    assert!(!browser.get("/account").await.text().contains("My &#60;phone"));
    sign_in(&server, &owner.account).await.get("/portal").await.expect_status(200);
    let mut authenticator = owner.authenticator;
    enter(&mut Browser::new(&server), &mut authenticator).await.expect_status(400);
}

async fn oa_23_recovery_leaves_passkeys_unless_an_operator_takes_them(mut server: TestServer) {
    let mut owner = owner(&mut server).await;
    server.command(&["user", "recover", &owner.account.username]);
    enter(&mut Browser::new(&server), &mut owner.authenticator).await.expect_status(303);
    server.command(&["user", "recover", &owner.account.username, "--drop-second-factor"]);
    enter(&mut Browser::new(&server), &mut owner.authenticator).await.expect_status(400);
    sign_in(&server, &owner.account).await.get("/portal").await.expect_status(200);
}

/// Browsers make passkeys for names only, so nothing is said of them.
async fn there_are_no_passkeys_at_an_address_of_numbers(server: TestServer) {
    let account = seed(&server).await;
    let mut browser = Browser::new(&server);
    assert!(!browser.get(PAGE).await.text().contains("/account/passkeys"));
    send(&mut browser, PAGE, "/account/passkeys/options", &[]).await.expect_status(404);
    let mut browser = sign_in(&server, &account).await;
    assert!(!browser.get("/account").await.text().contains("/account/passkeys"));
}

/// Ada with a passkey, on a server that has a name.
async fn owner(server: &mut TestServer) -> Owner {
    server.move_to("localhost").await;
    let account = seed(server).await;
    let mut authenticator = Authenticator::new(server.origin());
    let mut browser = sign_in(server, &account).await;
    let shown = add(&mut browser, &account, &mut authenticator).await.expect_status(200).text();
    let codes = shown.split("<li><code>").skip(1).filter_map(|rest| rest.split("</code>").next()).map(str::to_owned);
    Owner { account, authenticator, codes: codes.collect() }
}

/// Adds a passkey to the account of somebody who is signed in.
async fn add(browser: &mut Browser<'_>, account: &Account, authenticator: &mut Authenticator) -> Answer {
    let password = [("password", account.password.as_str())];
    let asked = send(browser, "/account", "/account/passkeys/start", &password).await.expect_status(200);
    let credential = authenticator.create(&value(&asked));
    send(browser, "/account", "/account/passkeys", &[("credential", &credential)]).await
}

/// Signs in with a passkey.
async fn enter(browser: &mut Browser<'_>, authenticator: &mut Authenticator) -> Answer {
    let asked = options(browser).await;
    answer(browser, &authenticator.get(&asked)).await
}

async fn options(browser: &mut Browser<'_>) -> Value {
    value(&send(browser, PAGE, "/account/passkeys/options", &[]).await.expect_status(200))
}

async fn answer(browser: &mut Browser<'_>, credential: &str) -> Answer {
    send(browser, PAGE, "/account/passkeys/sign-in", &[("credential", credential)]).await
}

fn value(answer: &Answer) -> Value {
    serde_json::from_str(&answer.text()).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}
