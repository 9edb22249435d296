//! Tests of `server/src/connections/smartz.rs` and `smart_meter.rs`, and of `server/src/devices/twins.rs`.

use fhir::date::DateTime;
use fhir::json::Json;
use serde_json::Value;
use simulators::smart_meter::{self, SmartMeter};
use simulators::smartz::{self, LINK_CODE, Smartz};
use simulators::trouble::Trouble;
use tests::TestServer;

use crate::connections::{IMEI, NAMESPACE, arrived, command, json, loopback, outward, refused, subject, until_state};
use crate::{add_patient, count, inbox, only};

tests::on_both_engines!(
    smartz_is_read_with_other_paths_and_names,
    a_link_code_ties_to_one_organisation_and_is_kept_nowhere,
    smartz_says_who_wears_what_of_patients_that_are_ours,
    a_gateway_that_refuses_is_left_alone,
    smart_meter_is_asked_window_by_window,
    a_reading_by_two_vendors_counts_once_where_that_is_wanted,
);

const KEY: &str = "secret-smart-meter-key";

async fn smartz_is_read_with_other_paths_and_names(server: TestServer) {
    let server = outward(server).await;
    let vendor = Smartz::start(loopback(), 3600, Trouble::default()).await.expect("a free port");
    vendor.speak_otherwise();
    vendor.status(smartz::status(1));
    let paths = r#"{"token": "oauth2", "organisations": "tenants", "manufacturers": "makers",
        "devices": "tenants/{organisation}/things", "patients": "tenants/{organisation}/people",
        "statuses": "tenants/{organisation}/readings", "alerts": "tenants/{organisation}/alarms"}"#;
    let fields = r#"{"organisation.id": "/key", "manufacturer.id": "/key", "product.id": "/key", "device.id": "/key",
        "patient.id": "/key", "pod.id": "/key", "status.id": "/key", "status.pod": "/transceiver",
        "status.patient": "/person", "status.percent": "/measured/wetness"}"#;
    let settings = ["patients=mirror".to_owned(), "items=results".to_owned(), "since=after".to_owned()];
    let named = [format!("paths={paths}"), format!("fields={fields}"), "token-style=basic".to_owned()];
    add(&server, &vendor, "sub-key-1", &[&settings[..], &named[..]].concat());
    let kept = arrived(&server, 4).await;
    assert!(kept.iter().all(|message| message["state"] == "applied"), "{kept:?}");
    let system = server.system();
    let patient = only(&system, "Patient", &format!("{NAMESPACE}/smartz/patient|pt-9001")).await;
    let of = format!("Patient/{}", patient.str("id").expect("an id"));
    let percent = only(&system, "Observation", &format!("{NAMESPACE}/smartz/status|st-1:saturation-percent")).await;
    assert_eq!((subject(&percent), number(&percent)), (Some(of.as_str()), Some("1")));
    let mut wrong = vec!["connection", "add", "smartz", "--setting", "fields=[1]"];
    wrong.extend(["app-id=a", "app-key=b", "sub-key=c"].iter().flat_map(|credential| ["--credential", credential]));
    let wrong = refused(&server, &wrong);
    assert!(wrong.contains("JSON object"), "{wrong}");
}

async fn a_link_code_ties_to_one_organisation_and_is_kept_nowhere(server: TestServer) {
    let server = outward(server).await;
    let vendor = Smartz::start(loopback(), 3600, Trouble::default()).await.expect("a free port");
    vendor.unlink();
    add(&server, &vendor, "sub-key-1", &[]);
    until_state(&server, "ok").await;
    let wrong = refused(&server, &["connection", "link", "smartz", "--code", "LINK-NOT-THIS"]);
    assert!(wrong.contains("422") && !wrong.contains("LINK-NOT-THIS"), "{wrong}");
    assert!(refused(&server, &["connection", "link", "validic", "--code", "x"]).contains("no link codes"));
    std::fs::write(server.folder().join("code"), LINK_CODE).expect("written");
    let linked = json(&command(&server, &["connection", "link", "smartz", "--code", "file:code", "--json"]));
    assert_eq!(linked["organisation"], "org-1 (Sunrise Care Home)");
    arrived(&server, 2).await; // the manufacturer was there before
    let organisation = only(&server.system(), "Organization", &format!("{NAMESPACE}/smartz/organisation|org-1")).await;
    assert_eq!(organisation.str("name"), Some("Sunrise Care Home"));
    let again = refused(&server, &["connection", "link", "smartz", "--code", LINK_CODE]);
    assert!(!again.contains(LINK_CODE), "{again}");
    let listed = command(&server, &["connection", "list", "--json"]);
    assert_eq!(json(&listed)[0]["settings"]["organisations"], "org-1");
    assert!(!listed.contains(LINK_CODE) && !server.log().contains(LINK_CODE));
}

