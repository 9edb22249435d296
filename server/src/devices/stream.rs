//! `GET /devices/stream`: readings and alerts of the patients that the caller may see, as they are committed.
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>
//!
//! ```text
//! commits of all processes ─▶ feed of versions ─▶ one Reader ─▶ broadcast ─▶ each Listener: rights, Sight ─▶ event
//!                                             └─ catching up after Last-Event-ID, or after falling behind ─┘
//! ```
//!
//! An event is a version of an Observation, a Flag or a Communication: its type, the resource, and a sealed place in
//! the feed as id. Before anything is sent, and every few seconds in between, the rights are looked up again: a
//! revoked token ends its stream, and what is sent stands in the audit trail before it leaves.
//!
//! | bound | is |
//! |---|---|
//! | listeners of this process | `stream-listeners`, 1,000; then 503 |
//! | listeners of one sign-in of an app | 100; then 429 |
//! | what waits for a slow listener | nothing: it reads on from the database |

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use search::view::{TypeRule, View};
use smart::token::Hash;
use store::{Happening, Place};
use tokio::sync::{Notify, broadcast, watch};

use super::Refused;
use crate::app::App;
use crate::background::Worker;
use crate::caller::{self, Caller};
use crate::error::Error;

mod listener;

pub use listener::{Rights, carer, events};

/// What is told: readings, and two forms of alerts.
pub const TYPES: [&str; 3] = ["Observation", "Flag", "Communication"];

/// How often the feed is read while somebody listens.
const POLL: Duration = Duration::from_millis(40);

/// How long is waited after the feed could not be read.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Versions that are read at once.
const BATCH: usize = 500;

/// Batches that a listener may be behind before it reads for itself.
const BEHIND: usize = 64;

/// Listeners of one grant or session.
const MAX_OF_ONE: usize = 100;

/// Versions that were read together.
type Batch = Arc<Vec<Happening>>;

/// Who listens in this process.
#[derive(Debug)]
pub struct Listeners {
    batches: broadcast::Sender<Batch>,
    /// Whether batches are being read; then a listener misses nothing that comes after its place.
    is_reading: watch::Sender<bool>,
    is_closing: watch::Sender<bool>,
    came: Notify,
    /// How many there are, by whose they are.
    counts: Mutex<HashMap<String, usize>>,
}

/// The place of a listener among the others, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    listeners: Arc<Listeners>,
    whose: String,
}

impl Default for Listeners {
    fn default() -> Self {
        Listeners {
            batches: broadcast::Sender::new(BEHIND),
            is_reading: watch::Sender::new(false),
            is_closing: watch::Sender::new(false),
            came: Notify::new(),
            counts: Mutex::default(),
        }
    }
}

impl Listeners {
    /// Ends all streams: the server stops.
    pub fn close(&self) {
        self.is_closing.send_replace(true);
    }

    /// A seat, if one is free.
    fn sit(self: &Arc<Self>, whose: &str, most: usize) -> Result<Seat, Refused> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.values().sum::<usize>() >= most {
            let text = "as many listen as this server takes; try again later";
            return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, text));
        }
        let own = counts.entry(whose.to_owned()).or_default();
        if *own >= MAX_OF_ONE {
            let text = format!("{MAX_OF_ONE} listeners of one sign-in are as many as may be");
            return Err(Refused::new(StatusCode::TOO_MANY_REQUESTS, text));
        }
        *own += 1;
        self.came.notify_one();
        Ok(Seat { listeners: self.clone(), whose: whose.to_owned() })
    }

    fn is_empty(&self) -> bool {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.listeners.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.whose);
            }
        }
    }
}

/// Starts the reader of this process.
pub fn start(app: App) -> Worker {
    Worker::start(async move { read(&app).await })
}

/// The endpoint.
pub async fn handler(
    app: web::Data<App>,
    caller: Result<Caller, Refused>,
    request: HttpRequest,
) -> Result<HttpResponse, Refused> {
    let caller = caller?;
    if TYPES.iter().all(|name| *caller.view.rule(name) == TypeRule::Denied) {
        let text = format!("the access token has no scope for any of {}", TYPES.join(", "));
        return Err(Refused::new(StatusCode::FORBIDDEN, text));
    }
    let token: Hash = caller::bearer(&request)?.hash();
    let whose = caller.grant_id.clone().unwrap_or_else(|| caller.client_id.clone());
    let rights = Rights::Token { token, trail: caller.trail.clone() };
    respond(&app, &request, &whose, rights).await
}

/// The answer to somebody who listens with these rights, whoever they are.
pub async fn respond(app: &App, request: &HttpRequest, whose: &str, rights: Rights) -> Result<HttpResponse, Refused> {
    let last = request.headers().get("last-event-id").map(|value| value.to_str().unwrap_or_default());
    let after = last.filter(|text| !text.is_empty()).map(|text| app.store.open_place(text)).transpose();
    let after = after.map_err(|_| Refused::new(StatusCode::BAD_REQUEST, "Last-Event-ID is none of this server's"))?;
    let seat = app.listeners.sit(whose, app.config.stream_listeners)?;
    let events = events(app.clone(), seat, rights, after).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .content_type("text/event-stream; charset=utf-8")
        .streaming(events))
}

/// Reads for all listeners as long as there are any.
async fn read(app: &App) {
    let listeners = &app.listeners;
    let mut place: Option<Place> = None;
    loop {
        if listeners.is_empty() {
            listeners.is_reading.send_replace(false);
            place = None;
            // Who came meanwhile has left a permit.
            listeners.came.notified().await;
        }
        match next(app, place).await {
            Ok((next, more)) => {
                place = Some(next);
                listeners.is_reading.send_replace(true);
                if !more {
                    tokio::time::sleep(POLL).await;
                }
            }
            Err(error) => {
                tracing::error!(%error, "the feed cannot be read; trying again");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

/// Hands the next batch on; where the one after it begins.
async fn next(app: &App, place: Option<Place>) -> Result<(Place, bool), Error> {
    let Some(place) = place else { return Ok((app.store.feed_end(&TYPES).await?, true)) };
    let fed = app.store.feed(&View::system(), &TYPES, place, BATCH).await?;
    if !fed.happenings.is_empty() {
        // Nobody listening is no failure.
        let _ = app.listeners.batches.send(Arc::new(fed.happenings));
    }
    Ok((fed.place, fed.more))
}
