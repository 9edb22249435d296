//! The page of live readings: it shows what comes without being asked, and works without scripts and by keyboard.

use std::time::{Duration, Instant};

use fhir::{array, object};
use tests::TestServer;
use tests::browser::{Browser, Key};

use crate::app::{PASSWORD, add_account, seed, store_patient, tab_to};
use crate::look::look;

tests::in_a_browser!(readings_and_alerts_appear_by_themselves, without_scripts_it_is_a_list_with_limits);

/// How long a reading may take to be shown.
const PATIENCE: Duration = Duration::from_secs(20);

async fn readings_and_alerts_appear_by_themselves(server: TestServer, browser: Browser) {
    open(&server, &browser).await;
    shows(&browser, "64 /min").await;
    shows(&browser, "Live: new readings").await;
    pulse(&server, "p1", 20, "131").await;
    shows(&browser, "131 /min").await;
    // a stranger's reading makes no difference, and somebody who types is not disturbed
    let stranger = object! { "resourceType": "Patient", "id": "px" };
    server.system().store(&stranger).await;
    pulse(&server, "px", 21, "199").await;
    // by keyboard alone
    tab_to(&browser, "#of-p1-8867-4").await;
    browser.press(Key::Enter).await;
    tab_to(&browser, "#high-p1-8867-4").await;
    browser.types("120").await;
    browser.submit_by(Key::Enter).await;
    shows(&browser, "above 120").await;
    alert(&server, "p1").await;
    shows(&browser, "Bed is wet").await;
    let text = browser.text("main").await;
    assert!(!text.contains("199"), "{text}");
    let goals = server.system().get("Goal?patient=p1").await.expect_status(200).entries("match");
    assert_eq!(goals.len(), 1);
    assert_eq!(goals[0].at(&["expressedBy", "reference"]).and_then(|it| it.as_str()), Some("Practitioner/d1"));
    look(&browser, "portal-live").await;
}

async fn without_scripts_it_is_a_list_with_limits(server: TestServer, browser: Browser) {
    browser.disable_scripts().await;
    alert(&server, "p1").await;
    open(&server, &browser).await;
    browser.click("#of-p1-8867-4").await;
    browser.fill("#low-p1-8867-4", "70.5").await;
    browser.submit("form[action='/portal/live'] button").await;
    assert!(browser.text("main").await.contains("below 70.5"));
    browser.click("#of-p1-8867-4").await;
    look(&browser, "portal-live-plain").await;
    browser.fill("#high-p1-8867-4", "7").await;
    browser.submit("form[action='/portal/live'] button").await;
    assert!(browser.text("main").await.contains("must be less"));
    browser.go(&format!("{}/portal/live", server.origin())).await;
    browser.click("#of-p1-8867-4").await;
    browser.fill("#low-p1-8867-4", "").await;
    browser.submit("form[action='/portal/live'] button").await;
    assert!(!browser.text("main").await.contains("below"), "no limits any more");
}

/// A practitioner in front of the page, who has one patient with readings.
async fn open(server: &TestServer, browser: &Browser) {
    seed(server).await;
    store_patient(server, "p1", "Ada Lovelace").await;
    add_account(server, "grace", "Dr Grace Hopper", "Practitioner/d1");
    for (minute, value) in [(1, "72"), (2, "75"), (3, "70"), (4, "64")] {
        pulse(server, "p1", minute, value).await;
    }
    browser.go(&format!("{}/portal/live", server.origin())).await;
    browser.fill("#username", "grace").await;
    browser.fill("#password", PASSWORD).await;
    browser.submit("button.main").await;
}

/// Waits until the page shows a text.
async fn shows(browser: &Browser, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = browser.text("main").await;
        if shown.contains(text) {
            return;
        }
        assert!(Instant::now() < deadline, "{text:?} is not shown: {shown}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn pulse(server: &TestServer, patient: &str, minute: u32, value: &str) {
    let coding = object! { "system": "http://loinc.org", "code": "8867-4", "display": "Heart rate" };
    let value = fhir::json::Json::Number(value.to_owned().into());
    let reading = object! {
        "resourceType": "Observation", "status": "final", "code": object! { "coding": array![coding] },
        "subject": object! { "reference": format!("Patient/{patient}") },
        "effectiveDateTime": format!("2026-03-04T10:{minute:02}:00Z"),
        "valueQuantity": object! { "value": value, "unit": "/min" },
    };
    server.system().create(&reading).await;
}

async fn alert(server: &TestServer, patient: &str) {
    store_patient(server, patient, "Ada Lovelace").await;
    let flag = object! {
        "resourceType": "Flag", "status": "active", "code": object! { "text": "Bed is wet" },
        "subject": object! { "reference": format!("Patient/{patient}") },
        "period": object! { "start": "2026-03-04T10:30:00Z" },
    };
    server.system().create(&flag).await;
}
