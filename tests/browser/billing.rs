//! The pages of whoever bills insurers: they fit, work without scripts and by keyboard, and say what to do.

use simulators::smartlink::Faults;
use tests::TestServer;
use tests::browser::{Browser, Key};
use tests::clinic::{connected_with, draft, merged, settled, visiting};
use tests::totp::code;

use crate::app::{PASSWORD, add_account, tab_to};
use crate::look::look;

tests::in_a_browser!(the_worklist_fits_and_a_claim_is_sent_again_by_keyboard);

async fn the_worklist_fits_and_a_claim_is_sent_again_by_keyboard(server: TestServer, browser: Browser) {
    browser.disable_scripts().await; // pages work without
    let settings = ["expiring_seconds=86400"];
    let (server, payer) = connected_with(&server, Faults::default(), &settings).await;
    let system = server.system();
    for number in 1..=5 {
        visiting(&system, number).await;
        merged(&system, number).await;
        payer.set_faults(if number == 3 { Faults { expiry: 1000, ..Faults::default() } } else { Faults::default() });
        if number < 4 {
            system.store(&draft(number).0).await;
            system.post(&format!("Claim/c{number}/$submit")).await.expect_status(200);
            settled(&system, number, &["billed", "refused"]).await;
        }
    }
    add_account(&server, "bella", "Bella Njoroge", "Practitioner/d1");
    server.command(&["user", "billing", "bella"]);
    browser.go(&format!("{}/portal/billing", server.origin())).await;
    browser.fill("#username", "bella").await;
    browser.fill("#password", PASSWORD).await;
    browser.submit("button.main").await;
    assert!(browser.text("main").await.contains("need a second factor"));
    browser.go(&format!("{}/account", server.origin())).await;
    browser.fill("#on-password", PASSWORD).await;
    browser.submit("form[action='/account/second-factor/start'] button").await;
    let key = browser.text(".key").await.replace(' ', "");
    browser.fill("#code", &code(&key, 0)).await;
    browser.submit("button.main").await;
    browser.go(&format!("{}/portal/billing", server.origin())).await;
    let shown = browser.text("main").await;
    for told in ["no claim yet", "expires in 23 h", "INV-3", "refused", "Amina Kamau", "Correct the Claim"] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    assert!(!shown.contains("INV-1"), "what is billed is not to be done");
    look(&browser, "billing").await;
    tab_to(&browser, "#find").await;
    browser.types("INV-1").await;
    browser.submit_by(Key::Enter).await;
    assert!(browser.text("main").await.contains("INV-1"));
    browser.go(&format!("{}/portal/billing", server.origin())).await;
    tab_to(&browser, "a[href='/portal/billing/c3']").await;
    browser.submit_by(Key::Enter).await;
    assert!(browser.text("main").await.contains("Session is not active"));
    look(&browser, "billing-claim").await;
    merged(&system, 3).await;
    tab_to(&browser, "button[value=submit]").await;
    browser.submit_by(Key::Enter).await;
    settled(&system, 3, &["billed"]).await;
    browser.go(&format!("{}/portal/billing/c3", server.origin())).await;
    assert!(browser.text("#advice").await.contains("books"));
    browser.click("details summary").await;
    look(&browser, "billing-claim-billed").await;
}
