//! The side of Smart Applications' service: tokens, sessions, members, claims and their status over real HTTP, with a ledger and with faults.
//!
//! It does what makes billing hard: it takes a claim and says nothing, answers with an error of its framework after it
//! has taken it, and bills an invoice again for whoever sends it again. Its faults come of a seed, so a run can be
//! repeated.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Largest request.
const MAX_REQUEST: usize = 4 << 20;

/// What goes wrong, each in so many of a thousand claims or questions about them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The claim is taken, and the connection breaks.
    pub silence: u64,
    /// The claim is taken, and the framework answers with 500.
    pub error_after: u64,
    /// The claim is not taken, and the framework answers with 500.
    pub error_before: u64,
    /// The claim is taken, and the answer is a page of a proxy.
    pub garbage: u64,
    /// Too many requests.
    pub throttled: u64,
    /// The token is not accepted any more.
    pub token: u64,
    /// A question about a claim is answered with 500.
    pub status: u64,
    /// The session expires before the claim comes.
    pub expiry: u64,
}

/// An invoice in the ledger: as often as it was billed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Billed {
    /// Invoice number.
    pub invoice: String,
    /// Visit number.
    pub visit: String,
    /// What was asked for, as it was written.
    pub amount: String,
}

/// A running service; it ends with the runtime that it was started in.
#[derive(Clone, Debug)]
pub struct SmartLink {
    base: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    faults: Faults,
    random: u64,
    tokens: u64,
    sessions: BTreeMap<String, Session>,
    ledger: Vec<Billed>,
    asked: HashMap<String, u32>,
    cancelled: Vec<String>,
    interim: Vec<String>,
    records: Vec<Value>,
    claims: Vec<Value>,
    posts: u64,
}

#[derive(Clone, Debug)]
struct Session {
    patient: String,
    status: &'static str,
    visit: Option<String>,
}

/// A request as far as it matters here.
struct Asked {
    method: String,
    path: String,
    query: HashMap<String, String>,
    authorization: String,
    body: String,
}