async fn smartz_says_who_wears_what_of_patients_that_are_ours(server: TestServer) {
    let server = outward(server).await;
    let vendor = Smartz::start(loopback(), 3600, Trouble::default()).await.expect("a free port");
    let system = server.system();
    let identifier = fhir::object! { "system": format!("{NAMESPACE}/smartz/patient"), "value": "pt-9001" };
    system.store(&fhir::object! { "resourceType": "Patient", "id": "p", "identifier": fhir::array![identifier] }).await;
    let before = system.get("Patient/p").await.expect_status(200).text().clone();
    vendor.status(smartz::status(3));
    add(&server, &vendor, "sub-key-1", &["patients=link".to_owned()]);
    arrived(&server, 4).await;
    assert_eq!(system.get("Patient/p").await.expect_status(200).text(), before, "a vendor changes no patient of ours");
    let worn = system.matches("DeviceUseStatement?patient=p").await;
    assert_eq!((worn.len(), system.matches("Observation?patient=p").await.len()), (1, 2));
}

async fn a_gateway_that_refuses_is_left_alone(server: TestServer) {
    let server = outward(server).await;
    let vendor = Smartz::start(loopback(), 3600, Trouble::default()).await.expect("a free port");
    vendor.http.misbehave(Trouble { quota: true, retry_after: 3723, ..Trouble::default() });
    add(&server, &vendor, "sub-key-1", &[]);
    let failing = until_state(&server, "failing").await;
    assert!(failing["error"].as_str().is_some_and(|error| error.contains("wait 3723 s")), "{failing}");
    assert_eq!(vendor.http.requests(), 1, "a spent quota is not asked again");
    assert!(seconds_until_due(&failing) > 3600, "{failing}");
    vendor.http.misbehave(Trouble { throttle_every: 1, retry_after: 1800, ..Trouble::default() });
    add(&server, &vendor, "sub-key-1", &[]);
    let failing = until_error(&server, "wait 1800 s").await;
    assert!((1700..3600).contains(&seconds_until_due(&failing)), "{failing}");
    vendor.http.misbehave(Trouble::default());
    let asked = vendor.http.requests();
    add(&server, &vendor, "sub-key-wrong", &[]);
    let failing = until_error(&server, "invalid subscription key").await;
    assert!(failing["error"].as_str().is_some_and(|error| error.contains("credentials")), "{failing}");
    assert!(vendor.http.requests() <= asked + 4, "a wrong key is not tried again and again");
    assert!(!failing.to_string().contains("sub-key-wrong") && !server.log().contains("sub-key-wrong"));
}

async fn smart_meter_is_asked_window_by_window(server: TestServer) {
    let server = outward(server).await;
    let vendor = SmartMeter::start(loopback(), KEY, Trouble { fail_every: 5, ..Trouble::default() }).await;
    let vendor = vendor.expect("a free port");
    let device = "860000000000011";
    meter(&server, "smart_meter", device, "p").await;
    // Taken in two days ago, and late; the same twice.
    let reading = |number| smart_meter::blood_pressure(device, number);
    vendor.took_in(50, reading(0));
    vendor.took_in(2, reading(1));
    vendor.took_in(1, reading(1));
    let at = vendor.http.origin();
    let key = format!("api-key={KEY}");
    let basis = ["connection", "add", "smart_meter", "--url", &at, "--credential", &key];
    let settings = ["--setting", "poll-seconds=1", "--setting", "catch-up-days=3", "--setting", "recorded-time=local"];
    command(&server, &[&basis[..], &settings[..]].concat());
    arrived(&server, 2).await;
    vendor.take_in(reading(2));
    let mut corrected = reading(1);
    corrected["systolic_mmhg"] = 99.into();
    vendor.take_in(corrected);
    let kept = arrived(&server, 4).await;
    assert!(kept.iter().all(|message| message["state"] == "applied"), "{kept:?}");
    let system = server.system();
    assert_eq!(count(&system, "Observation").await, 6, "a panel and a pulse each");
    let panel = only(&system, "Observation", &format!("{NAMESPACE}/smart_meter/reading|7001:blood_pressure")).await;
    assert_eq!(panel.str("effectiveDateTime"), Some("2025-05-01T00:01:00-04:00"), "a local time");
    assert_eq!(panel.str("status"), Some("corrected"));
    let questions = vendor.questions();
    let spans = questions.iter().map(|asked| (asked["ingest_date_start"].as_str(), asked["ingest_date_end"].as_str()));
    assert!(questions.len() >= 4 && spans.clone().all(|(from, until)| from <= until), "three days and one more");
    assert!(questions.iter().all(|asked| asked["date_start"].as_str() < asked["ingest_date_start"].as_str()));
    let wrong = ["connection", "add", "smart_meter", "--url", &at, "--credential", "api-key=secret-wrong-key"];
    command(&server, &wrong);
    let failing = until_state(&server, "failing").await;
    assert!(failing["error"].as_str().is_some_and(|error| error.contains("credentials")), "{failing}");
    assert!(!server.log().contains("secret-wrong-key") && !server.log().contains(KEY));
}

