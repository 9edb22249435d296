//! How pages look: at each size and in each colour scheme they fit, are readable and say what each field is.

use fhir::object;
use tests::TestServer;
use tests::browser::{Browser, DESKTOP, PHONE, Screen};

use crate::app::{self, App, add_account, seed};

tests::in_a_browser!(every_page_fits_and_is_readable, a_long_list_of_patients_fits, the_ehr_fits_and_is_readable);

/// The narrowest that has to work (WCAG 2.2, 1.4.10).
const NARROW: Screen = Screen { width: 320, height: 640 };

const EVERYTHING: &str = "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Observation.rs \
    patient/Observation.c patient/MedicationRequest.rs user/Encounter.rs";

/// What is wrong with a page: text whose contrast is below 4.5 (3 where it is large), fields without a label, targets
/// that a finger misses, ids that are there twice, and content that is wider than the window (WCAG 2.2: 1.4.3, 1.3.1,
/// 2.5.8, 1.4.10).
const FAULTS: &str = r"
    const faults = [];
    const root = document.documentElement;
    if (root.scrollWidth > root.clientWidth) faults.push(`wider than the window: ${root.scrollWidth}`);
    const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
    const luminance = (colour) => {
        const [r, g, b] = numbers(colour).map((part) => part / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const background = (element) => {
        for (; element; element = element.parentElement) {
            const colour = getComputedStyle(element).backgroundColor;
            if ((numbers(colour)[3] ?? 1) === 1) return colour;
        }
        return matchMedia('(prefers-color-scheme: dark)').matches ? 'rgb(18, 18, 18)' : 'rgb(255, 255, 255)';
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (!texts.currentNode.textContent.trim() || !element.checkVisibility()) continue;
        const style = getComputedStyle(element);
        const [light, dark] = [luminance(style.color), luminance(background(element))].sort((a, b) => b - a);
        const size = parseFloat(style.fontSize);
        const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
        const contrast = (light + 0.05) / (dark + 0.05);
        if (contrast < (isLarge ? 3 : 4.5)) faults.push(`contrast ${contrast.toFixed(2)}: ${texts.currentNode.textContent.trim()}`);
        if (size < 13) faults.push(`small: ${texts.currentNode.textContent.trim()}`);
    }
    for (const field of document.querySelectorAll('input:not([type=hidden]), select, textarea')) {
        if (!field.labels.length) faults.push(`no label: ${field.name}`);
    }
    for (const target of document.querySelectorAll('button:not([aria-hidden]), label.choice, summary, nav a, a.button')) {
        const { height } = target.getBoundingClientRect();
        if (height < 24) faults.push(`${height} pixels high: ${target.textContent}`);
    }
    const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
    if (new Set(ids).size !== ids.length) faults.push(`an id twice: ${ids}`);
    if (document.querySelectorAll('h1').length !== 1 || !root.lang || !document.title) faults.push('no heading, language or title');
    return faults;
";

async fn every_page_fits_and_is_readable(server: TestServer, browser: Browser) {
    seed(&server).await;
    add_account(&server, "grace", "Dr Grace Hopper", "Practitioner/d1");
    let app = App::register(&server, "Heart Watch").await;

    browser.go(server.origin()).await;
    look(&browser, "home").await;

    browser.go(&format!("{}/oauth/consent?request=over", server.origin())).await;
    look(&browser, "error").await;

    app.ask(&browser, EVERYTHING).await;
    look(&browser, "login").await;
    browser.fill("#username", "ada").await;
    browser.fill("#password", "wrong").await;
    browser.submit("button.main").await;
    look(&browser, "login-wrong").await;

    app::sign_in(&browser, "ada").await;
    look(&browser, "consent").await;

    browser.submit("button[value=switch]").await;
    app::sign_in(&browser, "grace").await;
    look(&browser, "consent-practitioner").await;

    browser.delete_cookies().await;
    app.ask(&browser, "launch/patient patient/*.cruds online_access").await;
    app::sign_in(&browser, "ada").await;
    look(&browser, "consent-everything").await;
    browser.evaluate("document.querySelectorAll('[name=scope]').forEach((box) => { box.checked = false })").await;
    browser.submit("button[value=allow]").await;
    look(&browser, "consent-nothing").await;
}

async fn a_long_list_of_patients_fits(server: TestServer, browser: Browser) {
    seed(&server).await;
    for number in 0..30 {
        let name = format!("Wolfeschlegelsteinhausenbergerdorff-{number} Donaudampfschifffahrtsgesellschaft");
        app::store_patient(&server, &format!("long{number}"), &name).await;
    }
    add_account(&server, "grace", "Dr Grace Hopper", "Practitioner/d1");
    let app = App::register(&server, &"Wolfeschlegelsteinhausenberger".repeat(3)).await;
    app.ask(&browser, "launch/patient patient/*.rs").await;
    look(&browser, "login-long").await;
    app::sign_in(&browser, "grace").await;
    look(&browser, "consent-long").await;
    browser.click("input[value=p2]").await;
    browser.submit("button[value=allow]").await;
    let granted = app.exchange(&server, &app.answer(&browser).await).await;
    assert_eq!(granted.str("patient"), Some("p2"));
}

async fn the_ehr_fits_and_is_readable(server: TestServer, browser: Browser) {
    seed(&server).await;
    add_account(&server, "grace", "Dr Grace Hopper", "Practitioner/d1");
    let subject = object! { "reference": "Patient/p1" };
    for (id, day, class) in [("e1", "2026-03-04", "ambulatory"), ("e2", "2026-05-06", "emergency")] {
        let class = object! { "code": "X", "display": class };
        let encounter = object! {
            "resourceType": "Encounter", "id": id, "status": "finished", "class": class, "subject": subject.clone(),
            "period": object! { "start": format!("{day}T10:00:00Z") },
        };
        server.system().store(&encounter).await;
    }
    let app = App::register(&server, "Heart Watch").await;
    browser.go(&format!("{}/ehr", server.origin())).await;
    app::sign_in(&browser, "grace").await;
    look(&browser, "ehr-patients").await;
    browser.go(&format!("{}/ehr/p1", server.origin())).await;
    look(&browser, "ehr-patient-without-apps").await;
    for name in ["Growth Chart", "Cardiac Risk"] {
        let uri = ["--redirect-uri", "https://app.example/callback", "--launch-uri", "https://app.example/launch"];
        server.command(&[&["client", "add", "--name", name], &uri[..]].concat());
    }
    browser.go(&format!("{}/ehr?find=nobody", server.origin())).await;
    look(&browser, "ehr-patients-none").await;
    browser.go(&format!("{}/ehr/p1", server.origin())).await;
    look(&browser, "ehr-patient").await;
    app.ask(&browser, "launch/patient launch/encounter patient/*.rs user/Patient.rs").await;
    browser.click("input[value=p1]").await;
    browser.submit("button[value=allow]").await;
    look(&browser, "consent-visit").await;
}

/// Looks at the page at all sizes, light and dark.
pub(crate) async fn look(browser: &Browser, page: &str) {
    for (scheme, dark) in [("light", false), ("dark", true)] {
        browser.prefer_dark(dark).await;
        for (screen_name, screen) in [("narrow", NARROW), ("phone", PHONE), ("desktop", DESKTOP)] {
            browser.resize(screen).await;
            let faults = browser.evaluate(FAULTS).await;
            browser.screenshot(&format!("{page}-{screen_name}-{scheme}")).await;
            assert_eq!(faults, serde_json::json!([]), "{page}, {screen_name}, {scheme}");
        }
    }
    let complaints = browser.complaints().await;
    let of_policy: Vec<_> = complaints.iter().filter(|text| text.contains("Content Security Policy")).collect();
    assert!(of_policy.is_empty(), "{page}: {of_policy:?}");
}