/// What is answered: status, content type and body; nothing breaks the connection.
type Answer = Option<(u16, &'static str, String)>;

impl SmartLink {
    /// A service on a free port of this machine.
    pub async fn start(faults: Faults, seed: u64) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Self::serve(listener, faults, seed)
    }

    /// A service at a socket that is bound already.
    pub fn serve(listener: TcpListener, faults: Faults, seed: u64) -> std::io::Result<Self> {
        let base = format!("http://{}", listener.local_addr()?);
        let state = State {
            faults,
            random: seed | 1,
            tokens: 0,
            sessions: BTreeMap::new(),
            ledger: Vec::new(),
            asked: HashMap::new(),
            cancelled: Vec::new(),
            interim: Vec::new(),
            records: Vec::new(),
            claims: Vec::new(),
            posts: 0,
        };
        let service = SmartLink { base, state: Arc::new(Mutex::new(state)) };
        let shared = service.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(shared.clone().attend(stream));
            }
        });
        Ok(service)
    }

    /// Where it is.
    pub fn base_url(&self) -> &str {
        &self.base
    }

    /// Everything that was billed, in the order it came.
    pub fn ledger(&self) -> Vec<Billed> {
        self.state().ledger.clone()
    }

    /// How often a claim was sent.
    pub fn posts(&self) -> u64 {
        self.state().posts
    }

    /// The claims that were taken, as they came.
    pub fn claims(&self) -> Vec<Value> {
        self.state().claims.clone()
    }

    /// Invoices that came as parts of what a stay will come to.
    pub fn interim(&self) -> Vec<String> {
        self.state().interim.clone()
    }

    /// Diagnoses that came after claims, as often as they came.
    pub fn records(&self) -> Vec<Value> {
        self.state().records.clone()
    }

    /// From now on other things go wrong.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Withdraws an invoice, as the insurer's side can.
    pub fn cancel(&self, invoice: &str) {
        self.state().cancelled.push(invoice.to_owned());
    }

    /// How a session is.
    pub fn session_status(&self, session: &str) -> Option<&'static str> {
        self.state().sessions.get(session).map(|session| session.status)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn attend(self, mut stream: TcpStream) {
        let Some(asked) = read(&mut stream).await else { return };
        let answer = self.state().answer(&asked);
        let Some((status, kind, body)) = answer else { return };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(body.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        if asked.path == "/oauth/token" {
            return self.token(asked);
        }
        if asked.authorization != format!("Bearer token-{}", self.tokens) || self.tokens == 0 {
            return json_answer(
                401,
                &json!({ "error": "invalid_token", "error_description": "the token is not known" }),
            );
        }
        let segments: Vec<&str> = asked.path.split('/').filter(|segment| !segment.is_empty()).collect();
        match (asked.method.as_str(), segments.as_slice()) {
            ("GET", ["api", "visit"]) => self.visits(asked),
            ("PUT", ["api", "visit", session, "visit-number", visit]) => self.change(session, "ACTIVE", Some(visit)),
            ("PUT", ["api", "visit", session, "close-session"]) => self.change(session, "CLOSED", None),
            ("GET", ["api", "member"]) => Self::member(asked),
            ("GET", ["api", "copayment"]) => json_answer(
                200,
                &json!({ "amount": 500, "is_copay_per_visit": true, "paid_amount": 0, "type": "FIXED" }),
            ),
            ("POST", ["api", "claims"]) => self.claim(asked),
            ("GET", ["api", "claim-status"]) => self.status(asked),
            ("POST", ["api", "interim-claim"]) => {
                let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
                self.interim.push(body["claim_code"].as_str().unwrap_or_default().to_owned());
                self.claim(asked)
            }
            ("POST", ["api", "clinic-record"]) => self.record(asked),
            _ => json_answer(404, &framework(404, "Not Found", &asked.path)),
        }
    }

    fn token(&mut self, asked: &Asked) -> Answer {
        let good = asked.authorization.starts_with("Basic ") && asked.body.contains("grant_type=password");
        if !good {
            return json_answer(401, &json!({ "error": "invalid_client", "error_description": "Bad credentials" }));
        }
        self.tokens += 1;
        let token = format!("token-{}", self.tokens);
        json_answer(200, &json!({ "access_token": token, "token_type": "bearer", "expires_in": 33499 }))
    }

    fn visits(&mut self, asked: &Asked) -> Answer {
        let patient = asked.query.get("patientNumber").cloned().unwrap_or_default();
        let known = self.sessions.iter().find(|(_, session)| session.patient == patient).map(|(id, _)| id.clone());
        let id = known.unwrap_or_else(|| {
            let id = (1000 + self.sessions.len()).to_string();
            self.sessions.insert(id.clone(), Session { patient, status: "PENDING", visit: None });
            id
        });
        let visit = visit_of(&id, &self.sessions[&id]);
        json_answer(200, &json!({ "code": "200", "content": [visit] }))
    }

    fn change(&mut self, id: &str, status: &'static str, visit: Option<&str>) -> Answer {
        let Some(session) = self.sessions.get_mut(id) else {
            let body = json!({ "code": "404.2001", "message": "No such session", "response_type": "ERROR" });
            return json_answer(200, &body);
        };
        session.status = status;
        if let Some(visit) = visit {
            session.visit = Some(visit.to_owned());
        }
        let content = visit_of(id, session);
        json_answer(200, &json!({ "code": "200", "content": content, "message": "Done", "response_type": "SUCCESS" }))
    }

    fn member(asked: &Asked) -> Answer {
        let (session, patient) = (asked.query.get("sessionId"), asked.query.get("patientNumber"));
        let benefit = json!({
            "id": 93181, "pool_nr": "101", "pool_desc": "OUTPATIENT", "amount": 1_000_000.5, "claimable": true,
        });
        let member = json!({
            "medicalaid_code": "PAY-01", "medicalaid_name": "Example Insurance", "policy_id": "POL-778",
            "medicalaid_scheme_code": "SCH-9", "medicalaid_scheme_name": "Example Staff Scheme",
            "medicalaid_number": format!("M-{}", patient.map_or("", String::as_str)), "patient_number": patient,
            "policy_currency": "KES", "patient_surname": "Kamau", "patient_forenames": "Amina", "patient_gender": "F",
            "patient_dob": "1988-04-17", "has_copay": false, "benefits": [benefit], "session_id": session,
        });
        json_answer(200, &json!({ "code": "200", "content": [member] }))
    }

    fn claim(&mut self, asked: &Asked) -> Answer {
        self.posts += 1;
        let Faults { silence, error_after, error_before, garbage, throttled, token, expiry, .. } = self.faults;
        let unavailable = || json_answer(500, &framework(500, "Internal Server Error", "/api/claims"));
        if self.happens(token) {
            self.tokens += 1;
            return json_answer(401, &json!({ "error": "invalid_token", "error_description": "expired" }));
        }
        if self.happens(throttled) {
            return json_answer(429, &json!({ "message": "slow down" }));
        }
        if self.happens(error_before) {
            return unavailable();
        }
        let Ok(body) = serde_json::from_str::<Value>(&asked.body) else { return unavailable() };
        let id = asked.query.get("sessionId").cloned().unwrap_or_default();
        let expires = self.happens(expiry);
        let Some(session) = self.sessions.get_mut(&id) else { return unavailable() };
        if expires {
            session.status = "EXPIRED";
        }
        if session.status != "ACTIVE" {
            let body = json!({ "code": "400.2002", "message": "Session is not active", "response_type": "ERROR" });
            return json_answer(400, &body);
        }
        self.ledger.push(Billed {
            invoice: body["claim_code"].as_str().unwrap_or_default().to_owned(),
            visit: body["visit_number"].as_str().unwrap_or_default().to_owned(),
            amount: written(&asked.body, "\"amount\":"),
        });
        self.claims.push(body);
        if self.happens(silence) {
            return None;
        }
        if self.happens(error_after) {
            return unavailable();
        }
        if self.happens(garbage) {
            return Some((200, "text/html", "<html><body>Gateway</body></html>".to_owned()));
        }
        let content = json!({ "id": 700_000 + self.ledger.len() });
        let body =
            json!({ "code": "201", "content": content, "message": "Claim received", "response_type": "SUCCESS" });
        json_answer(201, &body)
    }

    /// Keeps diagnoses, and may not say so.
    fn record(&mut self, asked: &Asked) -> Answer {
        let Ok(body) = serde_json::from_str::<Value>(&asked.body) else {
            return json_answer(400, &framework(400, "Bad Request", &asked.path));
        };
        self.records.push(body);
        if self.happens(self.faults.silence) {
            return None;
        }
        json_answer(200, &json!({ "code": "200", "message": "Saved" }))
    }

    /// Pending when it is asked for the first time, then billed.
    fn status(&mut self, asked: &Asked) -> Answer {
        if self.happens(self.faults.status) {
            return json_answer(500, &framework(500, "Internal Server Error", "/api/claim-status"));
        }
        let invoice = asked.query.get("invoiceNumber").cloned().unwrap_or_default();
        let found: Vec<&Billed> = self.ledger.iter().filter(|billed| billed.invoice == invoice).collect();
        let asked = self.asked.entry(invoice.clone()).or_default();
        *asked += u32::from(!found.is_empty());
        let word = match *asked {
            _ if self.cancelled.contains(&invoice) => "Cancelled",
            0 | 1 => "Pending",
            _ => "Billed",
        };
        let rows = found.iter().map(|billed| {
            format!(
                r#"{{"claim_status":"{word}","invoice_number":"{}","visit_number":"{}","amount":{}}}"#,
                billed.invoice, billed.visit, billed.amount
            )
        });
        Some((200, "application/json", format!("[{}]", rows.collect::<Vec<_>>().join(","))))
    }

    /// Whether something happens that happens so many times in a thousand.
    fn happens(&mut self, per_mille: u64) -> bool {
        // Marsaglia's xorshift: enough to spread faults, and the same for the same seed.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % 1000 < per_mille
    }
}