async fn a_reading_by_two_vendors_counts_once_where_that_is_wanted(server: TestServer) {
    let engine = server.engine();
    for (wanted, apart) in [("false", 2), ("true", 1)] {
        let server = TestServer::start_with(engine, &["--join-twin-readings", wanted]).await;
        meter(&server, "smart_meter", IMEI, "p").await;
        let system = server.system();
        server.command(&["pair", "--vendor", "validic", "--device", "uid-7", "--patient", "p", "--from", "2022-01-01"]);
        let [validic, meter] = ["validic", "smart_meter"].map(|vendor| server.command(&["vendor", "add", vendor]));
        let mut record = simulators::validic::record("uid-7", 0, 71);
        post(&server, (&validic, "validic"), &record.to_string()).await;
        let reading = |id: &str, pulse: u64, second: &str| {
            serde_json::json!({
                "reading_id": id, "device_id": IMEI, "device_model": "iPulseOx", "reading_type": "pulse_ox",
                "date_recorded": format!("2025-03-01T00:00:{second}"), "time_zone_offset": "-4", "pulse_bpm": pulse,
            })
        };
        post(&server, (&meter, "smart-meter"), &reading("same", 71, "01").to_string()).await;
        assert_eq!(count(&system, "Observation").await, apart, "{wanted}");
        let page = [reading("other", 72, "00"), reading("later", 71, "02")];
        post(&server, (&meter, "smart-meter"), &Value::from(page.to_vec()).to_string()).await;
        assert_eq!(count(&system, "Observation").await, apart + 2, "another value, and another time: {wanted}");
        record["metrics"][0]["value"] = 70.into();
        record["checksum"] = "sum-70".into();
        post(&server, (&validic, "validic"), &record.to_string()).await;
        assert_eq!(count(&system, "Observation").await, apart + 2, "{wanted}");
        let first = only(&system, "Observation", &format!("{NAMESPACE}/validic/record-metric|record-0:pulse")).await;
        assert_eq!(number(&first), Some("70"), "its own vendor corrects it");
        let target = format!("Provenance?target=Observation/{}", first.str("id").expect("an id"));
        let vendors = if wanted == "true" { 3 } else { 2 };
        assert_eq!(system.matches(&target).await.len(), vendors, "both vendors' messages stand behind it: {wanted}");
    }
}

/// Makes the connection with Smartz.
fn add(server: &TestServer, vendor: &Smartz, sub: &str, settings: &[String]) {
    let [id, key, _] = smartz::CREDENTIALS;
    let base = format!("{}/v1", vendor.http.origin());
    let credentials = [format!("app-id={id}"), format!("app-key={key}"), format!("sub-key={sub}")];
    let mut arguments = vec!["connection", "add", "smartz", "--url", &base];
    arguments.extend(credentials.iter().flat_map(|credential| ["--credential", credential]));
    arguments.extend(settings.iter().flat_map(|setting| ["--setting", setting]));
    arguments.extend(["--setting", "poll-seconds=1"]);
    command(server, &arguments);
}

/// A patient with a meter since 2022.
async fn meter(server: &TestServer, vendor: &str, device: &str, patient: &str) {
    add_patient(&server.system(), patient).await;
    server.command(&["pair", "--vendor", vendor, "--device", device, "--patient", patient, "--from", "2022-01-01"]);
}

/// Delivers a message with a vendor's key at its path, and waits until it is applied.
async fn post(server: &TestServer, (key, path): (&str, &str), body: &str) {
    let cloud = server.anonymous().post(&format!("/health-data/{path}")).header("x-api-key", key.trim());
    cloud.body("application/json", body).await.expect_status(200);
    inbox(server).await;
}

/// Waits until the only connection says that in its error.
async fn until_error(server: &TestServer, words: &str) -> Value {
    for _ in 0..600 {
        let failing = until_state(server, "failing").await;
        if failing["error"].as_str().is_some_and(|error| error.contains(words)) {
            return failing;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no \"{words}\"\n{}", server.log());
}

fn seconds_until_due(failing: &Value) -> i64 {
    let time = |name: &str| failing[name].as_str().and_then(DateTime::parse).expect("an instant").start();
    (time("dueAt") - time("failingSince")) / 1_000_000
}

fn number(resource: &Json) -> Option<&str> {
    resource.at(&["valueQuantity", "value"])?.as_number()
}
