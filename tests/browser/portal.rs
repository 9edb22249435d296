//! The portal in a real browser: it works without scripts and with the keyboard alone, and fits at each size.

use fhir::{array, object};
use tests::TestServer;
use tests::browser::{Browser, Key};
use tests::totp::code;

use crate::app::{App, PASSWORD, add_account, seed, tab_to};
use crate::look::look;

tests::in_a_browser!(
    every_page_of_the_portal_fits_and_is_readable,
    an_app_is_made_with_the_keyboard_alone,
    a_fault_is_told_at_its_field,
);

const SCOPES: &str = "launch/patient offline_access patient/*.rs user/*.rs";

async fn every_page_of_the_portal_fits_and_is_readable(server: TestServer, browser: Browser) {
    browser.disable_scripts().await; // pages work without
    seed_care(&server).await;
    let at = |path: &str| format!("{}{path}", server.origin());

    browser.go(&at("/account/sign-in")).await;
    look(&browser, "portal-sign-in").await;
    browser.go(&at("/account/sign-up")).await;
    look(&browser, "portal-sign-up").await;
    browser.go(&at("/portal/apps")).await;
    sign_in(&browser, "grace").await;
    browser.go(&at("/portal")).await;
    look(&browser, "portal-start-plain").await;
    browser.click("input[value=work]").await;
    browser.submit("form[action='/account/developer'] button").await;
    look(&browser, "portal-apps-none").await;
    browser.go(&at("/portal/apps/new")).await;
    look(&browser, "portal-app-new").await;
    fill_in(&browser, "Ward Board", "confidential").await;
    browser.submit("main button.main").await;
    let app = browser.url().await.path().rsplit('/').next().unwrap_or_default().to_owned();
    look(&browser, "portal-app-waiting").await;
    browser.submit("form[action$='/secret'] button").await;
    let secret = browser.text("#secret").await;
    look(&browser, "portal-app-secret").await;

    administrate(&server, &browser, &app).await;

    browser.delete_cookies().await;
    browser.go(&at(&format!("/portal/apps/{app}/patients"))).await;
    sign_in(&browser, "grace").await;
    browser.click("input[value=chosen]").await;
    browser.click("input[value=p1]").await;
    browser.submit("button.main").await;
    look(&browser, "portal-app-patients").await;
    App::known(&server, &app, "https://board.example/callback").ask(&browser, SCOPES).await;
    assert_eq!(browser.text(".reached li").await, "Ada Lovelace\nborn 10 December 1815");
    assert_eq!(browser.evaluate("return document.querySelectorAll('.reached li, [name=patient]').length").await, 2);
    look(&browser, "consent-limited").await;
    use_app(&server, &app, &secret).await;
    browser.go(&at(&format!("/portal/apps/{app}"))).await;
    look(&browser, "portal-app-used").await;
    browser.go(&at(&format!("/portal/apps/{app}/edit"))).await;
    look(&browser, "portal-app-edit").await;
    browser.go(&at("/portal/apps")).await;
    look(&browser, "portal-apps").await;
    browser.go(&at("/portal/api")).await;
    look(&browser, "portal-api").await;
    browser.go(&at("/portal/console")).await;
    browser.submit("button.main").await;
    assert_eq!(browser.text("#answer").await, "200 OK");
    look(&browser, "portal-console").await;
    browser.go(&at("/portal/record")).await;
    look(&browser, "portal-record").await;
    browser.go(&at("/portal/sharing")).await;
    look(&browser, "portal-sharing").await;
    browser.go(&at("/account")).await;
    look(&browser, "portal-account").await;
    browser.go(&at("/portal/apps/unknown")).await;
    look(&browser, "portal-not-found").await;
}

/// The administrator's pages, up to the approval of the app.
async fn administrate(server: &TestServer, browser: &Browser, app: &str) {
    let at = |path: &str| format!("{}{path}", server.origin());
    let link = server.command(&["user", "add", "root", "--admin"]);
    let password = link.lines().find_map(|line| line.strip_prefix("password")).expect("a password").trim().to_owned();
    browser.delete_cookies().await;
    browser.go(&at("/account")).await;
    browser.fill("#username", "root").await;
    browser.fill("#password", &password).await;
    browser.submit("button.main").await;
    browser.fill("#on-password", &password).await;
    browser.submit("form[action='/account/second-factor/start'] button").await;
    look(browser, "portal-second-factor-setup").await;
    let key = browser.text(".key").await.replace(' ', "");
    browser.fill("#code", &code(&key, 0)).await;
    browser.submit("button.main").await;
    look(browser, "portal-recovery-codes").await;
    browser.delete_cookies().await;
    browser.go(&at("/portal/admin")).await;
    browser.fill("#username", "root").await;
    browser.fill("#password", &password).await;
    browser.submit("button.main").await;
    browser.fill("#code", "000000").await;
    browser.submit("button.main").await;
    look(browser, "portal-second-factor").await;
    browser.fill("#code", &code(&key, 1)).await;
    browser.submit("button.main").await;
    look(browser, "portal-admin-apps").await;
    browser.submit(&format!("form[action$='{app}'] button[value=approve]")).await;
    look(browser, "portal-admin-approved").await;
    browser.submit("form[action='/portal/admin/invitations'] button").await;
    look(browser, "portal-admin-invitation").await;
    browser.go(&at("/portal/admin/accounts")).await;
    look(browser, "portal-admin-accounts").await;
    browser.go(&at("/portal/admin/events")).await;
    look(browser, "portal-admin-events").await;
    browser.go(&at("/portal/admin/audit")).await;
    look(browser, "portal-admin-audit").await;
    tab_to(browser, "#person").await;
    browser.types("root").await;
    browser.submit_by(Key::Enter).await;
    assert!(browser.text("#events").await.contains("root"));
    look(browser, "portal-admin-audit-of-one").await;
    browser.go(&at("/portal")).await;
    look(browser, "portal-start-admin").await;
}

