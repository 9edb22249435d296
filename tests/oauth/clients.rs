//! Libraries that programs are made with: `fhir-kit-client` for Node, and `fhirclient` for Python.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;

use fhir::json::Json;
use fhir::{array, object};
use serde_json::{Value, json};
use tests::clients::{json_of, libraries};
use tests::signer::{Signer, key_set};
use tests::{Engine, TestServer};
use url::Url;

use crate::launch::{Account, Browser, REDIRECT_URI, add_account, location};

#[test]
fn sm_67_fhir_kit_client_is_a_backend_service() {
    let Some(libraries) = libraries(module_path!()) else { return };
    tests::server::block_on(async {
        let (server, _) = server().await;
        let folder = server.folder().display().to_string();
        let keys = json_of(libraries.node("kit.mjs").args(["key", &folder]));
        let id = add_backend(&server, &keys.to_string());
        let said = json_of(libraries.node("kit.mjs").args(["call", &folder, &server.fhir_base(), &id]));
        let expected = json!({
            "authorizeUrl": format!("{}/oauth/authorize", server.origin()),
            "tokenUrl": format!("{}/oauth/token", server.origin()),
            "fhirVersion": "4.0.1", "scope": "system/Patient.rs", "name": "Ada Lovelace", "pages": [1, 1], "refused": 403,
        });
        assert_eq!(said, expected);
    });
}

#[test]
fn sm_67_fhirclient_for_python_is_a_backend_service() {
    let Some(libraries) = libraries(module_path!()) else { return };
    tests::server::block_on(async {
        let (server, _) = server().await;
        let signer = Signer::rs384("python");
        let id = add_backend(&server, &key_set(&[&signer]));
        let assertion = signer.assertion(&id, &format!("{}/oauth/token", server.origin()));
        let said = json_of(libraries.python("backend.py").args([&server.fhir_base(), &id, &assertion]));
        let names = ["Ada Lovelace", "Charles Babbage"];
        assert_eq!(said, json!({ "scope": "system/Patient.rs", "names": names, "refused": true }));
    });
}

#[test]
fn sm_31_fhirclient_for_python_launches_standalone() {
    let Some(libraries) = libraries(module_path!()) else { return };
    tests::server::block_on(async {
        let (server, ada) = server().await;
        let added = server.command(&["client", "add", "--name=Heart Watch", "--redirect-uri", REDIRECT_URI, "--json"]);
        let id = client_id(&added);
        let mut script = libraries.python("standalone.py");
        script.args([&server.fhir_base(), &id, REDIRECT_URI]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = script.spawn().expect("Python can be started");
        let mut said = BufReader::new(running.stdout.take().expect("its output is piped"));
        let mut address = String::new();
        said.read_line(&mut address).expect("it says where to send the person");
        let asked = Url::parse(address.trim()).unwrap_or_else(|error| panic!("{error}: {address}"));
        let back = person(&server, &ada, &asked).await;
        let mut input = running.stdin.take().expect("its input is piped");
        writeln!(input, "{back}").expect("it reads where they came back");
        let mut rest = String::new();
        said.read_to_string(&mut rest).expect("it says what it saw");
        assert!(running.wait().expect("it ends").success(), "{rest}");
        let said: Value = serde_json::from_str(&rest).unwrap_or_else(|error| panic!("{error}: {rest}"));
        assert_eq!(said, json!({ "name": "Ada Lovelace", "renewed": true, "observations": ["Heart rate"] }));
    });
}

/// Signs in and allows everything; where the app is answered.
async fn person(server: &TestServer, account: &Account, asked: &Url) -> Url {
    let pairs: Vec<_> = asked.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    let mut browser = Browser::new(server);
    let login = browser.ask(&pairs).await.expect_status(200);
    let consent = browser.sign_in(&login, account).await.expect_status(200);
    location(&browser.decide(&consent, "allow").await.expect_status(303))
}

/// Two patients, the elder with an observation and an account.
async fn server() -> (TestServer, Account) {
    let server = TestServer::start(Engine::Sqlite).await;
    for (id, name, born) in [("p1", "Ada Lovelace", "1815-12-10"), ("p2", "Charles Babbage", "1871-10-18")] {
        let name = array![object! { "text": name }];
        let patient = object! { "resourceType": "Patient", "id": id, "name": name, "birthDate": born };
        server.system().store(&patient).await;
    }
    let observation = object! {
        "resourceType": "Observation", "id": "o1", "status": "final",
        "subject": object! { "reference": "Patient/p1" }, "code": object! { "text": "Heart rate" },
    };
    server.system().store(&observation).await;
    let ada = add_account(&server, "ada", Some("Patient/p1"));
    (server, ada)
}

fn add_backend(server: &TestServer, keys: &str) -> String {
    let path = server.folder().join("jwks.json");
    std::fs::write(&path, keys).expect("the folder of the server is writable");
    let path = path.display().to_string();
    let arguments = ["client", "add", "--name=Nightly Report", "--kind", "backend", "--jwks", &path, "--json"];
    client_id(&server.command(&[&arguments[..], &["--scope", "system/Patient.rs"]].concat()))
}

fn client_id(added: &str) -> String {
    let added = Json::parse(added.trim().as_bytes()).unwrap_or_else(|error| panic!("{error}: {added}"));
    added.str("client_id").expect("a client id").to_owned()
}
