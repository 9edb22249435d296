//! Tests of `server/src/connections`: vendors' services on loopback, simulated, with what goes wrong there.

use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Instant;

use fhir::json::Json;
use serde_json::Value;
use simulators::smartz::{self, Smartz};
use simulators::trouble::Trouble;
use simulators::validic::{self, ORGANIZATION, STREAM, Validic};
use tests::{Engine, TestServer};

use crate::{PATIENCE, add_patient, count, inbox, only};

tests::on_both_engines!(
    credentials_are_sealed_and_never_shown,
    a_wrong_connection_is_refused_or_fails_alone,
    devices_are_connected_listed_and_disconnected,
    a_device_is_connected_by_whoever_may_write_it,
    a_stream_is_read_without_gap_or_repeat,
    of_two_servers_one_reads_and_the_other_takes_over,
    records_are_caught_up_with_by_asking,
    smartz_is_asked_with_tokens_that_end,
);

/// What identifiers begin with.
pub(crate) const NAMESPACE: &str = "https://example.org/fhir/adapters";
/// A meter.
pub(crate) const IMEI: &str = "111111111111111";
const TOKEN: &str = "secret-validic-token";

async fn credentials_are_sealed_and_never_shown(server: TestServer) {
    let server = outward(server).await;
    let vendor = validic(Trouble::default()).await;
    let added = connect(&server, &vendor, &[]);
    assert_eq!((&added["vendor"], &added["state"]), (&"validic".into(), &"new".into()));
    for shown in [
        added.to_string(),
        command(&server, &["connection", "list"]),
        command(&server, &["connection", "list", "--json"]),
    ] {
        assert!(!shown.contains(TOKEN), "{shown}");
    }
    command(&server, &["connection", "check", "validic"]);
    until_state(&server, "ok").await;
    assert!(!server.log().contains(TOKEN), "no secrets in the log");
    let removed = json(&command(&server, &["connection", "remove", "validic", "--json"]));
    assert_eq!(removed["removed"], true);
    assert_eq!(json(&command(&server, &["connection", "list", "--json"])), Value::Array(Vec::new()));
}

async fn a_wrong_connection_is_refused_or_fails_alone(server: TestServer) {
    let server = outward(server).await;
    let vendor = validic(Trouble::default()).await;
    let at = vendor.http.origin();
    for (wrong, word) in [
        (&["connection", "add", "vallidic"][..], "validic"),
        (&["connection", "add", "validic", "--url", "ftp://x"], "--url"),
        (&["connection", "add", "validic", "--url", &at, "--credential", "tokn=x"], "token"),
        (&["connection", "add", "validic", "--url", &at, "--credential", "token=x"], "organization"),
        (&["connection", "add", "validic", "--credential", "secret-without-name"], "NAME=VALUE"),
    ] {
        let said = refused(&server, wrong);
        assert!(said.contains(word) && !said.contains("secret-without-name"), "{said}");
    }
    let wrong = ["--credential", "token=secret-wrong-token"];
    let basis = ["connection", "add", "validic", "--url", &at, "--setting", "organization=org-1"];
    command(&server, &[&basis[..], &wrong[..]].concat());
    let failing = until_state(&server, "failing").await;
    assert!(failing["error"].as_str().is_some_and(|error| error.contains("credentials")), "{failing}");
    assert!(failing["failingSince"].is_string() && failing["dueAt"].is_string(), "{failing}");
    assert!(!server.log().contains("secret-wrong-token") && !failing.to_string().contains("secret-wrong-token"));
    server.anonymous().get("/health").await.expect_status(200);
    command(
        &server,
        &[
            "connection",
            "add",
            "validic",
            "--url",
            &at,
            "--disabled",
            "--credential",
            "token=x",
            "--setting",
            "organization=org-1",
        ],
    );
    add_patient(&server.system(), "p").await;
    let refused = server.system().post("Patient/p/$provision-device-user").await.expect_status(503);
    assert!(refused.text().contains("no connection"), "{}", refused.text());
}

