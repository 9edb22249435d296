//! Tests of `server/src/portal/{console,api,own_access}.rs`.

use tests::TestServer;

use crate::launch::seed;
use crate::portal::{SCOPES, administrator, decide, make_app, patient_developer, send, sign_up};

tests::on_both_engines!(
    the_console_calls_as_the_app_would,
    the_console_reaches_nothing_but_the_api,
    the_api_is_described_with_this_servers_addresses,
);

const CONSOLE: &str = "/portal/console";

async fn the_console_calls_as_the_app_would(server: TestServer) {
    seed(&server).await;
    let mut root = administrator(&server).await;
    let mut dev = patient_developer(&server, "p1").await;
    let app = make_app(&mut dev, "public", "launch/patient patient/Patient.rs patient/Observation.cruds").await;
    assert!(dev.get(CONSOLE).await.expect_status(200).text().contains("None of your apps is active yet"));
    let call = |method: &'static str, path: &'static str, body: &'static str| {
        [("app", app.clone()), ("method", method.to_owned()), ("path", path.to_owned()), ("body", body.to_owned())]
    };
    let mut carry_out = async |pairs: [(&'static str, String); 4], status: u16| {
        let pairs = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>();
        send(&mut dev, "/portal", CONSOLE, &pairs).await.expect_status(status).text()
    };
    assert!(carry_out(call("GET", "Patient", ""), 400).await.contains("None of your apps is active yet"));
    decide(&mut root, &app, "approve").await.expect_status(303);
    let shown = carry_out(call("GET", "Patient", ""), 200).await;
    assert!(shown.contains("200 OK") && shown.contains("Lovelace") && !shown.contains("Babbage"), "{shown}");
    assert!(!shown.contains("tra_"), "the token is not shown");
    assert!(carry_out(call("GET", "/Patient/p2", ""), 200).await.contains("404 Not Found"));
    assert!(carry_out(call("GET", "Condition", ""), 200).await.contains("403 Forbidden"));
    let observation = "{\"resourceType\":\"Observation\",\"status\":\"final\",\"code\":{\"text\":\"pulse\"},\"subject\":{\"reference\":\"Patient/p1\"}}";
    assert!(carry_out(call("POST", "Observation", observation), 200).await.contains("201 Created"));
    assert!(carry_out(call("GET", "Observation?code:text=pulse", ""), 200).await.contains("pulse"));
}

async fn the_console_reaches_nothing_but_the_api(server: TestServer) {
    seed(&server).await;
    let mut root = administrator(&server).await;
    let mut dev = patient_developer(&server, "p1").await;
    let app = make_app(&mut dev, "public", SCOPES).await;
    decide(&mut root, &app, "approve").await.expect_status(303);
    for path in ["../health", "..%2f../health", "Patient/../../health", "%2e%2e/health", "\\..\\health", "Patient#x"] {
        let pairs = [("app", app.as_str()), ("method", "GET"), ("path", path)];
        let shown = send(&mut dev, CONSOLE, CONSOLE, &pairs).await;
        assert!(shown.status == 400 || !shown.text().contains("200 OK"), "{path}: {}", shown.text());
    }
    let pairs = [("app", app.as_str()), ("method", "TRACE"), ("path", "Patient")];
    assert!(send(&mut dev, CONSOLE, CONSOLE, &pairs).await.text().contains("GET http"), "no other method");
}

async fn the_api_is_described_with_this_servers_addresses(server: TestServer) {
    let mut dev = sign_up(&server, "dev", "work").await;
    let page = dev.get("/portal/api").await.expect_status(200).text();
    for told in [server.fhir_base(), format!("{}/oauth/token", server.origin())] {
        assert!(page.contains(&told), "{told}");
    }
}
