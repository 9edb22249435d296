//! Validic Inform's side: users, records, the event stream with its replay, and Smart Meter's devices.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::http::{self, Reply, Request, Running, Service, lock};
use crate::trouble::Trouble;

/// How often a stream says that it is alive.
const POKE: Duration = Duration::from_secs(5);

/// The id of the stream that there is.
pub const STREAM: &str = "stream-1";

/// The organization that there is.
pub const ORGANIZATION: &str = "org-1";

/// A running service.
#[derive(Clone, Debug)]
pub struct Validic {
    state: Arc<Mutex<State>>,
    /// Where it listens, and what goes wrong there.
    pub http: Running,
}

#[derive(Debug, Default)]
struct State {
    token: String,
    users: BTreeMap<String, Value>,
    /// IMEI, then uid and connection.
    devices: BTreeMap<String, (String, Value)>,
    events: Vec<(String, String)>,
    records: BTreeMap<String, Value>,
    listeners: Vec<mpsc::UnboundedSender<String>>,
    held_back: Vec<(String, String)>,
    sent: u64,
}

impl Validic {
    /// Starts the service for one organization with this token.
    pub async fn start(address: SocketAddr, token: &str, trouble: Trouble) -> std::io::Result<Self> {
        let state = Arc::new(Mutex::new(State { token: token.to_owned(), ..State::default() }));
        let http = http::start(address, Arc::new(Api(state.clone())), trouble).await?;
        let poked = state.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(POKE).await;
                lock(&poked).send(&poke());
            }
        });
        Ok(Validic { state, http })
    }

    /// Sends a record to all who listen; it can be asked for and replayed from now on.
    pub fn publish(&self, record: &Value) {
        let mut state = lock(&self.state);
        let id = record["id"].as_str().unwrap_or_default().to_owned();
        state.records.insert(id, record.clone());
        state.say("data", &record.to_string(), &self.http.trouble());
    }

    /// Sends an event of another name.
    pub fn say(&self, name: &str, data: &Value) {
        lock(&self.state).say(name, &data.to_string(), &self.http.trouble());
    }

    /// Keeps a record that no stream tells: it can only be asked for.
    pub fn keep(&self, record: &Value) {
        let id = record["id"].as_str().unwrap_or_default().to_owned();
        lock(&self.state).records.insert(id, record.clone());
    }

    /// Ends all streams.
    pub fn hang_up(&self) {
        lock(&self.state).listeners.clear();
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        let mut state = lock(&self.state);
        state.listeners.retain(|listener| !listener.is_closed());
        state.listeners.len()
    }

    /// The names of the users.
    pub fn uids(&self) -> Vec<String> {
        lock(&self.state).users.keys().cloned().collect()
    }

    /// Makes a user, as another system of the same customer would.
    pub fn add_user(&self, uid: &str) {
        lock(&self.state).add_user(uid);
    }

    /// The devices that are connected now.
    pub fn devices(&self) -> Vec<String> {
        lock(&self.state).devices.keys().cloned().collect()
    }
}

/// A record of a pulse oximeter; the same number is the same record.
pub fn record(uid: &str, number: u64, pulse: u64) -> Value {
    let at = format!("2025-03-{:02}T{:02}:{:02}:00Z", number / 1440 % 28 + 1, number / 60 % 24, number % 60);
    json!({
        "id": format!("record-{number}"), "checksum": format!("sum-{pulse}"), "created_at": at, "deleted_at": null,
        "start_time": at, "end_time": at, "log_id": format!("log-{number}"),
        "metrics": [{ "type": "pulse", "origin": "device", "unit": "bpm", "value": pulse }],
        "offset_origin": "source", "utc_offset": 0,
        "source": { "type": "smart_meter", "device": { "id": "111111111111111", "model": "smc-ox",
            "manufacturer": "smart meter", "diagnostics": [] } },
        "tags": [], "type": "measurement", "user_notes": [], "version": "1.0",
        "user": { "organization_id": ORGANIZATION, "user_id": user_id(uid), "uid": uid },
    })
}

/// The service's own id of a user.
fn user_id(uid: &str) -> String {
    format!("id-of-{uid}")
}

fn poke() -> String {
    let data = json!({ "ts": http::now().to_string(), "stream": STREAM, "members": { "count": 1, "max": 3 } });
    event("poke", &data.to_string())
}

fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

impl State {
    fn send(&mut self, text: &str) {
        self.listeners.retain(|listener| listener.send(text.to_owned()).is_ok());
    }

    fn say(&mut self, name: &str, data: &str, trouble: &Trouble) {
        self.events.push((name.to_owned(), data.to_owned()));
        self.held_back.push((name.to_owned(), data.to_owned()));
        if self.held_back.len() < trouble.reorder {
            return;
        }
        let mut waiting = std::mem::take(&mut self.held_back);
        if trouble.reorder > 0 {
            waiting.reverse();
        }
        for (name, data) in waiting {
            self.sent += 1;
            for _ in 0..trouble.copies(self.sent) {
                self.send(&event(&name, &data));
            }
        }
    }

