//! Smartz Connect's side as we imagine it: a gateway with subscription keys, tokens that end, and lists of what there
//! is and what happens. The vendor publishes no payloads; these are the samples of `adapters/fixtures/smartz`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::http::{self, Reply, Request, Running, Service, lock};
use crate::trouble::Trouble;

/// The link code of the organisation; it works once.
pub const LINK_CODE: &str = "LINK-7Q4M-22";

/// App Id, App Key and subscription key that are good.
pub const CREDENTIALS: [&str; 3] = ["app-1", "app-key-1", "sub-key-1"];

/// A running service.
#[derive(Clone, Debug)]
pub struct Smartz {
    state: Arc<Mutex<State>>,
    /// Where it listens, and what goes wrong there.
    pub http: Running,
}

#[derive(Debug)]
struct State {
    life: u64,
    tokens: BTreeMap<String, jiff::Timestamp>,
    made: u64,
    refuse: bool,
    /// Whether the app is tied to the organisation.
    linked: bool,
    /// Whether paths and names are others than ours.
    foreign: bool,
    organisation: Value,
    patients: Vec<Value>,
    statuses: Vec<Value>,
    alerts: Vec<Value>,
}

impl Smartz {
    /// Starts the service; its tokens are good for so many seconds.
    pub async fn start(address: SocketAddr, life: u64, trouble: Trouble) -> std::io::Result<Self> {
        let organisation = json!({
            "organisation": { "id": "org-1", "name": "Sunrise Care Home" },
            "nodes": [{ "id": "node-21", "name": "Corridor A", "serialNumber": "SN-N-0021", "firmware": "2.4.1" }],
            "pods": [{ "id": "pod-501", "name": "Pod 501", "serialNumber": "SN-P-0501", "batteryPercent": 64,
                "nodeId": "node-21" }],
        });
        let patient = json!({
            "patient": { "id": "pt-9001", "externalId": "MRN-4477", "firstName": "Amina", "lastName": "Okafor",
                "gender": "F", "dateOfBirth": "1941-11-02", "active": true },
            "pod": { "id": "pod-501", "assignedAt": "2025-05-30T08:00:00Z" },
        });
        let state = Arc::new(Mutex::new(State {
            life,
            tokens: BTreeMap::new(),
            made: 0,
            refuse: false,
            linked: true,
            foreign: false,
            organisation,
            patients: vec![patient],
            statuses: Vec::new(),
            alerts: Vec::new(),
        }));
        let http = http::start(address, Arc::new(Api(state.clone())), trouble).await?;
        Ok(Smartz { state, http })
    }

    /// A pod says something.
    pub fn status(&self, status: Value) {
        lock(&self.state).statuses.push(status);
    }

    /// An alert is raised, or told anew.
    pub fn alert(&self, alert: Value) {
        let mut state = lock(&self.state);
        state.alerts.retain(|known| known["id"] != alert["id"]);
        state.alerts.push(alert);
    }

    /// The charge of the pod.
    pub fn charge(&self, percent: u64) {
        lock(&self.state).organisation["pods"][0]["batteryPercent"] = percent.into();
    }

    /// The app is not tied to the organisation until it shows the link code.
    pub fn unlink(&self) {
        lock(&self.state).linked = false;
    }

    /// From now on paths and names are others: `tenants` for organisations, `key` for `id` and the like. Tokens are
    /// asked for with the credentials in the header `Authorization`.
    pub fn speak_otherwise(&self) {
        lock(&self.state).foreign = true;
    }

    /// How many tokens were made.
    pub fn tokens(&self) -> u64 {
        lock(&self.state).made
    }

    /// Forgets all tokens: whoever has one has to make another.
    pub fn forget_tokens(&self) {
        lock(&self.state).tokens.clear();
    }

    /// From now on no credentials are good, or are again.
    pub fn refuse(&self, refuse: bool) {
        let mut state = lock(&self.state);
        state.refuse = refuse;
        state.tokens.clear();
    }
}

/// A status of a pod; the same number is the same status.
pub fn status(number: u64) -> Value {
    let at = format!("2025-05-31T{:02}:{:02}:00Z", number / 60 % 24, number % 60);
    json!({
        "id": format!("st-{number}"), "patientId": "pt-9001", "podId": "pod-501", "timestamp": at, "receivedAt": at,
        "state": if number.is_multiple_of(2) { "dry" } else { "wet" }, "saturationPercent": number % 100,
    })
}

/// An alert.
pub fn alert(number: u64, resolved: Option<&str>) -> Value {
    json!({
        "id": format!("al-{number}"), "patientId": "pt-9001", "podId": "pod-501", "type": "change-required",
        "severity": "high", "message": "Product needs changing", "raisedAt": "2025-05-31T02:20:00+01:00",
        "receivedAt": "2025-05-31T01:20:02Z", "resolvedAt": resolved,
    })
}