async fn devices_are_connected_listed_and_disconnected(server: TestServer) {
    let server = outward(server).await;
    let vendor = validic(Trouble::default()).await;
    connect(&server, &vendor, &[]);
    let system = server.system();
    for patient in ["p", "q"] {
        add_patient(&system, patient).await;
    }
    let kind = "device-type=blood_pressure";
    let early = system.post(&format!("Patient/p/$connect-device?device={IMEI}&{kind}")).await.expect_status(422);
    assert!(early.text().contains("$provision-device-user"), "{}", early.text());
    let made = system.post("Patient/p/$provision-device-user").await.expect_status(200).json();
    let uid = made.list("parameter")[0].str("valueString").expect("a name").to_owned();
    let again = system.post("Patient/p/$provision-device-user").await.expect_status(200).json();
    assert_eq!((again, vendor.uids()), (made, vec![uid.clone()]), "one user, however often it is asked for");
    for wrong in ["device=1234&device-type=weight_scale", &format!("device={IMEI}&device-type=toaster")] {
        system.post(&format!("Patient/p/$connect-device?{wrong}")).await.expect_status(422);
    }
    assert!(vendor.devices().is_empty());

    let connected = system.post(&format!("Patient/p/$connect-device?device={IMEI}&{kind}")).await.expect_status(200);
    assert!(connected.text().contains("\"active\""), "{}", connected.text());
    system.post(&format!("Patient/p/$connect-device?device={IMEI}&{kind}")).await.expect_status(200);
    system.post("Patient/q/$provision-device-user").await.expect_status(200);
    system.post(&format!("Patient/q/$connect-device?device={IMEI}&{kind}")).await.expect_status(409);
    let taken = "222222222222222";
    system.post(&format!("Patient/p/$connect-device?device={taken}&{kind}")).await.expect_status(200);
    assert_eq!(inbox(&server).await.len(), 2);
    let device = only(&system, "Device", &format!("{NAMESPACE}/validic/device/smart_meter|{IMEI}")).await;
    assert_eq!(device.at(&["patient", "reference"]).and_then(Json::as_str), Some("Patient/p"));
    assert_eq!(uses(&server, "p").await, ["active", "active"]);

    system.post(&format!("Patient/q/$disconnect-device?device={IMEI}")).await.expect_status(422);
    system.post(&format!("Patient/p/$disconnect-device?device={IMEI}")).await.expect_status(200);
    inbox(&server).await;
    assert_eq!(uses(&server, "p").await, ["active", "completed"]);
    let ended = system.post("Patient/p/$disconnect-all-devices").await.expect_status(200).json();
    assert_eq!((ended.list("parameter").len(), vendor.devices().len()), (1, 0));
    inbox(&server).await;
    assert_eq!(uses(&server, "p").await, ["completed", "completed"]);
    let listed = system.get("Patient/p/$device-connections").await.expect_status(200).json();
    let states = listed.to_string().matches("completed").count();
    assert_eq!((listed.list("parameter").len(), states), (2, 2), "{listed}");

    vendor.http.misbehave(Trouble { outage: true, retry_after: 7, ..Trouble::default() });
    let waiting = system.post(&format!("Patient/p/$connect-device?device={IMEI}&{kind}")).await.expect_status(503);
    assert_eq!(waiting.header("retry-after"), Some("7"));
}

async fn a_device_is_connected_by_whoever_may_write_it(server: TestServer) {
    let server = outward(server).await;
    let vendor = validic(Trouble::default()).await;
    connect(&server, &vendor, &[]);
    for patient in ["p", "q"] {
        add_patient(&server.system(), patient).await;
    }
    let provision = |patient: &str| format!("Patient/{patient}/$provision-device-user");
    server.anonymous().post(&provision("p")).await.expect_status(401);
    for scope in
        ["patient/Observation.cruds", "patient/Device.cruds", "patient/Device.rs patient/DeviceUseStatement.rs"]
    {
        server.with_scope(scope, Some("p")).post(&provision("p")).await.expect_status(403);
    }
    let app = server.with_scope("patient/Device.cruds patient/DeviceUseStatement.cruds", Some("p"));
    app.get(&provision("p")).await.expect_status(405);
    for patient in ["q", "nobody"] {
        app.post(&provision(patient)).await.expect_status(404);
    }
    app.post(&provision("p")).await.expect_status(200);
    app.get("Patient/p/$device-connections").await.expect_status(200);
    app.get("Patient/q/$device-connections").await.expect_status(404);
    assert_eq!(vendor.uids().len(), 1);
}