    fn add_user(&mut self, uid: &str) -> Value {
        let user = json!({
            "id": user_id(uid), "uid": uid, "status": "active", "sources": [],
            "marketplace": { "token": format!("marketplace-{uid}"), "url": "https://syncmydevice.com" },
            "created_at": http::now().to_string(),
        });
        self.users.insert(uid.to_owned(), user.clone());
        user
    }

    fn users(&mut self, request: &Request, rest: &[&str]) -> Reply {
        match (request.method.as_str(), rest) {
            ("GET", []) => Reply::Json(200, json!({ "data": self.users.values().collect::<Vec<_>>() })),
            ("POST", []) => {
                let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                let uid = body["uid"].as_str().or(request.parameters.get("uid").map(String::as_str));
                match uid.filter(|uid| !self.users.contains_key(*uid)) {
                    Some(uid) => Reply::Json(201, self.add_user(uid)),
                    None => Reply::Json(422, json!({ "errors": { "uid": ["has already been taken"] } })),
                }
            }
            ("GET", [uid]) => match self.users.get(*uid) {
                Some(user) => Reply::Json(200, user.clone()),
                None => Reply::Text(404, "text/plain", String::new()),
            },
            ("GET", [uid, resource]) => {
                let kind = resource.trim_end_matches('s');
                let of = |record: &&Value| record["user"]["uid"] == **uid && record["type"] == kind;
                Reply::Json(200, json!({ "data": self.records.values().filter(of).collect::<Vec<_>>() }))
            }
            _ => not_found(),
        }
    }

    fn streams(&mut self, rest: &[&str]) -> Reply {
        match rest {
            [STREAM, "connect"] => {
                let (sender, receiver) = mpsc::unbounded_channel();
                let _ = sender.send(poke());
                self.listeners.push(sender);
                Reply::Events(receiver)
            }
            [STREAM, "replay"] => {
                let all: String = self.events.iter().map(|(name, data)| event(name, data)).collect();
                Reply::Text(200, "text/event-stream", all)
            }
            _ => not_found(),
        }
    }

    fn direct(&mut self, request: &Request, rest: &[&str]) -> Reply {
        let token = request.parameters.get("token").map(String::as_str).unwrap_or_default();
        let uid = token.strip_prefix("marketplace-").filter(|uid| self.users.contains_key(*uid));
        let Some(uid) = uid.map(str::to_owned) else { return unauthorized() };
        let now = http::now().to_string();
        let ended = |mut connection: Value| {
            connection["deleted_at"] = now.clone().into();
            connection["deleted_reason"] = "User disconnected from Direct Endpoint".into();
            connection
        };
        match rest {
            ["connect"] => {
                let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                let device = body["device_id"].as_str().unwrap_or_default().to_owned();
                if device.len() != 15 || self.devices.contains_key(&device) {
                    let text = format!("device {device} cannot be connected with {token}");
                    return Reply::Json(422, json!({ "errors": { "device_id": [text] } }));
                }
                let credentials =
                    json!({ "device_id": device, "device_type": body["device_type"], "device_name": null });
                let connection = json!({ "credentials": credentials, "type": "smart_meter", "created_at": now });
                self.devices.insert(device, (uid, connection.clone()));
                Reply::Json(202, connection)
            }
            ["disconnect", device] => {
                let theirs = self.devices.get(*device).is_some_and(|(owner, _)| *owner == uid);
                match self.devices.remove(*device).filter(|_| theirs) {
                    Some((_, connection)) => Reply::Json(202, ended(connection)),
                    None => not_found(),
                }
            }
            ["disconnect_all"] => {
                let theirs: Vec<String> = self
                    .devices
                    .iter()
                    .filter(|(_, (owner, _))| *owner == uid)
                    .map(|(device, _)| device.clone())
                    .collect();
                let gone = theirs.iter().filter_map(|device| self.devices.remove(device));
                let gone: Vec<Value> = gone.map(|(_, connection)| ended(connection)).collect();
                Reply::Json(202, json!({ "meta": { "total": gone.len() }, "connections": gone }))
            }
            _ => not_found(),
        }
    }
}

#[derive(Debug)]
struct Api(Arc<Mutex<State>>);

impl Service for Api {
    fn answer(&self, request: &Request) -> Reply {
        let mut state = lock(&self.0);
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        if let ["direct", "auth", "smart_meter", rest @ ..] = path.as_slice() {
            return state.direct(request, rest);
        }
        if request.parameters.get("token") != Some(&state.token) {
            return unauthorized();
        }
        match path.as_slice() {
            ["organizations", ORGANIZATION, "users", rest @ ..] => state.users(request, rest),
            ["streams", rest @ ..] => state.streams(rest),
            _ => not_found(),
        }
    }
}

fn unauthorized() -> Reply {
    Reply::Json(401, json!({ "errors": ["Token is not authorized to access organization"] }))
}

fn not_found() -> Reply {
    Reply::Json(404, json!({ "errors": ["not found"] }))
}
