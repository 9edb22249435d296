//! Messages that share a commit: each with its own event, Provenance and outcome, which are written with it or not at all.
//!
//! ```text
//! leased messages ─▶ read and mapped on one thread ─▶ made ready ─▶ one transaction ─▶ settled
//!                                             └─ anything unusual, or a failure ─▶ each by itself
//! ```
//!
//! A commit costs the same however much it holds, and on PostgreSQL so does a statement. What one message does wrong
//! undoes the others' part too; then all of them are applied one by one, as they would have been at first.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use adapters::{Adapter, Assignment, Context, Mapping, Publication};
use fhir::json::Json;
use fhir::outcome::Issue;
use store::StoreError;
use store::inbox::{self, Message, State};
use store::pairings::{self, Pairing};

use super::super::registry::Seen;
use super::super::{outcome, registry};
use super::{Leased, news, with_kept};
use crate::app::App;
use crate::caller::Caller;
use crate::connections;
use crate::error::Error;
use crate::rest::bundle::{self, Then};

/// Messages of one commit at most: bounds what a failure does again, and how long the first waits for the last.
const MOST: usize = 64;

/// Devices of one message whose pairings are asked for with those of others.
const MOST_DEVICES: usize = 64;

/// A message that only has to be written.
struct Ready {
    at: usize,
    adapter: &'static Adapter,
    /// With the Provenance; nothing where all is known already.
    entries: Vec<Json>,
    /// What the entries are about, by which two messages that meet are told apart.
    about: BTreeSet<String>,
    issues: Vec<Issue>,
}

/// Applies messages in their order.
pub(super) async fn apply(app: &App, messages: Vec<Leased>) -> Result<(), StoreError> {
    let mut seen = Seen::new();
    for some in messages.chunks(MOST) {
        let mapped = mapped(app, some).await?;
        look_ahead(app, &mapped, &mut seen).await;
        let mut ready: Vec<Ready> = Vec::new();
        for (at, publication) in mapped.into_iter().enumerate() {
            let mut one = made_ready(app, &some[at].0, at, publication.as_ref(), &mut seen).await;
            let meets = |ready: &[Ready], one: &Ready| {
                ready.iter().any(|it| it.adapter.vendor != one.adapter.vendor || !it.about.is_disjoint(&one.about))
            };
            if one.as_ref().is_none_or(|one| meets(&ready, one)) {
                write(app, some, std::mem::take(&mut ready)).await?;
                // What stands is another now.
                one = made_ready(app, &some[at].0, at, publication.as_ref().filter(|_| one.is_some()), &mut seen).await;
            }
            if let Some(one) = one {
                ready.push(one);
            } else {
                super::apply(app, &some[at].0, &some[at].1).await?;
                seen.clear();
            }
        }
        write(app, some, ready).await?;
    }
    Ok(())
}

/// Looks for the devices of all these messages at once. What cannot be looked for so is looked for by each message.
async fn look_ahead(app: &App, mapped: &[Mapped], seen: &mut Seen) {
    let vendors: BTreeSet<&str> = mapped.iter().flatten().map(|(adapter, _)| adapter.vendor).collect();
    for vendor in vendors {
        let of_vendor = mapped.iter().flatten().filter(|(adapter, _)| adapter.vendor == vendor);
        let bundles = of_vendor.map(|(_, publication)| &publication.bundle);
        if let Err(error) = registry::look_ahead(app, &Caller::server(vendor), bundles, seen).await {
            tracing::debug!(%error, vendor, "devices are looked for one by one");
        }
    }
}

