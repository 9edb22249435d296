//! One listener: what it may see, where it is, and what it is sent.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use futures::Stream;
use search::view::Compartment;
use smart::scope::ScopeSet;
use smart::token::Hash;
use store::audit::{Entity, Event};
use store::users::{self, Account};
use store::{Happening, Place, Sight, sessions};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::{BATCH, Batch, Refused, Seat, TYPES};
use crate::access::{self, patients_of};
use crate::app::App;
use crate::audit::{self, Trail};
use crate::caller::{self, Caller};
use crate::error::Error;

/// How often the rights are looked up where nothing is sent.
const CHECK: Duration = Duration::from_secs(5);

/// Checks after which something is sent to keep the connection open: 15 seconds.
const CHECKS_PER_BEAT: u32 = 3;

/// What a page of ours shows to people who are signed in, and what they may do there.
const SCOPES: &str = "user/Goal.cruds user/Observation.rs user/Flag.rs user/Communication.rs user/Patient.rs \
                      user/Practitioner.rs";

/// What every stream begins with: after a break a browser comes back in a second.
const GREETING: &str = "retry: 1000\n\n";

/// A line that says nothing.
const BEAT: &str = ":\n\n";

/// On what somebody listens.
#[derive(Clone, Debug)]
pub enum Rights {
    /// An access token.
    Token {
        /// Its hash.
        token: Hash,
        /// What the audit trail knows of the request.
        trail: Arc<Trail>,
    },
    /// A person who is signed in at a page of ours.
    Session {
        /// Hash of the session.
        session: Hash,
        /// What the audit trail knows of the request.
        trail: Arc<Trail>,
    },
}

/// Rights as they are now.
struct Now {
    caller: Caller,
    sight: Sight,
}

struct Listener {
    app: App,
    rights: Rights,
    now: Now,
    batches: Receiver<Batch>,
    closing: watch::Receiver<bool>,
    /// Everything up to here was looked at.
    place: Place,
    /// Whether there may be more in the database that will not come by itself.
    is_behind: bool,
    checks: u32,
    greeting: Option<&'static str>,
    _seat: Seat,
}

/// The events after a place; without one, those that come from now on.
pub async fn events(
    app: App,
    seat: Seat,
    rights: Rights,
    after: Option<Place>,
) -> Result<impl Stream<Item = Result<Bytes, std::io::Error>> + 'static, Refused> {
    let batches = app.listeners.batches.subscribe();
    let closing = app.listeners.is_closing.subscribe();
    // What is committed after this instant is read by the reader, and what was before is behind the place.
    let mut reading = app.listeners.is_reading.subscribe();
    let _: Result<_, watch::error::RecvError> = reading.wait_for(|is_reading| *is_reading).await.map(drop);
    let place = match after {
        Some(place) => place,
        None => app.store.feed_end(&TYPES).await?,
    };
    let now = rights.now(&app).await?;
    let (is_behind, greeting) = (true, Some(GREETING));
    let listener = Listener { app, rights, now, batches, closing, place, is_behind, checks: 0, greeting, _seat: seat };
    Ok(futures::stream::unfold(Some(listener), |listener| async move {
        let mut listener = listener?;
        match listener.next().await {
            Ok(chunk) => chunk.map(|chunk| (Ok(chunk), Some(listener))),
            Err(error) => {
                // The connection ends in the middle, and whoever still may listens again.
                tracing::debug!(%error, "a stream ends");
                None
            }
        }
    }))
}

impl Rights {
    /// What may be seen now; an error where nothing may be seen any more.
    async fn now(&self, app: &App) -> Result<Now, Error> {
        let (mut caller, trail) = match self {
            Rights::Token { token, trail } => (caller::of_hash(app, *token, app.clock.now()).await?, trail),
            Rights::Session { session, trail } => (of_session(app, *session).await?, trail),
        };
        caller.trail = trail.clone();
        let sight = app.store.sight(&caller.view, &TYPES).await?;
        Ok(Now { caller, sight })
    }
}

