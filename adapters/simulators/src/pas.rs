//! A payer's side of Da Vinci PAS: tokens, `Claim/$submit` and `Claim/$inquire` over real HTTP, with a ledger and with
//! faults. <https://hl7.org/fhir/us/davinci-pas/>
//!
//! It does what makes billing hard: it takes a claim and says nothing, answers with an error after it has taken it,
//! decides late, answers an inquiry with other claims of the patient too, and enters a claim again for whoever sends it
//! again. Its faults come of a seed, so a run can be repeated.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::http::{self, Reply, Request, Running, Service, lock};
use crate::trouble::{Chance, Trouble};

/// Client and secret that are good; an assertion is taken for any client.
pub const CREDENTIALS: [&str; 2] = ["tributary", "pas-secret"];

/// Where PAS defines its extensions.
const DEFINITIONS: &str = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition";

/// What becomes of claims, and what goes wrong, each in so many of a thousand.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Faults {
    /// Claims of a thousand that are decided against.
    #[arg(long, default_value_t = 100)]
    pub denied: u64,
    /// Claims of a thousand that are decided later.
    #[arg(long, default_value_t = 200)]
    pub pended: u64,
    /// Claims of a thousand that are not understood, and refused.
    #[arg(long, default_value_t = 0)]
    pub refused: u64,
    /// Claims of a thousand that are taken without an answer: the connection breaks.
    #[arg(long, default_value_t = 0)]
    pub silence: u64,
    /// Claims of a thousand that are taken and answered with 500.
    #[arg(long, default_value_t = 0)]
    pub error_after: u64,
    /// Claims of a thousand that are not taken and answered with 500.
    #[arg(long, default_value_t = 0)]
    pub error_before: u64,
    /// Claims of a thousand that are taken and answered with what is no FHIR.
    #[arg(long, default_value_t = 0)]
    pub garbage: u64,
    /// Claims of a thousand that are taken and answered with the answer to another claim.
    #[arg(long, default_value_t = 0)]
    pub mixed_up: u64,
    /// Claims of a thousand whose answer says what it comes to in no valid FHIR.
    #[arg(long, default_value_t = 0)]
    pub invalid: u64,
    /// Claims of a thousand that are too many.
    #[arg(long, default_value_t = 0)]
    pub throttled: u64,
    /// Requests of a thousand whose token is not accepted any more.
    #[arg(long, default_value_t = 0)]
    pub token: u64,
    /// Inquiries of a thousand that are answered with 500.
    #[arg(long, default_value_t = 0)]
    pub inquiry: u64,
    /// What the faults come of.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// A claim in the ledger: as often as it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Value of the claim's identifier.
    pub identifier: String,
    /// Its total, as it was written; `0` where there is none.
    pub amount: String,
    /// Currency of that.
    pub currency: String,
    /// `approved`, `denied`, `pended`, `cancelled` or `replaced`.
    pub state: &'static str,
}

/// A running payer; clones are the same one.
#[derive(Clone, Debug)]
pub struct Pas {
    state: Arc<Mutex<State>>,
    /// Where it listens, and what goes wrong there.
    pub http: Running,
}

#[derive(Debug)]
struct State {
    faults: Faults,
    chance: Chance,
    token: u64,
    ledger: Vec<(Entry, Value)>,
    bundles: Vec<String>,
    tokens: Vec<String>,
    inquiries: u64,
}

struct Api(Arc<Mutex<State>>);

impl Pas {
    /// Starts the payer.
    pub async fn start(address: SocketAddr, faults: Faults, trouble: Trouble) -> std::io::Result<Self> {
        let chance = Chance::new(faults.seed);
        let (ledger, bundles, tokens) = (Vec::new(), Vec::new(), Vec::new());
        let state = State { faults, chance, token: 0, ledger, bundles, tokens, inquiries: 0 };
        let state = Arc::new(Mutex::new(state));
        let http = http::start(address, Arc::new(Api(state.clone())), trouble).await?;
        Ok(Pas { state, http })
    }

    /// Everything that was taken, in the order it came.
    pub fn ledger(&self) -> Vec<Entry> {
        lock(&self.state).ledger.iter().map(|(entry, _)| entry.clone()).collect()
    }

    /// The Bundles that came to `$submit`, as they were written.
    pub fn submitted(&self) -> Vec<String> {
        lock(&self.state).bundles.clone()
    }

    /// The forms that tokens were asked for with.
    pub fn token_requests(&self) -> Vec<String> {
        lock(&self.state).tokens.clone()
    }

    /// How many inquiries came.
    pub fn inquiries(&self) -> u64 {
        lock(&self.state).inquiries
    }

    /// From now on other things happen.
    pub fn set_faults(&self, faults: Faults) {
        lock(&self.state).faults = faults;
    }

    /// Decides everything that waits.
    pub fn decide(&self, state: &'static str) {
        for (entry, _) in &mut lock(&self.state).ledger {
            if entry.state == "pended" {
                entry.state = state;
            }
        }
    }
}

