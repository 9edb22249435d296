//! Malformed requests: each gets the right status and issue code, and changes nothing. (IN-07, IN-11, IN-20, IN-25, IN-30)
//!
//! The cases stand in `bad_input/*.txt`, one a line: `STATUS CODE METHOD TARGET | Header: value > BODY`. A target is
//! relative to the FHIR base, `.` is the base; several codes that would be right are parted by `/`; `-` is no code, and
//! as the value of a header no such header. In headers and bodies `\n`, `\r`, `\t`, `\\` and `\x00` are bytes, everywhere
//! `{{text*3}}` is the text three times. Bodies are FHIR JSON where no Content-Type is given.

use std::time::Duration;

use fhir::json::Json;
use fhir::object;
use tests::{Client, TestServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

tests::on_both_engines!(
    in_20_paths,
    in_30_parameters,
    in_30_headers,
    in_11_json,
    in_11_xml,
    in_31_bundles,
    in_25_bombs
);

async fn in_20_paths(server: TestServer) {
    refused(&server, include_str!("bad_input/paths.txt")).await;
}

async fn in_30_parameters(server: TestServer) {
    refused(&server, include_str!("bad_input/parameters.txt")).await;
}

async fn in_30_headers(server: TestServer) {
    refused(&server, include_str!("bad_input/headers.txt")).await;
}

async fn in_11_json(server: TestServer) {
    refused(&server, include_str!("bad_input/json.txt")).await;
}

async fn in_11_xml(server: TestServer) {
    refused(&server, include_str!("bad_input/xml.txt")).await;
}

async fn in_31_bundles(server: TestServer) {
    refused(&server, include_str!("bad_input/bundles.txt")).await;
}

/// A small body that becomes a large one is refused by its size without the coding, and by how much it grows.
async fn in_25_bombs(server: TestServer) {
    let before = state(&server).await;
    let spaces = vec![b' '; 64 * 1024 * 1024];
    let gzip = {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&spaces).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(spaces.as_slice(), 19).unwrap();
    let mut br = Vec::new();
    brotli::BrotliCompress(&mut spaces.as_slice(), &mut br, &brotli::enc::BrotliEncoderParams::default()).unwrap();
    let system = server.system();
    for (coding, body) in [("gzip", gzip), ("zstd", zstd), ("br", br)] {
        assert!(body.len() < 100_000, "{coding}: {}", body.len());
        for path in ["Patient", "", "Patient/_search"] {
            let kind =
                if path.ends_with("_search") { "application/x-www-form-urlencoded" } else { "application/fhir+json" };
            let call = system.post(path).header("Content-Encoding", coding).body(kind, body.clone());
            let answer = call.await.expect_status(413);
            assert!(matches!(code(&answer.json()), "too-long" | "too-costly"), "{coding} {path}");
        }
    }
    assert_eq!(state(&server).await, before);
}

/// The published table of statuses and issue codes.
const ERRORS: &str = include_str!("../../docs/src/reference/errors.md");

/// One line of a table.
#[derive(Clone, Debug)]
struct Case<'a> {
    line: &'a str,
    status: u16,
    codes: Vec<&'a str>,
    method: &'a str,
    target: String,
    headers: Vec<(&'a str, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

/// Sends every case of a table and looks at all answers and at what is stored.
async fn refused(server: &TestServer, table: &str) {
    let before = state(server).await;
    let token = server.mint("system/*.cruds", None);
    let mut failures = Vec::new();
    let lines = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        let case = Case::read(line);
        let (status, outcome) = case.send(server, &token).await;
        if let Some(failure) = case.judge(status, outcome.as_ref()) {
            let shown: String = case.line.chars().take(200).collect();
            failures.push(format!("{shown}\n    {failure}"));
        }
    }
    assert!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(state(server).await, before, "something was changed");
    let log = server.log();
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(errors.is_empty(), "what clients send wrongly is no error of the server's: {errors:#?}");
}

/// The newest version of all that is stored, after a few resources have been put where there are none: every write,
/// deletions too, makes a newer one.
async fn state(server: &TestServer) -> String {
    let system = server.system();
    if system.get("Patient/a").await.status == 404 {
        fill(&system).await;
    }
    let newest = system.get("_history?_count=1").await.expect_status(200);
    let version = newest.json().list("entry").first().map(Json::to_string);
    version.expect("something is stored")
}

async fn fill(system: &Client) {
    for gender in ["male", "female"] {
        system.store(&object! { "resourceType": "Patient", "id": "a", "gender": gender }).await;
    }
    system.store(&object! { "resourceType": "Patient", "id": "b" }).await;
    system.store(&object! { "resourceType": "Patient", "id": "gone" }).await;
    system.delete("Patient/gone").await.expect_status(204);
}

impl<'a> Case<'a> {
    fn read(line: &'a str) -> Self {
        let (request, body) = match line.split_once(" >") {
            Some((request, body)) => (request, Some(bytes(body.strip_prefix(' ').unwrap_or(body)))),
            None => (line, None),
        };
        let mut parts = request.split(" | ");
        let mut words = parts.next().unwrap_or_default().split(' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("too few words: {line}"));
        let (status, codes, method, target) = (word(), word(), word(), word());
        let target = match target {
            "." => "/fhir".to_owned(),
            rooted if rooted.starts_with('/') => rooted.to_owned(),
            base if base.starts_with(".?") => format!("/fhir{}", &base[1..]),
            relative => format!("/fhir/{relative}"),
        };
        let header = |part: &'a str| {
            let (name, value) = part.split_once(':').unwrap_or_else(|| panic!("no header: {line}"));
            (name, bytes(value.trim()))
        };
        Case {
            line,
            status: status.parse().unwrap_or_else(|_| panic!("no status: {line}")),
            codes: codes.split('/').collect(),
            method,
            target: String::from_utf8(bytes(&target.replace('\\', "\\\\"))).expect("targets are text"),
            headers: parts.map(header).collect(),
            body,
        }
    }

    /// Status and body, if it is JSON.
    async fn send(&self, server: &TestServer, token: &str) -> (u16, Option<Json>) {
        let address = server.origin().trim_start_matches("http://").to_owned();
        let mut request =
            format!("{} {} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n", self.method, self.target)
                .into_bytes();
        let mut add = |name: &str, value: &[u8]| {
            request.extend_from_slice(format!("{name}: ").as_bytes());
            request.extend_from_slice(value);
            request.extend_from_slice(b"\r\n");
        };
        let given = |name: &str| self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !given("Authorization") {
            add("Authorization", format!("Bearer {token}").as_bytes());
        }
        if let Some(body) = &self.body {
            if !given("Content-Type") {
                add("Content-Type", b"application/fhir+json");
            }
            add("Content-Length", body.len().to_string().as_bytes());
        }
        for (name, value) in self.headers.iter().filter(|(_, value)| value != b"-") {
            add(name, value);
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(self.body.as_deref().unwrap_or_default());
        let exchange = tokio::time::timeout(Duration::from_secs(30), exchange(&address, &request)).await;
        answer(&exchange.unwrap_or_else(|_| panic!("no answer: {}", self.line)), self.line)
    }

    /// What is wrong with the answer.
    fn judge(&self, status: u16, outcome: Option<&Json>) -> Option<String> {
        if status != self.status {
            return Some(format!("answered {status}: {}", outcome.map(Json::to_string).unwrap_or_default()));
        }
        if self.codes == ["-"] {
            return None;
        }
        let Some(outcome) = outcome.filter(|it| it.str("resourceType") == Some("OperationOutcome")) else {
            return Some("answered no OperationOutcome".to_owned());
        };
        let issue = &outcome.list("issue")[0];
        let texts = issue.str("diagnostics").is_some() && issue.at(&["details", "text"]).is_some();
        let right = self.codes.contains(&code(outcome)) && issue.str("severity") == Some("error") && texts;
        let code = format!("| `{}` |", code(outcome));
        let published = ERRORS.lines().any(|row| row.starts_with(&format!("| {status} ")) && row.contains(&code));
        (!right || !published).then(|| format!("answered {outcome}, published: {published}"))
    }
}

async fn exchange(address: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    // The server may answer and close before it has read all: what it said is what counts.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

fn answer(bytes: &[u8], line: &str) -> (u16, Option<Json>) {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").unwrap_or_else(|| panic!("no HTTP answer to {line}"));
    let head = String::from_utf8_lossy(&bytes[..end]);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an HTTP status");
    (status, Json::parse(&bytes[end + 4..]).ok())
}

/// The code of the first issue.
fn code(outcome: &Json) -> &str {
    outcome.at(&["issue", "code"]).and_then(Json::as_str).unwrap_or_default()
}

/// The bytes that a text of a table stands for.
fn bytes(text: &str) -> Vec<u8> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inner, tail)) = after.split_once("}}") else { break };
        let Some((inner, count)) = inner.rsplit_once('*') else { break };
        let Ok(count) = count.parse() else { break };
        expanded.push_str(before);
        expanded.push_str(&inner.repeat(count));
        rest = tail;
    }
    expanded.push_str(rest);
    let mut bytes = Vec::with_capacity(expanded.len());
    let mut letters = expanded.bytes();
    while let Some(byte) = letters.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match letters.next() {
            Some(b'n') => bytes.push(b'\n'),
            Some(b'r') => bytes.push(b'\r'),
            Some(b't') => bytes.push(b'\t'),
            Some(b'x') => {
                let digits = [letters.next(), letters.next()].map(|digit| char::from(digit.unwrap_or_default()));
                let value = digits.map(|digit| digit.to_digit(16).expect("two hexadecimal digits") as u8);
                bytes.push(value[0] * 16 + value[1]);
            }
            Some(other) => bytes.push(other),
            None => bytes.push(b'\\'),
        }
    }
    bytes
}