async fn a_stream_is_read_without_gap_or_repeat(server: TestServer) {
    let mut server = outward(server).await;
    let trouble = Trouble { duplicate_every: 3, reorder: 2, ..Trouble::default() };
    let vendor = validic(trouble).await;
    let stream = format!("stream={STREAM}");
    connect(&server, &vendor, &["--setting", &stream]);
    let system = server.system();
    add_patient(&system, "p").await;
    system.post("Patient/p/$provision-device-user").await.expect_status(200);
    let uid = vendor.uids().pop().expect("a user");
    listening(&vendor).await;
    (0..6).for_each(|number| vendor.publish(&validic::record(&uid, number, 60)));
    arrived(&server, 6).await;
    // The stream breaks off, things happen, and the server is killed before it hears of them.
    server.kill();
    vendor.hang_up();
    vendor.publish(&validic::record(&uid, 6, 60));
    vendor.publish(&validic::record(&uid, 2, 61));
    server.restart().await;
    let kept = arrived(&server, 8).await;
    listening(&vendor).await;
    vendor.say(
        "rule",
        &serde_json::json!({ "rule_id": "r-1", "user_id": format!("id-of-{uid}"),
        "triggered_at": "2025-03-02T00:00:00Z" }),
    );
    vendor.publish(&validic::record(&uid, 7, 60));
    let after = arrived(&server, 10).await;
    assert!(kept.iter().chain(&after).all(|message| message["state"] == "applied"), "{after:?}");
    assert_eq!((count(&system, "Observation").await, count(&system, "Flag").await), (8, 1));
    let corrected = only(&system, "Observation", &format!("{NAMESPACE}/validic/record-metric|record-2:pulse")).await;
    assert_eq!(corrected.str("status"), Some("corrected"));
    assert_eq!(corrected.at(&["subject", "reference"]).and_then(Json::as_str), Some("Patient/p"));
    let untouched = only(&system, "Observation", &format!("{NAMESPACE}/validic/record-metric|record-0:pulse")).await;
    assert_eq!(untouched.at(&["meta", "versionId"]).and_then(Json::as_str), Some("1"), "told again, not written again");
}

async fn of_two_servers_one_reads_and_the_other_takes_over(server: TestServer) {
    if server.engine() == Engine::Sqlite {
        return; // one process has the file to itself
    }
    let mut server = outward(server).await;
    let vendor = validic(Trouble::default()).await;
    vendor.add_user("uid-7");
    let stream = format!("stream={STREAM}");
    connect(&server, &vendor, &["--setting", &stream]);
    listening(&vendor).await;
    let other = Second::start(&server).await;
    vendor.publish(&validic::record("uid-7", 0, 60));
    arrived(&server, 1).await;
    assert_eq!(vendor.listeners(), 1, "the other leaves it alone");
    server.kill();
    vendor.hang_up();
    vendor.publish(&validic::record("uid-7", 1, 60));
    listening(&vendor).await;
    arrived(&server, 2).await;
    drop(other);
}

/// Another server on the same database.
struct Second(std::process::Child);

