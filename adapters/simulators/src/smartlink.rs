//! The side of Smart Applications' service: tokens, sessions, members, claims and their status over real HTTP, with a ledger and with faults.
//!
//! It does what makes billing hard: it takes a claim and says nothing, answers with an error of its framework after it
//! has taken it, and bills an invoice again for whoever sends it again. Its faults come of a seed, so a run can be
//! repeated.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{self, Reply, Request, Running, Service, lock};
use crate::trouble::{Chance, Trouble};

/// How long nothing is said to whoever waits: longer than anybody does.
const NEVER: Duration = Duration::from_mins(10);

/// What goes wrong, each in so many of a thousand claims or questions about them.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Claims of a thousand that are taken without an answer: the connection breaks.
    #[arg(long, default_value_t = 0)]
    pub silence: u64,
    /// Claims of a thousand that are taken without an answer: nothing comes until whoever asks gives up.
    #[arg(long, default_value_t = 0)]
    pub late: u64,
    /// Claims of a thousand that are taken and answered with 500 of the framework.
    #[arg(long, default_value_t = 0)]
    pub error_after: u64,
    /// Claims of a thousand that are not taken and answered with 500 of the framework.
    #[arg(long, default_value_t = 0)]
    pub error_before: u64,
    /// Claims of a thousand that are taken and answered with a page of a proxy.
    #[arg(long, default_value_t = 0)]
    pub garbage: u64,
    /// Claims of a thousand that are taken and answered with the id of another claim.
    #[arg(long, default_value_t = 0)]
    pub mixed_up: u64,
    /// Claims of a thousand that are taken and called a duplicate.
    #[arg(long, default_value_t = 0)]
    pub duplicate: u64,
    /// Claims of a thousand that are too many.
    #[arg(long, default_value_t = 0)]
    pub throttled: u64,
    /// Claims of a thousand whose token is not accepted any more.
    #[arg(long, default_value_t = 0)]
    pub token: u64,
    /// Questions of a thousand about a claim that are answered with 500.
    #[arg(long, default_value_t = 0)]
    pub status: u64,
    /// Questions of a thousand about a claim that are answered with somebody else's.
    #[arg(long, default_value_t = 0)]
    pub stranger: u64,
    /// Sessions of a thousand that expire before the claim comes.
    #[arg(long, default_value_t = 0)]
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

/// A running service; clones are the same one. It ends with the runtime that it was started in.
#[derive(Clone, Debug)]
pub struct SmartLink {
    base: String,
    state: Arc<Mutex<State>>,
    /// Where it listens, and what it says out of turn.
    pub http: Running,
}

#[derive(Debug)]
struct State {
    faults: Faults,
    chance: Chance,
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

struct Api(Arc<Mutex<State>>);

impl SmartLink {
    /// A service on a free port of this machine.
    pub async fn start(faults: Faults, seed: u64) -> std::io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), faults, Trouble::default(), seed).await
    }

    /// A service at an address.
    pub async fn start_at(address: SocketAddr, faults: Faults, trouble: Trouble, seed: u64) -> std::io::Result<Self> {
        let state = State {
            faults,
            chance: Chance::new(seed),
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
        let state = Arc::new(Mutex::new(state));
        let http = http::start(address, Arc::new(Api(state.clone())), trouble).await?;
        Ok(SmartLink { base: http.origin(), state, http })
    }

    /// Where it is.
    pub fn base_url(&self) -> &str {
        &self.base
    }

    /// Everything that was billed, in the order it came.
    pub fn ledger(&self) -> Vec<Billed> {
        lock(&self.state).ledger.clone()
    }

    /// How often a claim was sent.
    pub fn posts(&self) -> u64 {
        lock(&self.state).posts
    }

    /// How many tokens were made.
    pub fn tokens(&self) -> u64 {
        lock(&self.state).tokens
    }

    /// The claims that were taken, as they came.
    pub fn claims(&self) -> Vec<Value> {
        lock(&self.state).claims.clone()
    }

    /// Invoices that came as parts of what a stay will come to.
    pub fn interim(&self) -> Vec<String> {
        lock(&self.state).interim.clone()
    }

    /// Diagnoses that came after claims, as often as they came.
    pub fn records(&self) -> Vec<Value> {
        lock(&self.state).records.clone()
    }

    /// From now on other things go wrong.
    pub fn set_faults(&self, faults: Faults) {
        lock(&self.state).faults = faults;
    }

    /// Withdraws an invoice, as the insurer's side can.
    pub fn cancel(&self, invoice: &str) {
        lock(&self.state).cancelled.push(invoice.to_owned());
    }

    /// How a session is.
    pub fn session_status(&self, session: &str) -> Option<&'static str> {
        lock(&self.state).sessions.get(session).map(|session| session.status)
    }
}