impl Listener {
    /// What is sent next; nothing when the stream is over.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(greeting) = self.greeting.take() {
            return Ok(Some(Bytes::from_static(greeting.as_bytes())));
        }
        loop {
            if *self.closing.borrow() {
                return Ok(None);
            }
            if self.is_behind {
                self.now = self.rights.now(&self.app).await?;
                let fed = self.app.store.feed(&self.now.caller.view, &TYPES, self.place, BATCH).await?;
                (self.place, self.is_behind) = (fed.place, fed.more);
                if let Some(chunk) = self.send(&fed.happenings).await? {
                    return Ok(Some(chunk));
                }
                continue;
            }
            tokio::select! {
                batch = self.batches.recv() => match batch {
                    Ok(batch) => {
                        if let Some(chunk) = self.take(&batch).await? {
                            return Ok(Some(chunk));
                        }
                    }
                    Err(RecvError::Lagged(_)) => self.is_behind = true,
                    Err(RecvError::Closed) => return Ok(None),
                },
                _ = self.closing.changed() => return Ok(None),
                () = tokio::time::sleep(CHECK) => {
                    self.now = self.rights.now(&self.app).await?;
                    self.checks += 1;
                    if self.checks.is_multiple_of(CHECKS_PER_BEAT) {
                        return Ok(Some(Bytes::from_static(BEAT.as_bytes())));
                    }
                }
            }
        }
    }

    /// Sends what of a batch is new and may be seen.
    async fn take(&mut self, batch: &[Happening]) -> Result<Option<Bytes>, Error> {
        let new = |place: Place| move |it: &&Happening| it.place > place;
        if !batch.iter().filter(new(self.place)).any(|it| self.now.sight.shows(it)) {
            self.pass(batch);
            return Ok(None);
        }
        self.now = self.rights.now(&self.app).await?;
        let seen: Vec<Happening> =
            batch.iter().filter(new(self.place)).filter(|it| self.now.sight.shows(it)).cloned().collect();
        self.pass(batch);
        self.send(&seen).await
    }

    fn pass(&mut self, batch: &[Happening]) {
        if let Some(last) = batch.last() {
            self.place = self.place.max(last.place);
        }
    }

    /// The events of versions that may be seen, once the audit trail knows of them.
    async fn send(&self, seen: &[Happening]) -> Result<Option<Bytes>, Error> {
        let caller = &self.now.caller;
        let (mut text, mut patients) = (String::new(), BTreeSet::new());
        let begun = caller.trail.event(caller, &self.app.clock, &self.app.random);
        let mut event = Event { subtype: "stream".into(), action: 'R', status: 200, ..begun };
        for Happening { place, stored, .. } in seen.iter().filter(|it| !it.stored.deleted) {
            let resource_type = &stored.resource_type;
            audit::patients_in(&stored.body, &self.app.config.fhir_base(), &mut patients);
            let reference = format!("{resource_type}/{}/_history/{}", stored.id, stored.version);
            event.touch(Entity { action: 'R', status: 200, reference: &reference });
            let _infallible = write!(text, "id: {}\nevent: {resource_type}\n", self.app.store.seal_place(*place));
            for line in stored.body.split(['\n', '\r']) {
                let _infallible = writeln!(text, "data: {line}");
            }
            text.push('\n');
        }
        if text.is_empty() {
            return Ok(None);
        }
        if let Compartment::Patients(own) = caller.view.compartment() {
            // Of others that a reading also names nobody was told.
            patients.retain(|patient| own.contains(patient));
        }
        event.patients = patients;
        self.app.store.audit(event).await?;
        Ok(Some(text.into()))
    }
}

/// Somebody at a page of ours, who sees the patients in their care.
async fn of_session(app: &App, session: Hash) -> Result<Caller, Error> {
    let refused = || Error::unauthorized("nobody is signed in");
    let found = sessions::find(&app.store, session, app.clock.now()).await?;
    let id = found.and_then(|session| session.account_id).ok_or_else(refused)?;
    let account = users::find(&app.store, &id).await?.ok_or_else(refused)?;
    carer(app, &account).await
}

/// Somebody who is signed in at a page of ours: they see and set what is about the patients in their care, as things
/// stand now.
pub async fn carer(app: &App, account: &Account) -> Result<Caller, Error> {
    let patients = match &account.fhir_user {
        Some(user) => patients_of(app, user).await?,
        None => Vec::new(),
    };
    let mut caller = Caller::person("portal", account, None);
    caller.scopes = ScopeSet::parse(SCOPES).unwrap_or_default();
    caller.view = access::of_page(app, &caller.scopes, Compartment::Patients(patients));
    Ok(caller)
}
