//! Passkeys in a real browser, with an authenticator of its own: the whole of both ceremonies, and what is told.

use tests::TestServer;
use tests::browser::Browser;

use crate::app::{self, App, PASSWORD, seed};
use crate::look::look;

tests::in_a_browser!(
    oa_24_a_passkey_is_made_and_signs_in,
    oa_24_a_passkey_is_enough_for_an_app,
    what_did_not_work_is_told_beside_the_button,
);

async fn oa_24_a_passkey_is_made_and_signs_in(mut server: TestServer, browser: Browser) {
    let at = start(&mut server).await;
    browser.add_authenticator(true).await;
    browser.go(&at("/account")).await;
    app::sign_in(&browser, "ada").await;
    look(&browser, "passkeys-none").await;
    add(&browser).await;
    assert_eq!(browser.evaluate("return document.querySelectorAll('.codes li').length").await, 10);
    browser.go(&at("/account")).await;
    browser.click("summary[aria-label^=Change]").await;
    look(&browser, "passkeys-change").await;
    browser.fill("#name-1", "My laptop").await;
    browser.submit("form[action$=rename] button").await;
    assert!(browser.text("section[aria-labelledby=passkeys] .rows").await.contains("My laptop"));
    look(&browser, "passkeys-one").await;
    browser.fill("#passkey-password", PASSWORD).await;
    browser.click("form.passkey button").await; // this authenticator has one already
    told(&browser, "This device has a passkey for your account already.").await;

    browser.delete_cookies().await;
    browser.go(&at("/account/sign-in")).await;
    look(&browser, "passkeys-sign-in").await;
    browser.submit("form.passkey button").await;
    browser.arrives_at(&at("/portal")).await;

    browser.delete_cookies().await;
    browser.go(&at("/account")).await;
    app::sign_in(&browser, "ada").await;
    browser.arrives_at(&at("/account/second-factor")).await;
    look(&browser, "passkeys-second-factor").await;
    browser.submit("form.passkey button").await;
    browser.arrives_at(&at("/account")).await;
    browser.click("summary[aria-label^=Change]").await;
    browser.fill("#remove-1", PASSWORD).await;
    browser.submit("form[action$=remove] button").await;
    assert!(!browser.text("section[aria-labelledby=passkeys]").await.contains("My laptop"));
}

async fn oa_24_a_passkey_is_enough_for_an_app(mut server: TestServer, browser: Browser) {
    let at = start(&mut server).await;
    browser.add_authenticator(true).await;
    browser.go(&at("/account")).await;
    app::sign_in(&browser, "ada").await;
    add(&browser).await;
    browser.delete_cookies().await;
    let app = App::register(&server, "Heart Watch").await;
    app.ask(&browser, "launch/patient patient/Observation.rs").await;
    look(&browser, "passkeys-login").await;
    browser.submit("form.passkey button").await;
    browser.arrives_at(&at("/oauth/consent")).await;
    browser.submit("button[value=allow]").await;
    let granted = app.exchange(&server, &app.answer(&browser).await).await;
    assert_eq!(granted.str("patient"), Some("p1"));
}

async fn what_did_not_work_is_told_beside_the_button(mut server: TestServer, browser: Browser) {
    let at = start(&mut server).await;
    browser.add_authenticator(false).await;
    browser.go(&at("/account")).await;
    app::sign_in(&browser, "ada").await;
    browser.fill("#passkey-password", "wrong").await;
    browser.click("form.passkey button").await;
    told(&browser, "This is not your password.").await;
    look(&browser, "passkeys-wrong-password").await;
    browser.fill("#passkey-password", PASSWORD).await;
    browser.click("form.passkey button").await; // the person is not verified
    told(&browser, "That was cancelled, or took too long. Nothing was changed.").await;
    browser.delete_cookies().await;
    browser.disable_scripts().await;
    browser.go(&at("/account")).await;
    assert_eq!(browser.evaluate("return document.querySelector('form.passkey').hidden").await, true);
    app::sign_in(&browser, "ada").await; // without scripts a password does
    assert!(browser.text(".without-passkeys").await.starts_with("To add one"));
}

/// Addresses on a server that has a name, with Ada's account.
async fn start(server: &mut TestServer) -> impl Fn(&str) -> String + use<> {
    server.move_to("localhost").await;
    seed(server).await;
    let origin = server.origin().to_owned();
    move |path: &str| format!("{origin}{path}")
}

async fn add(browser: &Browser) {
    browser.fill("#passkey-password", PASSWORD).await;
    browser.submit("form.passkey button").await;
    assert_eq!(browser.text("h1").await, "The second factor is on");
}

/// Waits until the form says this.
async fn told(browser: &Browser, text: &str) {
    for _ in 0..200 {
        if browser.text("form.passkey .error").await == text {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("not told: {text}, but: {}", browser.text("form.passkey").await);
}