async fn an_app_is_made_with_the_keyboard_alone(server: TestServer, browser: Browser) {
    browser.go(&format!("{}/account/sign-up", server.origin())).await;
    tab_to(&browser, "input[value=personal]").await;
    browser.press(Key::Space).await;
    for (field, text) in [("#name", "Ada Lovelace"), ("#username", "ada@example.org"), ("#password", PASSWORD)] {
        tab_to(&browser, field).await;
        browser.types(text).await;
    }
    browser.submit_by(Key::Enter).await;
    browser.arrives_at(&format!("{}/portal", server.origin())).await;
    tab_to(&browser, "a[href='/portal/apps/new']").await;
    browser.submit_by(Key::Enter).await;
    for (field, text) in [
        ("#name", "Heart Watch"),
        ("#description", "Shows my pulse."),
        ("#redirect_uris", "https://app.example/callback"),
    ] {
        tab_to(&browser, field).await;
        browser.types(text).await;
    }
    tab_to(&browser, "main button.main").await;
    browser.submit_by(Key::Enter).await;
    assert_eq!(browser.text("h1").await, "Heart Watch");
    assert!(browser.text(".tag").await.contains("waits for approval"));
    tab_to(&browser, "form[action='/account/sign-out'] button").await;
    browser.submit_by(Key::Enter).await;
    browser.arrives_at(&format!("{}/account/sign-in", server.origin())).await;
}

async fn a_fault_is_told_at_its_field(server: TestServer, browser: Browser) {
    seed_care(&server).await;
    browser.go(&format!("{}/portal", server.origin())).await;
    sign_in(&browser, "grace").await;
    browser.click("input[value=work]").await;
    browser.submit("form[action='/account/developer'] button").await;
    browser.go(&format!("{}/portal/apps/new", server.origin())).await;
    fill_in(&browser, "Ward Board", "backend").await;
    browser.fill("#scopes", "patient/*.rs nonsense").await;
    browser.submit("main button.main").await;
    let told = "return [...document.querySelectorAll('[aria-invalid]')].map((field) => [field.id,
        !!document.getElementById(field.getAttribute('aria-describedby').split(' ')[0])])";
    let told = browser.evaluate(told).await;
    assert_eq!(told, serde_json::json!([["keys", true], ["redirect_uris", true], ["scopes", true]]));
    look(&browser, "portal-app-faults").await;
    let kept = "return [document.getElementById('name').value, document.querySelector('[name=kind]:checked').value]";
    assert_eq!(browser.evaluate(kept).await, serde_json::json!(["Ward Board", "backend"]));
}

async fn fill_in(browser: &Browser, name: &str, kind: &str) {
    browser.fill("#name", name).await;
    browser.fill("#description", "Shows the patients of the ward and their latest values.").await;
    browser.click(&format!("input[value={kind}]")).await;
    browser.fill("#redirect_uris", "https://board.example/callback").await;
    browser.fill("#scopes", SCOPES).await;
}

/// Reads and fails a few times as the app, and waits until that is written.
async fn use_app(server: &TestServer, app: &str, secret: &str) {
    let form = [("grant_type", "authorization_code"), ("Client_ID", app), ("Client_secret", secret)];
    let answer = server.anonymous().post("/R4-patient-api/oauth2/token").form(&form).await.expect_status(200).json();
    let client = server.anonymous().with_token(answer.str("access_token").expect("a token"));
    for _ in 0..12 {
        client.get("Patient/p1").await.expect_status(200);
    }
    for path in ["Patient/p2", "Observation?nonsense=1", "Basic/x"] {
        assert!(client.get(path).await.status >= 400);
    }
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
}

async fn sign_in(browser: &Browser, username: &str) {
    browser.fill("#username", username).await;
    browser.fill("#password", PASSWORD).await;
    browser.submit("button.main").await;
}

async fn seed_care(server: &TestServer) {
    seed(server).await;
    let name = array![object! { "text": "Dr Grace Hopper" }];
    server.system().store(&object! { "resourceType": "Practitioner", "id": "d1", "name": name }).await;
    add_account(server, "grace", "Dr Grace Hopper", "Practitioner/d1");
}
