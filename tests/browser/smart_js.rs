//! The SMART JavaScript client, `fhirclient`, in an app of a few lines: both launches, narrowing, refresh, revocation.
//! <https://github.com/smart-on-fhir/client-js>

use std::time::{Duration, Instant};

use fhir::json::Json;
use fhir::{array, object};
use serde_json::{Value, json};
use tests::TestServer;
use tests::browser::Browser;
use tests::clients::{Libraries, libraries, source};
use tests::file_server::FileServer;

use crate::app::{self, add_account, seed};

tests::in_a_browser!(
    sm_28_fhirclient_gets_what_was_ticked_in_a_standalone_launch,
    sm_35_fhirclient_is_launched_from_the_ehr,
    sm_54_fhirclient_refreshes_its_token,
    sm_57_fhirclient_ends_with_the_request_after_a_revocation,
);

const SCOPE: &str =
    "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Observation.rs patient/Condition.rs";
const EHR_SCOPE: &str = "launch openid fhirUser offline_access user/Patient.rs user/Observation.rs";

async fn sm_28_fhirclient_gets_what_was_ticked_in_a_standalone_launch(server: TestServer, browser: Browser) {
    let Some(libraries) = libraries(module_path!()) else { return };
    seed_record(&server).await;
    let app = start(&server, &libraries, SCOPE).await;
    browser.go(&standalone(&server, &app)).await;
    browser.arrives_at(&format!("{}/oauth/login", server.origin())).await;
    app::sign_in(&browser, "ada").await;
    browser.click("input[value='patient/Condition.rs']").await;
    browser.submit("button[value=allow]").await;
    assert_shown(&browser, &app).await;
    assert_eq!(browser.text("#user").await, "Patient/p1");
    assert_eq!(browser.text("#observations").await, "Heart rate: 72 /min\nHeart rate: 70 /min", "two pages");
    let told =
        "return [client.patient.id, client.state.tokenResponse.scope.split(' ').includes('patient/Condition.rs')]";
    assert_eq!(browser.evaluate(told).await, json!(["p1", false]));
    assert_eq!(status(&browser, "Condition?patient=p1").await, json!(403), "it was unticked");
    assert_eq!(status(&browser, "Patient/p2").await, json!(404), "another patient");
    browser.go(&app.address("index.html")).await; // reloaded: it goes on with what it kept
    assert_shown(&browser, &app).await;
}

async fn sm_35_fhirclient_is_launched_from_the_ehr(server: TestServer, browser: Browser) {
    let Some(libraries) = libraries(module_path!()) else { return };
    seed_record(&server).await;
    add_account(&server, "grace", "Dr Grace Hopper", "Practitioner/d1");
    let app = start(&server, &libraries, EHR_SCOPE).await;
    browser.go(&format!("{}/ehr", server.origin())).await;
    app::sign_in(&browser, "grace").await;
    browser.submit("a[href='/ehr/p1']").await;
    browser.submit("button[name=app]").await;
    browser.arrives_at(&format!("{}/oauth/consent", server.origin())).await;
    assert!(browser.text(".person").await.contains("Ada Lovelace"), "the patient who was open");
    browser.submit("button[value=allow]").await;
    assert_shown(&browser, &app).await;
    assert_eq!(browser.text("#user").await, "Practitioner/d1");
    let told = "return [client.patient.id, client.state.tokenResponse.need_patient_banner, client.getState('scope')]";
    assert_eq!(browser.evaluate(told).await, json!(["p1", true, EHR_SCOPE]));
}

async fn sm_54_fhirclient_refreshes_its_token(server: TestServer, browser: Browser) {
    let Some(libraries) = libraries(module_path!()) else { return };
    seed_record(&server).await;
    let app = start(&server, &libraries, SCOPE).await;
    allow(&server, &browser, &app).await;
    let refresh = "const before = client.state.tokenResponse;
        const [access, refresh] = [before.access_token, before.refresh_token];
        return client.refresh().then(({ tokenResponse: after }) =>
            [after.access_token !== access, after.refresh_token !== refresh, after.patient, client.patient.id])";
    assert_eq!(browser.evaluate(refresh).await, json!([true, true, "p1", "p1"]));
    assert_eq!(status(&browser, "Patient/p1").await, json!(200));
    // A token that is over is renewed by the library on its own, in the middle of a request.
    let late = "client.state.expiresAt = 1;
        const before = client.state.tokenResponse.access_token;
        return client.patient.read().then((patient) => [patient.id, client.state.tokenResponse.access_token !== before])";
    assert_eq!(browser.evaluate(late).await, json!(["p1", true]));
}