/// What adapters make of messages, on one thread of their own: nothing of a message that is not simply published, or
/// was tried before.
async fn mapped(app: &App, some: &[Leased]) -> Result<Vec<Mapped>, StoreError> {
    let known: Vec<_> = some.iter().map(|(message, body)| known(app, message, body)).collect();
    let bodies: Vec<_> = some.iter().map(|(_, body)| body.clone()).collect();
    let receive = known.clone();
    let devices = tokio::task::spawn_blocking(move || {
        let read = |(known, body): (&Option<Known>, &Arc<[u8]>)| {
            let (_, shape) = (*known)?;
            guarded(|| (shape.receive)(body).ok()).flatten().map(|delivery| delivery.devices)
        };
        receive.iter().zip(&bodies).map(read).collect::<Vec<_>>()
    });
    let devices = devices.await.unwrap_or_else(|_panicked| vec![None; some.len()]);
    let arounds = arounds(app, some, &known, devices).await?;
    let bodies: Vec<_> = some.iter().map(|(_, body)| body.clone()).collect();
    let mapped = tokio::task::spawn_blocking(move || {
        let map = |(asked, body): (Asked, &Arc<[u8]>)| {
            let ((adapter, shape), around) = (asked.0?, asked.1?);
            match guarded(|| around.map(shape.map, body))? {
                Mapping::Publish(publication) if !publication.waits && publication.withdrawn.is_empty() => {
                    Some((adapter, publication))
                }
                _ => None,
            }
        };
        known.into_iter().zip(arounds).zip(&bodies).map(map).collect::<Vec<_>>()
    });
    Ok(mapped.await.unwrap_or_else(|_panicked| vec![None; some.len()]))
}

/// What mappings need to know, with one question for the pairings of all.
async fn arounds(
    app: &App,
    some: &[Leased],
    known: &[Option<Known>],
    devices: Vec<Option<Vec<String>>>,
) -> Result<Vec<Option<Around>>, StoreError> {
    let all = some.iter().zip(known).zip(devices).map(|(((message, _), known), devices)| {
        let devices = with_kept(devices?, message);
        known.filter(|_| devices.len() <= MOST_DEVICES).map(|(adapter, _)| (adapter, message, devices))
    });
    let all: Vec<_> = all.collect();
    let mut paired = Vec::new();
    let vendors: BTreeSet<&str> = all.iter().flatten().map(|(adapter, ..)| adapter.vendor).collect();
    for vendor in vendors {
        let of_vendor = all.iter().flatten().filter(|(adapter, ..)| adapter.vendor == vendor);
        let named: BTreeSet<&String> = of_vendor.flat_map(|(_, _, devices)| devices).collect();
        let named: Vec<String> = named.into_iter().cloned().collect();
        paired.extend(pairings::of_devices(&app.store, vendor, &named).await?);
    }
    let mut arounds = Vec::with_capacity(all.len());
    for one in all {
        arounds.push(match one {
            Some((adapter, message, devices)) => {
                let own = paired.iter().filter(|it| it.vendor == adapter.vendor && devices.contains(&it.device));
                Some(Around::of(app, adapter, message, &own.cloned().collect::<Vec<_>>()).await?)
            }
            None => None,
        });
    }
    Ok(arounds)
}

