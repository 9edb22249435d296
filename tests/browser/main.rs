//! The pages in a real browser: what a person sees, clicks and types. Screenshots go to `target/screenshots`.

mod app;
mod billing;
mod live;
mod look;
mod passkeys;
mod portal;
mod smart_js;

use app::{App, PASSWORD, add_account, seed};
use tests::TestServer;
use tests::browser::{Browser, Key};

tests::in_a_browser!(
    oa_21_a_wrong_password_is_told_beside_the_field,
    sm_28_what_is_unticked_is_not_in_the_token,
    nothing_ticked_is_told_and_nothing_is_ticked_again,
    deny_goes_back_with_access_denied,
    the_keyboard_alone_is_enough,
    enter_on_a_box_allows_nothing,
    another_person_can_sign_in_instead,
    in_04_names_with_markup_are_inert,
);

async fn oa_21_a_wrong_password_is_told_beside_the_field(server: TestServer, browser: Browser) {
    seed(&server).await;
    let app = App::register(&server, "Heart Watch").await;
    browser.disable_scripts().await;
    app.ask(&browser, "launch/patient patient/Observation.rs").await;
    browser.fill("#username", "ada").await;
    browser.fill("#password", "wrong").await;
    browser.submit("button.main").await;
    assert_eq!(browser.text("#problem").await, "This name and password do not belong together.");
    let told = "const problem = document.getElementById('problem');
        const of = document.activeElement.getAttribute('aria-describedby');
        return [problem.getAttribute('role'), of, document.activeElement.id, document.getElementById('username').value]";
    assert_eq!(browser.evaluate(told).await, serde_json::json!(["alert", "problem", "password", "ada"]));
    browser.types(PASSWORD).await;
    browser.submit_by(Key::Enter).await;
    browser.arrives_at(&format!("{}/oauth/consent", server.origin())).await;
}

async fn sm_28_what_is_unticked_is_not_in_the_token(server: TestServer, browser: Browser) {
    seed(&server).await;
    let app = App::register(&server, "Heart Watch").await;
    browser.disable_scripts().await; // pages work without
    app.ask(&browser, "launch/patient patient/Observation.rs patient/Condition.rs offline_access").await;
    app::sign_in(&browser, "ada").await;
    assert_eq!(browser.text("h1").await, "Allow Heart Watch?");
    assert_eq!(browser.text(".who strong").await, "Ada Lovelace");
    assert!(browser.text(".person").await.contains("born 10 December 1815"));
    let limits = browser.text(".limits").await;
    assert!(limits.contains("see anybody else's record") && limits.contains("add, change or delete"), "{limits}");
    browser.click("input[value='patient/Condition.rs']").await;
    browser.click("input[value='offline_access']").await;
    browser.submit("button[value=allow]").await;
    let granted = app.exchange(&server, &app.answer(&browser).await).await;
    assert_eq!(granted.str("scope"), Some("launch/patient patient/Observation.rs"));
    assert_eq!(granted.str("patient"), Some("p1"));
    assert_eq!(granted.str("refresh_token"), None);
    let client = server.anonymous().with_token(granted.str("access_token").expect("a token"));
    client.get("Observation").await.expect_status(200);
    client.get("Condition").await.expect_status(403);
}

async fn nothing_ticked_is_told_and_nothing_is_ticked_again(server: TestServer, browser: Browser) {
    seed(&server).await;
    let app = App::register(&server, "Heart Watch").await;
    app.ask(&browser, "patient/Observation.rs patient/Condition.rs").await;
    app::sign_in(&browser, "ada").await;
    browser.click("input[value='patient/Observation.rs']").await;
    browser.click("input[value='patient/Condition.rs']").await;
    browser.submit("button[value=allow]").await;
    assert!(browser.text("#problem").await.starts_with("Choose at least one"));
    assert_eq!(browser.evaluate("return document.querySelectorAll(':checked').length").await, 0);
    browser.click("input[value='patient/Observation.rs']").await;
    browser.submit("button[value=allow]").await;
    let granted = app.exchange(&server, &app.answer(&browser).await).await;
    assert_eq!(granted.str("scope"), Some("patient/Observation.rs"));
}

async fn deny_goes_back_with_access_denied(server: TestServer, browser: Browser) {
    seed(&server).await;
    let app = App::register(&server, "Heart Watch").await;
    app.ask(&browser, "launch/patient patient/*.rs").await;
    app::sign_in(&browser, "ada").await;
    browser.submit("button[value=deny]").await;
    let answer = app.answer(&browser).await;
    assert_eq!(app::parameter(&answer, "error").as_deref(), Some("access_denied"));
    assert_eq!(app::parameter(&answer, "state").as_deref(), Some("s-1"));
    assert_eq!(app::parameter(&answer, "code"), None);
}