async fn sm_57_fhirclient_ends_with_the_request_after_a_revocation(server: TestServer, browser: Browser) {
    let Some(libraries) = libraries(module_path!()) else { return };
    seed_record(&server).await;
    let app = start(&server, &libraries, SCOPE).await;
    allow(&server, &browser, &app).await;
    assert_eq!(status(&browser, "Patient/p1").await, json!(200));
    browser.go(&format!("{}/portal/sharing", server.origin())).await;
    browser.submit("form[action='/portal/sharing'] button").await;
    browser.go(&app.address("index.html")).await;
    until(&browser, "#problem").await;
    assert_eq!(browser.text("#patient").await, "", "nothing is shown any more");
}

/// What the person comes back to shows their record.
async fn assert_shown(browser: &Browser, app: &FileServer) {
    browser.arrives_at(&app.address("index.html")).await;
    until(browser, "#patient, #problem").await;
    assert_eq!(browser.text("#problem").await, "");
    assert_eq!(browser.text("#patient").await, "Ada Lovelace");
}

async fn allow(server: &TestServer, browser: &Browser, app: &FileServer) {
    browser.go(&standalone(server, app)).await;
    browser.arrives_at(&format!("{}/oauth/login", server.origin())).await;
    app::sign_in(browser, "ada").await;
    browser.submit("button[value=allow]").await;
    assert_shown(browser, app).await;
}

/// The status with which the app is answered.
async fn status(browser: &Browser, path: &str) -> Value {
    let asked = format!(
        "return client.request({{ url: '{path}', includeResponse: true }})
            .then(({{ response }}) => response.status, (error) => error.statusCode ?? error.message)"
    );
    browser.evaluate(&asked).await
}

/// Waits until an element has a text.
async fn until(browser: &Browser, selector: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let has_text = format!("return [...document.querySelectorAll('{selector}')].some((it) => it.textContent !== '')");
    while browser.evaluate(&has_text).await != true {
        assert!(Instant::now() < deadline, "nothing in {selector} at {}", browser.url().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn standalone(server: &TestServer, app: &FileServer) -> String {
    format!("{}?iss={}", app.address("launch.html"), server.fhir_base())
}

/// Puts the app on a server of its own and registers it.
async fn start(server: &TestServer, libraries: &Libraries, scope: &str) -> FileServer {
    let files = FileServer::start().await;
    files.put_file(&libraries.package_file("fhirclient/build/fhir-client.min.js"));
    for page in ["launch.html", "index.html"] {
        files.put_file(&source("app").join(page));
    }
    let (redirect_uri, launch_uri) = (files.address("index.html"), files.address("launch.html"));
    let arguments = ["client", "add", "--name=Heart Watch", "--json", "--redirect-uri", &redirect_uri];
    let added = server.command(&[&arguments[..], &["--launch-uri", &launch_uri]].concat());
    let added = Json::parse(added.trim().as_bytes()).unwrap_or_else(|error| panic!("{error}: {added}"));
    let settings = json!({ "clientId": added.str("client_id").expect("a client id"), "scope": scope });
    files.put("settings.js", format!("const SETTINGS = {settings};"));
    files
}

/// Ada Lovelace with two observations and a condition.
async fn seed_record(server: &TestServer) {
    seed(server).await;
    let subject = object! { "reference": "Patient/p1" };
    for (rate, day) in [("70", "01"), ("72", "02")] {
        let rate = Json::Number(rate.into());
        let observation = object! {
            "resourceType": "Observation", "id": format!("o{day}"), "status": "final", "subject": subject.clone(),
            "code": object! { "text": "Heart rate" }, "effectiveDateTime": format!("2026-03-{day}"),
            "valueQuantity": object! { "value": rate, "unit": "/min" },
        };
        server.system().store(&observation).await;
    }
    let code = object! { "text": "Sprain" };
    let condition = object! { "resourceType": "Condition", "id": "c1", "subject": subject, "code": code };
    server.system().store(&condition).await;
    let name = array![object! { "text": "Dr Grace Hopper" }];
    server.system().store(&object! { "resourceType": "Practitioner", "id": "d1", "name": name }).await;
}
