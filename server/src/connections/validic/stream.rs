//! Records by event stream: opened first, then what was missed is fetched, then read on. What comes twice that way is
//! known by its identity.
//!
//! The service has no ids of events: `replay` gives all of a day again. A stream on which nothing comes for
//! [`SILENCE`], not even a poke, is dead and opened again.

use std::collections::BTreeMap;
use std::time::Duration;

use adapters::event_stream::{Event, EventReader};
use fhir::json::Json;

use super::records::{self, event_text, of_answer, record_told};
use super::{DAY_MICROS, day, known_until, since};
use crate::connections::{Failure, Held, Question, Told};
use crate::outbound::MAX_SERVICE_BODY;

/// How long nothing may come; pokes come every five seconds.
const SILENCE: Duration = Duration::from_secs(30);

/// How often the cursor is moved where nothing but pokes come.
const QUIET_MICROS: i64 = 30 * 1_000_000;

/// Users that are remembered while a stream is read.
const MOST_USERS: usize = 100_000;

/// What a stream told of a user: the name that we gave them, and their last record.
#[derive(Clone, Debug)]
struct User {
    uid: String,
    record: String,
}

type Users = BTreeMap<String, User>;

/// Reads the stream until it ends.
pub(super) async fn follow(held: &Held) -> Result<(), Failure> {
    let opened = &held.opened;
    let stream = opened.required("stream")?;
    let client = opened.client_at(&held.app, "stream-url")?;
    let question = Question::get(&["streams", stream, "connect"]).with("token", opened.credential("token")?);
    let mut pieces = client.stream(&question.header("accept", "text/event-stream")).await?;
    let begun = held.app.clock.now();
    held.works().await?;
    let mut users = Users::new();
    missed(held, &mut users).await?;
    held.keep(Vec::new(), Some(&known_until(begun))).await?;
    let (mut reader, mut moved, mut heard) = (EventReader::default(), begun, false);
    loop {
        let piece = match tokio::time::timeout(SILENCE, pieces.recv()).await {
            Err(_) => return Err(Failure::Late),
            Ok(None) if heard => return Ok(()),
            Ok(None) => return Err(Failure::Unreachable("the stream ended before it said anything".to_owned())),
            Ok(Some(piece)) => piece.map_err(|_| Failure::Unreachable("the stream broke off".to_owned()))?,
        };
        heard = true;
        let events = reader.push(&piece);
        if reader.pending() as u64 > MAX_SERVICE_BODY {
            return Err(Failure::Unreadable("an event has no end".to_owned()));
        }
        let (told, now) = (told(events, &mut users), held.app.clock.now());
        if !told.is_empty() || now - moved > QUIET_MICROS {
            held.keep(told, Some(&known_until(now))).await?;
            moved = now;
        }
    }
}

/// Fetches what came since all was known, day by day; by asking for records where the stream cannot be replayed.
async fn missed(held: &Held, users: &mut Users) -> Result<(), Failure> {
    let opened = &held.opened;
    let client = opened.client_at(&held.app, "stream-url")?;
    let (mut at, now) = (since(held), held.app.clock.now());
    while day(at) <= day(now) {
        let question = Question::get(&["streams", opened.required("stream")?, "replay"])
            .with("token", opened.credential("token")?)
            .with("resources", opened.setting("resources").unwrap_or_default())
            .with("date", day(at));
        let answer = match client.ask(&question).await {
            Err(Failure::Refused { status: 400 | 404 | 405 | 422, .. }) => return records::catch_up(held).await,
            answer => answer?,
        };
        let told = match answer.json() {
            Ok(json) => of_answer(&json),
            Err(_) => told(EventReader::default().push(&answer.body), users),
        };
        held.keep(told, None).await?;
        at += DAY_MICROS;
    }
    Ok(())
}

/// The messages that events are. An event that names a user by the service's id goes with what is known of them.
fn told(events: Vec<Event>, users: &mut Users) -> Vec<Told> {
    let mut messages = Vec::new();
    for event in events {
        let json = Json::parse(event.data.as_bytes()).unwrap_or(Json::Null);
        match event.name.as_str() {
            "poke" => {}
            "data" => {
                hear(&json, &event.data, users);
                messages.push(record_told(&json, event.data));
            }
            name => messages.push(other(name, &event.data, &json, users)),
        }
    }
    messages
}

fn hear(record: &Json, text: &str, users: &mut Users) {
    let of_user = |name| record.at(&["user", name]).and_then(Json::as_str).map(str::to_owned);
    if let (Some(id), Some(uid)) = (of_user("user_id"), of_user("uid"))
        && (users.len() < MOST_USERS || users.contains_key(&id))
    {
        users.insert(id, User { uid, record: text.to_owned() });
    }
}

fn other(name: &str, data: &str, json: &Json, users: &Users) -> Told {
    let user = json.str("user_id").and_then(|id| users.get(id));
    // Of which device a connection speaks says the user's last record.
    let before = user.filter(|_| name == "connection").map(|user| event_text("data", &user.record));
    let query =
        user.map(|user| url::form_urlencoded::Serializer::new(String::new()).append_pair("uid", &user.uid).finish());
    let delivery = json
        .str("rule_id")
        .zip(json.str("triggered_at"))
        .map(|(rule, at)| format!("rule:{rule}:{}:{at}", json.str("user_id").unwrap_or_default()));
    Told {
        shape: "stream",
        delivery,
        devices: user.map(|user| user.uid.clone()).into_iter().collect(),
        query: query.unwrap_or_default(),
        body: [before.unwrap_or_default(), event_text(name, data)].concat().into_bytes(),
    }
}