impl Service for Api {
    fn answer(&self, request: &Request) -> Reply {
        let mut state = lock(&self.0);
        let path: Vec<&str> = request.path.iter().map(String::as_str).filter(|it| !it.is_empty()).collect();
        if path == ["token"] {
            return state.grant(request);
        }
        let good = format!("Bearer token-{}", state.token);
        let shown = request.headers.get("authorization").map(String::as_str);
        let ended = state.faults.token;
        if shown != Some(good.as_str()) || state.chance.happens(ended) {
            state.token += 1;
            return outcome(401, "the token is not known");
        }
        let is_fhir = request.headers.get("content-type").is_some_and(|kind| kind.starts_with("application/fhir+json"));
        let Some(body) = serde_json::from_slice::<Value>(&request.body).ok().filter(|_| is_fhir) else {
            return outcome(400, "the body is no FHIR in JSON");
        };
        match path.as_slice() {
            ["fhir", "Claim", "$submit"] => state.submit(&body, &String::from_utf8_lossy(&request.body)),
            ["fhir", "Claim", "$inquire"] => state.inquire(&body),
            _ => outcome(404, "there is no such operation"),
        }
    }
}

impl State {
    fn grant(&mut self, request: &Request) -> Reply {
        self.tokens.push(String::from_utf8_lossy(&request.body).into_owned());
        let of = |name: &str| request.parameters.get(name).map_or("", String::as_str);
        let by_secret = [of("client_id"), of("client_secret")] == CREDENTIALS;
        let by_assertion = of("client_assertion").split('.').count() == 3;
        if of("grant_type") != "client_credentials" || !(by_secret || by_assertion) {
            return Reply::Json(401, json!({ "error": "invalid_client", "error_description": "not known here" }));
        }
        self.token += 1;
        let token = format!("token-{}", self.token);
        Reply::Json(200, json!({ "access_token": token, "token_type": "bearer", "expires_in": 3600 }))
    }

    fn submit(&mut self, bundle: &Value, written: &str) -> Reply {
        self.bundles.push(written.to_owned());
        let faults = self.faults.clone();
        if self.chance.happens(faults.throttled) {
            return outcome(429, "too many claims");
        }
        if self.chance.happens(faults.error_before) {
            return Reply::Text(500, "text/html", "<html>no</html>".to_owned());
        }
        let claim = &bundle["entry"][0]["resource"];
        if let Some(text) = wrong(bundle) {
            return outcome(422, &text);
        }
        if self.chance.happens(faults.refused) {
            return outcome(400, "the claim is not understood");
        }
        let (entry, response) = match claim["related"][0]["claim"]["reference"].as_str() {
            Some(before) if is_cancellation(claim) => {
                self.change(before, "cancelled");
                (None, Self::response(claim, &bundle["entry"][0], "cancelled"))
            }
            before => {
                if let Some(before) = before {
                    self.change(before, "replaced");
                }
                let state = self.decided(&faults);
                (Some(entered(claim, written, state)), Self::response(claim, &bundle["entry"][0], state))
            }
        };
        if let Some(entry) = entry {
            self.ledger.push((entry, bundle["entry"][0].clone()));
        }
        if self.chance.happens(faults.silence) {
            return Reply::Broken;
        }
        if self.chance.happens(faults.error_after) {
            return Reply::Text(500, "text/html", "<html>later</html>".to_owned());
        }
        if self.chance.happens(faults.garbage) {
            return Reply::Text(200, "text/html", "<html>Gateway</html>".to_owned());
        }
        if self.chance.happens(faults.mixed_up) {
            let other =
                json!({ "fullUrl": "urn:x", "resource": { "id": "other", "identifier": [{ "value": "other" }] } });
            return Reply::Json(200, collection(&Self::response(claim, &other, "approved")));
        }
        let mut response = response;
        if self.chance.happens(faults.invalid) {
            response["total"] = json!([{ "amount": "much" }]);
        }
        Reply::Json(200, collection(&response))
    }

    /// All claims of the patient, as a query by example finds them.
    fn inquire(&mut self, bundle: &Value) -> Reply {
        self.inquiries += 1;
        if self.chance.happens(self.faults.inquiry) {
            return Reply::Text(500, "text/html", "<html>no</html>".to_owned());
        }
        let claim = &bundle["entry"][0]["resource"];
        let patient = claim["patient"]["reference"].clone();
        let found: Vec<Value> = (self.ledger.iter())
            .filter(|(_, sent)| sent["resource"]["patient"]["reference"] == patient)
            .map(|(entry, sent)| collection(&Self::response(&sent["resource"], sent, entry.state)))
            .map(|bundle| json!({ "name": "return", "resource": bundle }))
            .collect();
        // What is pended is decided once it was asked for.
        for (entry, sent) in &mut self.ledger {
            if entry.state == "pended" && sent["resource"]["patient"]["reference"] == patient {
                entry.state = "approved";
            }
        }
        let mut answer = json!({ "resourceType": "Parameters" });
        if !found.is_empty() {
            answer["parameter"] = found.into();
        }
        Reply::Json(200, answer)
    }