impl Service for Api {
    fn answer(&self, request: &Request) -> Reply {
        lock(&self.0).answer(request)
    }
}

impl State {
    fn answer(&mut self, asked: &Request) -> Reply {
        let path: Vec<&str> = asked.path.iter().map(String::as_str).filter(|it| !it.is_empty()).collect();
        let shown = asked.headers.get("authorization").map_or("", String::as_str);
        if path == ["oauth", "token"] {
            return self.token(asked, shown);
        }
        if shown != format!("Bearer token-{}", self.tokens) || self.tokens == 0 {
            let body = json!({ "error": "invalid_token", "error_description": "the token is not known" });
            return Reply::Json(401, body);
        }
        match (asked.method.as_str(), path.as_slice()) {
            ("GET", ["api", "visit"]) => self.visits(asked),
            ("PUT", ["api", "visit", session, "visit-number", visit]) => self.change(session, "ACTIVE", Some(visit)),
            ("PUT", ["api", "visit", session, "close-session"]) => self.change(session, "CLOSED", None),
            ("GET", ["api", "member"]) => member(asked),
            ("GET", ["api", "copayment"]) => Reply::Json(
                200,
                json!({ "amount": 500, "is_copay_per_visit": true, "paid_amount": 0, "type": "FIXED" }),
            ),
            ("POST", ["api", "claims"]) => self.claim(asked),
            ("GET", ["api", "claim-status"]) => self.status(asked),
            ("POST", ["api", "interim-claim"]) => {
                let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
                self.interim.push(body["claim_code"].as_str().unwrap_or_default().to_owned());
                self.claim(asked)
            }
            ("POST", ["api", "clinic-record"]) => self.record(asked),
            _ => Reply::Json(404, framework(404, "Not Found", &path.join("/"))),
        }
    }

    fn token(&mut self, asked: &Request, shown: &str) -> Reply {
        let is_password = asked.parameters.get("grant_type").is_some_and(|grant| grant == "password");
        if !shown.starts_with("Basic ") || !is_password {
            let body = json!({ "error": "invalid_client", "error_description": "Bad credentials" });
            return Reply::Json(401, body);
        }
        self.tokens += 1;
        let token = format!("token-{}", self.tokens);
        Reply::Json(200, json!({ "access_token": token, "token_type": "bearer", "expires_in": 33499 }))
    }

    fn visits(&mut self, asked: &Request) -> Reply {
        let patient = parameter(asked, "patientNumber");
        let known = self.sessions.iter().find(|(_, session)| session.patient == patient).map(|(id, _)| id.clone());
        let id = known.unwrap_or_else(|| {
            let id = (1000 + self.sessions.len()).to_string();
            self.sessions.insert(id.clone(), Session { patient, status: "PENDING", visit: None });
            id
        });
        let visit = visit_of(&id, &self.sessions[&id]);
        Reply::Json(200, json!({ "code": "200", "content": [visit] }))
    }

    fn change(&mut self, id: &str, status: &'static str, visit: Option<&str>) -> Reply {
        let Some(session) = self.sessions.get_mut(id) else {
            let body = json!({ "code": "404.2001", "message": "No such session", "response_type": "ERROR" });
            return Reply::Json(200, body);
        };
        session.status = status;
        if let Some(visit) = visit {
            session.visit = Some(visit.to_owned());
        }
        let content = visit_of(id, session);
        let body = json!({ "code": "200", "content": content, "message": "Done", "response_type": "SUCCESS" });
        Reply::Json(200, body)
    }

    fn claim(&mut self, asked: &Request) -> Reply {
        self.posts += 1;
        let faults = self.faults;
        if self.chance.happens(faults.token) {
            self.tokens += 1;
            return Reply::Json(401, json!({ "error": "invalid_token", "error_description": "expired" }));
        }
        if self.chance.happens(faults.throttled) {
            return Reply::Json(429, json!({ "message": "slow down" }));
        }
        if self.chance.happens(faults.error_before) {
            return unavailable();
        }
        let Ok(body) = serde_json::from_slice::<Value>(&asked.body) else { return unavailable() };
        let expires = self.chance.happens(faults.expiry);
        let Some(session) = self.sessions.get_mut(&parameter(asked, "sessionId")) else { return unavailable() };
        if expires {
            session.status = "EXPIRED";
        }
        if session.status != "ACTIVE" {
            let body = json!({ "code": "400.2002", "message": "Session is not active", "response_type": "ERROR" });
            return Reply::Json(400, body);
        }
        self.ledger.push(Billed {
            invoice: body["claim_code"].as_str().unwrap_or_default().to_owned(),
            visit: body["visit_number"].as_str().unwrap_or_default().to_owned(),
            amount: written(&String::from_utf8_lossy(&asked.body), "\"amount\":"),
        });
        self.claims.push(body);
        self.after_taking(faults)
    }