impl State {
    fn token(&mut self, request: &Request) -> Reply {
        let get = |name: &str| request.parameters.get(name).map(String::as_str);
        let known = if self.foreign {
            request.headers.get("authorization").is_some_and(|header| header == BASIC)
        } else {
            get("client_id") == Some(CREDENTIALS[0]) && get("client_secret") == Some(CREDENTIALS[1])
        };
        let good = known && get("grant_type") == Some("client_credentials");
        if !good || self.refuse {
            return Reply::Json(401, json!({ "statusCode": 401, "message": "Access denied." }));
        }
        self.made += 1;
        let token = format!("token-{}", self.made);
        let life = i64::try_from(self.life).unwrap_or(i64::MAX);
        self.tokens.insert(token.clone(), http::now() + jiff::SignedDuration::from_secs(life));
        Reply::Json(200, json!({ "access_token": token, "token_type": "Bearer", "expires_in": self.life }))
    }

    /// Ties the app to the organisation, once.
    fn link(&mut self, request: &Request) -> Reply {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if request.method != "POST" || body["linkCode"] != LINK_CODE || self.linked {
            let message = format!("Link code {} is not valid or was used.", body["linkCode"]);
            return Reply::Json(422, json!({ "statusCode": 422, "message": message }));
        }
        self.linked = true;
        Reply::Json(200, json!({ "data": [{ "organisation": self.organisation["organisation"] }] }))
    }

    fn is_good(&self, request: &Request) -> bool {
        let bearer = request.headers.get("authorization").and_then(|header| header.strip_prefix("Bearer "));
        bearer.and_then(|token| self.tokens.get(token)).is_some_and(|until| http::now() < *until)
    }
}

#[derive(Debug)]
struct Api(Arc<Mutex<State>>);

impl Service for Api {
    fn answer(&self, request: &Request) -> Reply {
        let mut state = lock(&self.0);
        if request.headers.get("x-sub-key").map(String::as_str) != Some(CREDENTIALS[2]) {
            let message = "Access denied due to invalid subscription key.";
            return Reply::Json(401, json!({ "statusCode": 401, "message": message }));
        }
        let own = |segment: &str| if state.foreign { ours(FOREIGN, segment) } else { segment.to_owned() };
        let path: Vec<String> = request.path.iter().map(|segment| own(segment)).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        if path == ["v1", "token"] {
            return state.token(request);
        }
        if !state.is_good(request) {
            return Reply::Json(
                401,
                json!({ "statusCode": 401, "message": "Unauthorized. Access token is not valid." }),
            );
        }
        let since = |items: &[Value]| {
            let name = if state.foreign { "after" } else { "since" };
            let since = request.parameters.get(name).and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let at = |item: &Value| item["receivedAt"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let found: Vec<&Value> = items.iter().filter(|item| at(item) >= since).collect();
            json!({ "data": found })
        };
        if path == ["v1", "organisations", "link"] {
            return state.link(request);
        }
        let body = match path.as_slice() {
            _ if !state.linked && path.get(2).is_some() => {
                return Reply::Json(404, json!({ "statusCode": 404, "message": "Resource not found" }));
            }
            ["v1", "organisations"] if !state.linked => json!({ "data": [] }),
            ["v1", "organisations"] => json!({ "data": [state.organisation["organisation"]] }),
            ["v1", "manufacturers"] => {
                let products = json!([{ "id": "prd-70", "name": "DryWell Night", "type": "brief", "size": "L" }]);
                let maker = json!({ "id": "man-7", "name": "DryWell Hygiene" });
                json!({ "data": [{ "manufacturer": maker, "products": products }] })
            }
            ["v1", "organisations", "org-1", "devices"] => json!({ "data": [state.organisation] }),
            ["v1", "organisations", "org-1", "patients"] => json!({ "data": state.patients }),
            ["v1", "organisations", "org-1", "statuses"] => since(&state.statuses),
            ["v1", "organisations", "org-1", "alerts"] => since(&state.alerts),
            _ => return Reply::Json(404, json!({ "statusCode": 404, "message": "Resource not found" })),
        };
        Reply::Json(200, if state.foreign { renamed(body) } else { body })
    }
}

/// `app-1:app-key-1`, as HTTP writes it.
const BASIC: &str = "Basic YXBwLTE6YXBwLWtleS0x";

/// Segments of paths as they might be, and ours.
const FOREIGN: &[(&str, &str)] = &[
    ("oauth2", "token"),
    ("tenants", "organisations"),
    ("makers", "manufacturers"),
    ("things", "devices"),
    ("people", "patients"),
    ("readings", "statuses"),
    ("alarms", "alerts"),
];

/// Our names of members, and what they might be.
const NAMES: &[(&str, &str)] = &[("data", "results"), ("id", "key"), ("podId", "transceiver"), ("patientId", "person")];

fn ours(table: &[(&str, &str)], word: &str) -> String {
    table.iter().find(|(foreign, _)| *foreign == word).map_or(word, |(_, ours)| ours).to_owned()
}

/// An answer with other names; the percentage stands one level deeper.
fn renamed(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let renamed = members.into_iter().map(|(name, value)| match name.as_str() {
                "saturationPercent" => ("measured".to_owned(), json!({ "wetness": value })),
                _ => (ours(NAMES, &name), renamed(value)),
            });
            Value::Object(renamed.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(renamed).collect()),
        other => other,
    }
}
