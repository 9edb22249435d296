//! An app, the people who use it, and their record.

use std::io::Write as _;

use fhir::json::Json;
use fhir::{array, object};
use tests::browser::{Browser, Key};
use tests::{TestServer, program};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

pub(crate) const PASSWORD: &str = "a calm river runs deep";

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A registered app that waits for answers on an address of its own.
pub(crate) struct App {
    id: String,
    redirect_uri: String,
    authorize: String,
    audience: String,
}

/// A patient with an account: `ada`.
pub(crate) async fn seed(server: &TestServer) {
    store_patient(server, "p1", "Ada Lovelace").await;
    store_patient(server, "p2", "Charles Babbage").await;
    add_account(server, "ada", "Ada Lovelace", "Patient/p1");
}

pub(crate) async fn store_patient(server: &TestServer, id: &str, name: &str) {
    let doctor = object! { "reference": "Practitioner/d1" };
    let patient = object! {
        "resourceType": "Patient", "id": id, "name": array![object! { "text": name }], "birthDate": "1815-12-10",
        "generalPractitioner": array![doctor],
    };
    server.system().store(&patient).await;
}

pub(crate) fn add_account(server: &TestServer, username: &str, name: &str, record: &str) {
    let arguments = ["user", "add", username, "--name", name, "--fhir-user", record, "--password-stdin"];
    let mut command = program::command(&arguments);
    command.args(["--database", server.database_url(), "--base-url", server.origin()]).current_dir(server.folder());
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
    let mut running = command.spawn().expect("the tributary executable can be started");
    let mut input = running.stdin.take().expect("its input is piped");
    writeln!(input, "{PASSWORD}").expect("it reads the password");
    drop(input);
    assert!(running.wait().expect("it ends").success(), "the account {username} is added");
}

impl App {
    pub(crate) async fn register(server: &TestServer, name: &str) -> Self {
        let redirect_uri = listen().await;
        let arguments =
            ["client", "add", &format!("--name={name}"), "--kind", "public", "--redirect-uri", &redirect_uri, "--json"];
        let added = server.command(&arguments);
        let added = Json::parse(added.trim().as_bytes()).unwrap_or_else(|error| panic!("{error}: {added}"));
        App {
            id: added.str("client_id").expect("a client id").to_owned(),
            redirect_uri,
            authorize: format!("{}/oauth/authorize", server.origin()),
            audience: server.fhir_base(),
        }
    }

    /// An app that was registered elsewhere.
    pub(crate) fn known(server: &TestServer, id: &str, redirect_uri: &str) -> Self {
        App {
            id: id.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            authorize: format!("{}/oauth/authorize", server.origin()),
            audience: server.fhir_base(),
        }
    }

    /// Where a person is sent to be asked.
    pub(crate) fn request(&self, scope: &str) -> Url {
        let parameters = [
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", &self.redirect_uri),
            ("scope", scope),
            ("state", "s-1"),
            ("aud", &self.audience),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        Url::parse_with_params(&self.authorize, parameters).expect("a valid address")
    }

    pub(crate) async fn ask(&self, browser: &Browser, scope: &str) {
        browser.go(self.request(scope).as_str()).await;
    }

    /// Where the browser comes back to the app.
    pub(crate) async fn answer(&self, browser: &Browser) -> Url {
        browser.arrives_at(&self.redirect_uri).await
    }

    pub(crate) async fn exchange(&self, server: &TestServer, answer: &Url) -> Json {
        let code = parameter(answer, "code").unwrap_or_else(|| panic!("no code: {answer}"));
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", &self.id),
            ("code", &code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", VERIFIER),
        ];
        server.anonymous().post("/oauth/token").form(&form).await.expect_status(200).json()
    }
}

pub(crate) async fn sign_in(browser: &Browser, username: &str) {
    browser.fill("#username", username).await;
    browser.fill("#password", PASSWORD).await;
    browser.submit("button.main").await;
}

/// Presses Tab until the element has the focus; each stop on the way shows that it has it.
pub(crate) async fn tab_to(browser: &Browser, selector: &str) {
    let there = format!("return document.activeElement.matches(\"{selector}\")");
    let outline = "const style = getComputedStyle(document.activeElement);
        return document.activeElement === document.body || (style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2)";
    for _ in 0..40 {
        browser.press(Key::Tab).await;
        assert_eq!(browser.evaluate(outline).await, true, "the focus is visible");
        if browser.evaluate(&there).await == true {
            return;
        }
    }
    panic!("Tab does not lead to {selector}");
}

pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
}

/// The app's side of the redirect: an address that answers everything with a short text.
async fn listen() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("this machine has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = socket.read(&mut [0; 8192]).await;
                let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 11\r\nConnection: close\r\n\r\nin the app\n";
                let _ = socket.write_all(answer.as_bytes()).await;
            });
        }
    });
    format!("http://{address}/callback")
}