fn visit_of(id: &str, session: &Session) -> Value {
    json!({
        "session_id": id, "patient_number": session.patient, "sessionStatus": session.status,
        "member_number": format!("M-{}", session.patient), "payer_code": "PAY-01", "payer_name": "Example Insurance",
        "visit_number": session.visit, "sp_id": 6122, "location_code": "LOC-1",
    })
}

fn framework(status: u16, error: &str, path: &str) -> Value {
    json!({
        "timestamp": "2025-06-01T12:00:00.000+0000", "status": status, "error": error,
        "message": "could not execute statement", "path": path,
    })
}

#[expect(clippy::unnecessary_wraps, reason = "all answers have one type")]
fn json_answer(status: u16, body: &Value) -> Answer {
    Some((status, "application/json", body.to_string()))
}

/// A number as it is written, so that a ledger of money has no binary fractions.
fn written(body: &str, name: &str) -> String {
    let rest = body.split_once(name).map_or("", |(_, rest)| rest).trim_start();
    rest.chars().take_while(|it| it.is_ascii_digit() || matches!(it, '.' | '-' | '+' | 'e' | 'E')).collect()
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 8192]);
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break at;
        }
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 && bytes.len() < MAX_REQUEST => bytes.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let header = |wanted: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim().to_owned())
    };
    let length = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0).min(MAX_REQUEST);
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => body.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
    let mut first = head.lines().next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    Some(Asked {
        method,
        path: path.to_owned(),
        query: pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect(),
        authorization: header("authorization").unwrap_or_default(),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn decoded(text: &str) -> String {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(byte) = bytes.next() {
        let hex: Option<u8> = (byte == b'%').then(|| {
            let digits: String = bytes.by_ref().take(2).map(char::from).collect();
            u8::from_str_radix(&digits, 16).unwrap_or(b'?')
        });
        out.push(hex.unwrap_or(byte));
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_kept_as_they_were_written() {
        assert_eq!(written(r#"{"claim_code":"I","amount": 2700.50,"x":1}"#, "\"amount\":"), "2700.50");
        assert_eq!(decoded("a%2Fb"), "a/b");
    }
}