    fn decided(&mut self, faults: &Faults) -> &'static str {
        if self.chance.happens(faults.denied) {
            return "denied";
        }
        if self.chance.happens(faults.pended) { "pended" } else { "approved" }
    }

    fn change(&mut self, url: &str, state: &'static str) {
        for (entry, _) in self.ledger.iter_mut().filter(|(_, sent)| sent["fullUrl"] == url) {
            entry.state = state;
        }
    }

    /// The ClaimResponse of a claim that was sent as this entry of a Bundle.
    fn response(claim: &Value, sent: &Value, state: &str) -> Value {
        let number = sent["resource"]["identifier"][0]["value"].as_str().unwrap_or_default();
        let code = match state {
            "approved" => "A1",
            "denied" => "A3",
            "cancelled" => "C",
            _ => "A4",
        };
        let adjudication = json!([{
            "extension": [{
                "url": format!("{DEFINITIONS}/extension-reviewAction"),
                "extension": [{
                    "url": format!("{DEFINITIONS}/extension-reviewActionCode"),
                    "valueCodeableConcept": { "coding": [{ "system": "https://codesystem.x12.org/005010/306", "code": code }] },
                }],
            }],
            "category": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/adjudication", "code": "submitted" }] },
        }]);
        let mut response = json!({
            "resourceType": "ClaimResponse",
            "identifier": [{ "system": "https://payer.example/claims", "value": format!("P-{number}") }],
            "status": "active", "type": claim["type"], "use": claim["use"], "patient": claim["patient"],
            "created": crate::http::now().to_string(), "insurer": claim["insurer"],
            "request": { "reference": sent["fullUrl"], "identifier": sent["resource"]["identifier"][0] },
            "outcome": "complete",
        });
        if state == "approved" {
            response["preAuthRef"] = format!("AUTH-{number}").into();
        }
        let items = claim["item"].as_array().map_or(&[][..], Vec::as_slice);
        let items: Vec<Value> =
            items.iter().map(|it| json!({ "itemSequence": it["sequence"], "adjudication": adjudication })).collect();
        if items.is_empty() {
            response["adjudication"] = adjudication;
        } else {
            response["item"] = items.into();
        }
        response
    }
}

fn entered(claim: &Value, written: &str, state: &'static str) -> Entry {
    Entry {
        identifier: claim["identifier"][0]["value"].as_str().unwrap_or_default().to_owned(),
        amount: total(written),
        currency: claim["total"]["currency"].as_str().unwrap_or_default().to_owned(),
        state,
    }
}

/// What breaks the rules of PAS for a request: first the Claim, every reference in the Bundle, every resource once.
fn wrong(bundle: &Value) -> Option<String> {
    let entries = bundle["entry"].as_array().map_or(&[][..], Vec::as_slice);
    let first = entries.first().map(|it| &it["resource"]["resourceType"]);
    if first.is_none_or(|it| it != "Claim") || bundle["type"] != "collection" {
        return Some("the Bundle is no collection that begins with a Claim".to_owned());
    }
    let mut urls: Vec<&str> = entries.iter().map(|it| it["fullUrl"].as_str().unwrap_or_default()).collect();
    let text = bundle.to_string();
    for part in text.split("\"reference\":\"").skip(1) {
        let target = part.split('"').next().unwrap_or_default();
        if !target.starts_with('#') && !urls.contains(&target) {
            return Some(format!("{target} is not in the Bundle"));
        }
    }
    let count = urls.len();
    urls.sort_unstable();
    urls.dedup();
    let is_absolute = |url: &&str| url.starts_with("http") || url.starts_with("urn:uuid:");
    (urls.len() < count || !urls.iter().all(is_absolute))
        .then(|| "each resource once, with an absolute fullUrl".to_owned())
}

fn is_cancellation(claim: &Value) -> bool {
    let extension = &claim["extension"][0];
    extension["url"] == format!("{DEFINITIONS}/extension-certificationType")
        && extension["valueCodeableConcept"]["coding"][0]["code"] == "3"
}

fn collection(response: &Value) -> Value {
    let entry = json!({ "fullUrl": "https://payer.example/fhir/ClaimResponse/1", "resource": response });
    json!({
        "resourceType": "Bundle", "type": "collection", "timestamp": crate::http::now().to_string(), "entry": [entry],
    })
}

fn outcome(status: u16, text: &str) -> Reply {
    let issue = json!({ "severity": "error", "code": "processing", "diagnostics": text });
    Reply::Json(status, json!({ "resourceType": "OperationOutcome", "issue": [issue] }))
}

/// The total of the first Claim as it is written, so that a ledger of money has no binary fractions.
fn total(written: &str) -> String {
    let rest = written.split_once("\"total\":{\"value\":").map_or("0", |(_, rest)| rest);
    rest.chars().take_while(|it| it.is_ascii_digit() || matches!(it, '.' | '-' | '+' | 'e' | 'E')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_kept_as_they_were_written() {
        assert_eq!(total(r#"{"item":[{"net":{"value":1}}],"total":{"value":2700.50,"currency":"KES"}}"#), "2700.50");
        assert_eq!(total("{}"), "0");
    }
}
