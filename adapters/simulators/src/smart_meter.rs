//! Smart Meter's own service: readings by when they were taken in, the key in the body. Shapes as public code of those
//! who ask it has them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::http::{self, Reply, Request, Running, Service, lock};
use crate::trouble::Trouble;

/// Times as the service writes them: UTC without saying so.
const FORMAT: &str = "%Y-%m-%dT%H:%M:%S";

/// A running service.
#[derive(Clone, Debug)]
pub struct SmartMeter {
    state: Arc<Mutex<State>>,
    /// Where it listens, and what goes wrong there.
    pub http: Running,
}

#[derive(Debug, Default)]
struct State {
    key: String,
    /// When each was taken in, and the reading.
    readings: Vec<(jiff::Timestamp, Value)>,
    questions: Vec<Value>,
}

impl SmartMeter {
    /// Starts the service; it takes this key.
    pub async fn start(address: SocketAddr, key: &str, trouble: Trouble) -> std::io::Result<Self> {
        let state = Arc::new(Mutex::new(State { key: key.to_owned(), ..State::default() }));
        let http = http::start(address, Arc::new(Api(state.clone())), trouble).await?;
        Ok(SmartMeter { state, http })
    }

    /// The service takes a reading in now.
    pub fn take_in(&self, reading: Value) {
        self.took_in(0, reading);
    }

    /// The service took a reading in so many hours ago.
    pub fn took_in(&self, hours: i64, reading: Value) {
        let mut state = lock(&self.state);
        state.readings.push((http::now() - jiff::SignedDuration::from_hours(hours), reading));
    }

    /// What was asked so far, without the key.
    pub fn questions(&self) -> Vec<Value> {
        lock(&self.state).questions.clone()
    }
}

/// A reading of a blood pressure monitor; the same number is the same reading.
pub fn blood_pressure(device: &str, number: u64) -> Value {
    let at = format!("2025-05-{:02}T{:02}:{:02}:00", number / 1440 % 28 + 1, number / 60 % 24, number % 60);
    json!({
        "reading_id": 7000 + number, "device_id": device, "device_model": "SMBP802", "date_recorded": at,
        "date_received": at, "reading_type": "blood_pressure", "battery": 90, "time_zone_offset": "-4",
        "systolic_mmhg": 120 + number % 20, "diastolic_mmhg": 80, "pulse_bpm": 64, "irregular": false,
    })
}

#[derive(Debug)]
struct Api(Arc<Mutex<State>>);

impl Service for Api {
    fn answer(&self, request: &Request) -> Reply {
        let said = |status: u16| Reply::Json(200, json!({ "status": { "status_code": status }, "readings": [] }));
        let mut state = lock(&self.0);
        let path: Vec<&str> = request.path.iter().map(String::as_str).filter(|segment| !segment.is_empty()).collect();
        if path != ["readings"] || request.method != "POST" {
            return Reply::Json(404, json!({ "message": "not found" }));
        }
        let Ok(mut asked) = serde_json::from_slice::<Value>(&request.body) else { return said(400) };
        if asked["api_key"] != state.key.as_str() {
            return said(401);
        }
        if let Some(asked) = asked.as_object_mut() {
            asked.remove("api_key");
        }
        state.questions.push(asked.clone());
        let time = |name: &str| {
            let text = asked[name].as_str()?;
            Some(text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
        };
        let (Some(_), Some(_)) = (time("date_start"), time("date_end")) else { return said(400) };
        let (from, until) = (time("ingest_date_start"), time("ingest_date_end"));
        let kinds = asked["reading_type"].as_array();
        let found = state.readings.iter().filter(|(at, reading)| {
            // Times are written to the second.
            let at = at.strftime(FORMAT).to_string();
            let is_in = |bound: Option<jiff::Timestamp>, after: bool| {
                bound.is_none_or(|bound| {
                    let bound = bound.strftime(FORMAT).to_string();
                    if after { at >= bound } else { at <= bound }
                })
            };
            let kind = kinds.is_none_or(|kinds| kinds.contains(&reading["reading_type"]));
            is_in(from, true) && is_in(until, false) && kind
        });
        let found: Vec<&Value> = found.map(|(_, reading)| reading).collect();
        Reply::Json(200, json!({ "status": { "status_code": 200 }, "readings": found }))
    }
}