async fn the_keyboard_alone_is_enough(server: TestServer, browser: Browser) {
    seed(&server).await;
    let app = App::register(&server, "Heart Watch").await;
    app.ask(&browser, "launch/patient patient/Observation.rs patient/Condition.rs").await;
    browser.types("ada").await;
    browser.press(Key::Tab).await;
    browser.types(PASSWORD).await;
    browser.submit_by(Key::Enter).await;
    browser.arrives_at(&format!("{}/oauth/consent", server.origin())).await;
    app::tab_to(&browser, "input[value='patient/Condition.rs']").await;
    browser.press(Key::Space).await;
    app::tab_to(&browser, "button[value=allow]").await;
    browser.submit_by(Key::Enter).await;
    let granted = app.exchange(&server, &app.answer(&browser).await).await;
    assert_eq!(granted.str("scope"), Some("launch/patient patient/Observation.rs"));
}

async fn enter_on_a_box_allows_nothing(server: TestServer, browser: Browser) {
    seed(&server).await;
    let app = App::register(&server, "Heart Watch").await;
    app.ask(&browser, "patient/Observation.rs").await;
    app::sign_in(&browser, "ada").await;
    app::tab_to(&browser, "input[value='patient/Observation.rs']").await;
    browser.submit_by(Key::Enter).await;
    app::tab_to(&browser, "input[value='patient/Observation.rs']").await;
    browser.press(Key::Space).await;
    assert_eq!(browser.evaluate("return document.querySelectorAll(':checked').length").await, 0);
    assert_eq!(browser.url().await.path(), "/oauth/consent");
}

async fn another_person_can_sign_in_instead(server: TestServer, browser: Browser) {
    seed(&server).await;
    add_account(&server, "charles", "Charles Babbage", "Patient/p2");
    let app = App::register(&server, "Heart Watch").await;
    app.ask(&browser, "launch/patient patient/Patient.r").await;
    app::sign_in(&browser, "ada").await;
    browser.submit("button[value=switch]").await;
    app::sign_in(&browser, "charles").await;
    assert_eq!(browser.text(".who strong").await, "Charles Babbage");
    browser.submit("button[value=allow]").await;
    let granted = app.exchange(&server, &app.answer(&browser).await).await;
    assert_eq!(granted.str("patient"), Some("p2"));
}

/// Each would leave a mark in the page or open a dialog, were it markup.
const MARKUP: [&str; 5] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'><svg onload=alert(1)>",
    "</title></style><h1>Allowed</h1>",
    "{{7*7}} ${7*7} &lt;b&gt; \u{202e}evil",
];

async fn in_04_names_with_markup_are_inert(server: TestServer, browser: Browser) {
    seed(&server).await;
    for (number, markup) in MARKUP.iter().enumerate() {
        let id = format!("n{number}");
        app::store_patient(&server, &id, markup).await;
        add_account(&server, &id, markup, &format!("Patient/{id}"));
        let name = &markup.replace('\u{202e}', ""); // no app may have a name that turns the text around it
        let app = App::register(&server, name).await;
        browser.delete_cookies().await;
        app.ask(&browser, "launch/patient patient/*.rs").await;
        assert_inert(&browser, name, &browser.text(".lead strong").await).await;
        browser.fill("#username", markup).await; // comes back in the field
        browser.fill("#password", "wrong").await;
        browser.submit("button.main").await;
        let typed = browser.evaluate("return document.getElementById('username').value").await;
        assert_inert(&browser, markup, typed.as_str().unwrap_or_default()).await;
        app::sign_in(&browser, &id).await;
        assert_inert(&browser, &format!("Allow {name}?"), &browser.text("h1").await).await;
        for selector in [".who strong", ".person strong"] {
            assert_inert(&browser, markup, &browser.text(selector).await).await;
        }
        browser.screenshot(&format!("consent-markup-{number}")).await;
    }
}

async fn assert_inert(browser: &Browser, expected: &str, seen: &str) {
    assert_eq!(seen, expected);
    assert!(!browser.shows_dialog().await, "{expected}");
    let marks = "return document.querySelectorAll('script, img, svg[onload], h1 ~ h1, [onerror]').length";
    assert_eq!(browser.evaluate(marks).await, 0, "{expected}");
}