    /// What is said of a claim that was taken.
    fn after_taking(&mut self, faults: Faults) -> Reply {
        if self.chance.happens(faults.silence) {
            return Reply::Broken;
        }
        if self.chance.happens(faults.late) {
            return Reply::Silent(NEVER);
        }
        if self.chance.happens(faults.error_after) {
            return unavailable();
        }
        if self.chance.happens(faults.garbage) {
            return Reply::Text(200, "text/html", "<html><body>Gateway</body></html>".to_owned());
        }
        if self.chance.happens(faults.duplicate) {
            let body = json!({ "code": "409.2001", "message": "Invoice exists", "response_type": "ERROR" });
            return Reply::Json(409, body);
        }
        let number = if self.chance.happens(faults.mixed_up) { 1 } else { self.ledger.len() };
        let content = json!({ "id": 700_000 + number });
        let body =
            json!({ "code": "201", "content": content, "message": "Claim received", "response_type": "SUCCESS" });
        Reply::Json(201, body)
    }

    /// Keeps diagnoses, and may not say so.
    fn record(&mut self, asked: &Request) -> Reply {
        let Ok(body) = serde_json::from_slice::<Value>(&asked.body) else {
            return Reply::Json(400, framework(400, "Bad Request", "api/clinic-record"));
        };
        self.records.push(body);
        if self.chance.happens(self.faults.silence) {
            return Reply::Broken;
        }
        Reply::Json(200, json!({ "code": "200", "message": "Saved" }))
    }

    /// Pending when it is asked for the first time, then billed.
    fn status(&mut self, asked: &Request) -> Reply {
        if self.chance.happens(self.faults.status) {
            return Reply::Json(500, framework(500, "Internal Server Error", "/api/claim-status"));
        }
        let is_stranger = self.chance.happens(self.faults.stranger);
        let invoice = parameter(asked, "invoiceNumber");
        let found: Vec<&Billed> = self.ledger.iter().filter(|billed| billed.invoice == invoice).collect();
        let asked = self.asked.entry(invoice.clone()).or_default();
        *asked += u32::from(!found.is_empty());
        let word = match *asked {
            _ if self.cancelled.contains(&invoice) => "Cancelled",
            0 | 1 => "Pending",
            _ => "Billed",
        };
        let rows = found.iter().map(|billed| {
            let patient = if is_stranger { r#""patient_number":"SOMEBODY","# } else { "" };
            format!(
                r#"{{{patient}"claim_status":"{word}","invoice_number":"{}","visit_number":"{}","amount":{}}}"#,
                billed.invoice, billed.visit, billed.amount
            )
        });
        Reply::Text(200, "application/json", format!("[{}]", rows.collect::<Vec<_>>().join(",")))
    }
}

fn member(asked: &Request) -> Reply {
    let (session, patient) = (parameter(asked, "sessionId"), parameter(asked, "patientNumber"));
    let benefit = json!({
        "id": 93181, "pool_nr": "101", "pool_desc": "OUTPATIENT", "amount": 1_000_000.5, "claimable": true,
    });
    let member = json!({
        "medicalaid_code": "PAY-01", "medicalaid_name": "Example Insurance", "policy_id": "POL-778",
        "medicalaid_scheme_code": "SCH-9", "medicalaid_scheme_name": "Example Staff Scheme",
        "medicalaid_number": format!("M-{patient}"), "patient_number": patient,
        "policy_currency": "KES", "patient_surname": "Kamau", "patient_forenames": "Amina", "patient_gender": "F",
        "patient_dob": "1988-04-17", "has_copay": false, "benefits": [benefit], "session_id": session,
    });
    Reply::Json(200, json!({ "code": "200", "content": [member] }))
}

fn parameter(asked: &Request, name: &str) -> String {
    asked.parameters.get(name).cloned().unwrap_or_default()
}

fn unavailable() -> Reply {
    Reply::Json(500, framework(500, "Internal Server Error", "/api/claims"))
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

/// A number as it is written, so that a ledger of money has no binary fractions.
fn written(body: &str, name: &str) -> String {
    let rest = body.split_once(name).map_or("", |(_, rest)| rest).trim_start();
    rest.chars().take_while(|it| it.is_ascii_digit() || matches!(it, '.' | '-' | '+' | 'e' | 'E')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_kept_as_they_were_written() {
        assert_eq!(written(r#"{"claim_code":"I","amount": 2700.50,"x":1}"#, "\"amount\":"), "2700.50");
    }
}