impl Second {
    async fn start(first: &TestServer) -> Self {
        let listen = TcpListener::bind(loopback()).and_then(|free| free.local_addr()).expect("a free port").to_string();
        let origin = format!("http://{listen}");
        let reach = ["--database", first.database_url(), "--base-url", first.origin(), "--outbound-private", "true"];
        let mut command = tests::program::command(&[&["serve", "--listen", &listen], &reach[..]].concat());
        let process = command.current_dir(first.folder()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let second = Second(process.expect("the tributary executable can be started"));
        let deadline = Instant::now() + PATIENCE;
        while tests::Client::new(&origin).get("/health").try_send().await.is_err() {
            assert!(Instant::now() < deadline, "the other server does not start");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        second
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn records_are_caught_up_with_by_asking(server: TestServer) {
    let server = outward(server).await;
    let vendor = validic(Trouble { fail_every: 4, drop_every: 5, ..Trouble::default() }).await;
    let system = server.system();
    let identifier = fhir::object! { "system": format!("{NAMESPACE}/validic/uid"), "value": "uid-7" };
    system.store(&fhir::object! { "resourceType": "Patient", "id": "p", "identifier": fhir::array![identifier] }).await;
    vendor.add_user("uid-7");
    (0..3).for_each(|number| vendor.keep(&validic::record("uid-7", number, 60)));
    connect(&server, &vendor, &["--setting", "poll-seconds=1"]);
    arrived(&server, 3).await;
    vendor.keep(&validic::record("uid-7", 3, 60));
    arrived(&server, 4).await;
    assert_eq!(count(&system, "Observation").await, 4);
    let listed = json(&command(&server, &["connection", "list", "--json"]));
    assert!(listed[0]["cursor"]["at"].is_string(), "{listed}");
}

async fn smartz_is_asked_with_tokens_that_end(server: TestServer) {
    let server = outward(server).await;
    let vendor = Smartz::start(loopback(), 2, Trouble::default()).await.expect("a free port");
    let [id, key, sub] = smartz::CREDENTIALS;
    let (id, key, sub) = (format!("app-id={id}"), format!("app-key={key}"), format!("sub-key={sub}"));
    let base = format!("{}/v1", vendor.http.origin());
    let credentials = ["--credential", &id, "--credential", &key, "--credential", &sub];
    let settings = ["--setting", "patients=mirror", "--setting", "poll-seconds=1", "--setting", "catalogue-seconds=1"];
    command(&server, &[&["connection", "add", "smartz", "--url", &base], &credentials[..], &settings[..]].concat());
    // What there is: manufacturer, organisation and devices, patient.
    arrived(&server, 3).await;
    let system = server.system();
    let patient = only(&system, "Patient", &format!("{NAMESPACE}/smartz/patient|pt-9001")).await;
    only(&system, "Device", &format!("{NAMESPACE}/smartz/pod|pod-501")).await;
    vendor.status(smartz::status(1));
    vendor.alert(smartz::alert(1, None));
    arrived(&server, 5).await;
    let flag = only(&system, "Flag", &format!("{NAMESPACE}/smartz/alert|al-1")).await;
    let reference = format!("Patient/{}", patient.str("id").expect("an id"));
    assert_eq!((flag.str("status"), subject(&flag)), (Some("active"), Some(reference.as_str())));
    vendor.forget_tokens();
    vendor.http.misbehave(Trouble { throttle_every: 3, ..Trouble::default() });
    vendor.alert(smartz::alert(1, Some("2025-05-31T03:00:00Z")));
    arrived(&server, 6).await;
    let flag = only(&system, "Flag", &format!("{NAMESPACE}/smartz/alert|al-1")).await;
    assert_eq!(flag.str("status"), Some("inactive"));
    vendor.charge(63);
    arrived(&server, 7).await;
    assert!(vendor.tokens() >= 2, "a token that ends is renewed: {}", vendor.tokens());
    vendor.http.misbehave(Trouble::default());
    vendor.refuse(true);
    let failing = until_state(&server, "failing").await;
    assert!(failing["error"].as_str().is_some_and(|error| error.contains("credentials")), "{failing}");
    vendor.refuse(false);
    until_state(&server, "ok").await;
}

/// A server that may ask this machine.
pub(crate) async fn outward(server: TestServer) -> TestServer {
    let engine = server.engine();
    drop(server);
    TestServer::start_with(engine, &["--outbound-private", "true"]).await
}

/// A free port of this machine.
pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Validic, on this machine.
pub(crate) async fn validic(trouble: Trouble) -> Validic {
    Validic::start(loopback(), TOKEN, trouble).await.expect("a free port")
}

/// Makes the connection; what is shown of it.
pub(crate) fn connect(server: &TestServer, vendor: &Validic, more: &[&str]) -> Value {
    let at = vendor.http.origin();
    let (token, organization) = (format!("token={TOKEN}"), format!("organization={ORGANIZATION}"));
    let (stream, direct) = (format!("stream-url={at}"), format!("connect-url={at}"));
    let add = [
        &["connection", "add", "validic", "--url", &at, "--credential", &token, "--setting", &organization][..],
        &["--setting", &stream, "--setting", &direct, "--json"],
        more,
    ];
    json(&command(server, &add.concat()))
}

/// What a command prints.
pub(crate) fn command(server: &TestServer, arguments: &[&str]) -> String {
    server.command(&[arguments, &["--outbound-private", "true"]].concat())
}

/// What a command says that must not succeed.
pub(crate) fn refused(server: &TestServer, arguments: &[&str]) -> String {
    let reach = ["--outbound-private", "true", "--database", server.database_url()];
    let mut command = tests::program::command(&[arguments, &reach].concat());
    let output = command.current_dir(server.folder()).output().expect("the tributary executable can be started");
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A text as JSON.
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Waits until the only connection is in a state.
pub(crate) async fn until_state(server: &TestServer, state: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let listed = json(&command(server, &["connection", "list", "--json"]));
        if listed[0]["state"] == state {
            return listed[0].clone();
        }
        assert!(Instant::now() < deadline, "not {state}: {listed}\n{}", server.log());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Waits until so many messages came and are settled; more is too many.
pub(crate) async fn arrived(server: &TestServer, wanted: usize) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let kept = inbox(server).await;
        assert!(kept.len() <= wanted, "{} messages, not {wanted}: {kept:?}", kept.len());
        if kept.len() == wanted {
            return kept;
        }
        assert!(Instant::now() < deadline, "{} messages, not {wanted}\n{}", kept.len(), server.log());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Waits until somebody reads the stream.
async fn listening(vendor: &Validic) {
    let deadline = Instant::now() + PATIENCE;
    while vendor.listeners() == 0 {
        assert!(Instant::now() < deadline, "nobody reads the stream");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// The states of a patient's uses of devices, in order.
async fn uses(server: &TestServer, patient: &str) -> Vec<String> {
    let found = server.system().get(&format!("DeviceUseStatement?patient={patient}")).await.entries("match");
    let mut states: Vec<String> = found.iter().filter_map(|it| it.str("status").map(str::to_owned)).collect();
    states.sort();
    states
}

/// Whom a resource is about.
pub(crate) fn subject(resource: &Json) -> Option<&str> {
    resource.at(&["subject", "reference"])?.as_str()
}