/// What a message says, if it is simply published.
type Mapped = Option<(&'static Adapter, Publication)>;

/// An adapter, and what it needs to know of the world.
type Asked = (Option<Known>, Option<Around>);

/// The adapter of a message and the shape that it is in.
type Known = (&'static Adapter, &'static adapters::Shape);

fn known(app: &App, message: &Message, body: &[u8]) -> Option<Known> {
    if message.attempts > 1 {
        return None;
    }
    let adapter = app.adapters.find(&message.vendor)?;
    let shape = adapter.shape(&message.origin.shape);
    shape.or_else(|| guarded(|| adapter.shape_of(body))).map(|shape| (adapter, shape))
}

/// What an adapter does, and nothing if it panics: then the message is looked at by itself.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// What of a message is new; nothing where it is not simply written.
async fn made_ready(
    app: &App,
    message: &Message,
    at: usize,
    publication: Option<&(&'static Adapter, Publication)>,
    seen: &mut Seen,
) -> Option<Ready> {
    let (adapter, publication) = publication?;
    // What is taken back is never written together with others' messages.
    let (entries, _none) = news(app, adapter, &message.receipt, publication, seen).await.ok()?;
    let about = entries.iter().filter_map(about).collect();
    Some(Ready { at, adapter, entries, about, issues: publication.issues.clone() })
}

/// What an entry is about: criteria, or where it stands.
fn about(entry: &Json) -> Option<String> {
    let request = entry.get("request")?;
    let url = request.str("url")?;
    match request.str("ifNoneExist") {
        Some(criteria) => Some(format!("{url}?{criteria}")),
        None if url.contains(['?', '/']) => Some(url.to_owned()),
        None => None, // a create without a condition meets nothing
    }
}

/// Writes messages in one commit, or each in its own where that fails.
async fn write(app: &App, some: &[Leased], ready: Vec<Ready>) -> Result<(), StoreError> {
    let Some(first) = ready.first() else { return Ok(()) };
    let caller = Caller::server(first.adapter.vendor);
    let all: Vec<usize> = ready.iter().map(|one| one.at).collect();
    let then = settling(app, some, &ready);
    let bundles = ready.into_iter().map(|one| registry::transaction(one.entries)).collect();
    match bundle::execute_together(app, &caller, bundles, then).await {
        Ok(()) => {
            tracing::info!(vendor = caller.client_id, count = all.len(), "applied");
            return Ok(());
        }
        Err(error) => tracing::debug!(%error, count = all.len(), "messages cannot be applied together; one by one"),
    }
    for at in all {
        super::apply(app, &some[at].0, &some[at].1).await?;
    }
    Ok(())
}

/// Gives the messages their states, by where what they say was written.
fn settling(app: &App, some: &[Leased], ready: &[Ready]) -> Then {
    let told = ready.iter().map(|one| (some[one.at].0.receipt.clone(), one.issues.clone()));
    let (told, now) = (Arc::new(told.collect::<Vec<_>>()), app.clock.now());
    Arc::new(move |tx, written| {
        let told = told.clone();
        Box::pin(async move {
            let outcomes = told.iter().zip(&written);
            let settled: Vec<(String, String)> =
                outcomes.map(|((receipt, issues), written)| (receipt.clone(), outcome(written, issues))).collect();
            inbox::settle_all(tx, &settled, State::Applied, now).await.map_err(Error::from)
        })
    })
}

/// What a mapping knows beside the message; owned, for it happens on another thread.
pub(super) struct Around {
    namespace: String,
    now: i64,
    origin: inbox::Origin,
    assignments: Vec<Assignment>,
    user: Option<String>,
    organisation: Option<String>,
    fields: Option<Json>,
}

impl Around {
    /// Of a message whose devices are paired so.
    pub(super) async fn of(
        app: &App,
        adapter: &Adapter,
        message: &Message,
        pairings: &[Pairing],
    ) -> Result<Self, StoreError> {
        let told = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(message.origin.query.as_bytes());
            pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
        };
        Ok(Around {
            namespace: app.config.adapter_namespace.clone(),
            now: app.clock.now(),
            origin: message.origin.clone(),
            assignments: pairings.iter().map(assignment).collect(),
            user: told("uid"),
            organisation: told("organisation"),
            fields: connections::fields(app, adapter.vendor, told("connection").as_deref()).await?,
        })
    }

    /// What a mapping makes of a message.
    pub(super) fn map(&self, map: &adapters::Map, body: &[u8]) -> Mapping {
        let context = Context {
            namespace: &self.namespace,
            now: self.now,
            assignments: &self.assignments,
            session: self.origin.patient.as_deref(),
            user: self.user.as_deref(),
            query: &self.origin.query,
            organisation: self.organisation.as_deref(),
            fields: self.fields.as_ref(),
            visit: None,
        };
        map(body, &context)
    }
}

fn assignment(pairing: &Pairing) -> Assignment {
    Assignment {
        device: pairing.device.clone(),
        patient: pairing.patient.clone(),
        from: pairing.from,
        until: pairing.until,
    }
}
