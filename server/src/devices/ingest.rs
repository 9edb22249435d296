//! Applies received messages: the worker behind the inbox. (RE-22, RE-25)
//!
//! A message is taken with a lease, mapped by its adapter, and written by [`bundle::execute`]. If the process is killed
//! in between, the lease runs out and the message is mapped again, to the same Bundle: its creates are conditional on
//! identifiers, so the second time writes nothing twice.
//!
//! Messages that are simply written share a commit with others, see [`together`]; where that fails, and where there is
//! more to it, each goes its own way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use adapters::{Adapter, Mapping, Publication, Shape, Withdrawal, state};
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use store::StoreError;
use store::inbox::{self, Buried, Message, State};
use store::pairings::{self, Pairing};

use super::registry::Seen;
use super::{outcome, registry, split, twins};
use crate::app::App;
use crate::background::{self, LEASE_MICROS, POLL, Worker};
use crate::caller::Caller;
use crate::error::{Error, Kind};
use crate::rest::bundle;
use together::Around;

mod together;

/// How long whoever needs one message waits before looking at it again.
const AGAIN: Duration = Duration::from_millis(50);

/// Messages that are leased at once.
const BATCH: u64 = 256;

/// A message and its bytes.
type Leased = (Message, Arc<[u8]>);

/// Parts of a batch that are applied at the same time: one is made ready while another is written.
const LANES: usize = 4;

/// Attempts before a message is given up.
const ATTEMPTS: i64 = 10;

/// Items of one message that may fail while the others are written.
const MAX_FAILURES: usize = 64;

/// Longest delay between two attempts.
const LONGEST_DELAY_MICROS: i64 = 5 * 60 * 1_000_000;

/// What the mapping and the writing of one message led to.
enum Verdict {
    Settled(State, Vec<String>, Vec<Issue>),
    TryAgain(Vec<Issue>),
}

/// Starts the worker of this process.
pub fn start(app: App) -> Worker {
    Worker::start(async move { run(&app).await })
}

/// Applies everything that is due; says how many messages it looked at.
pub async fn drain(app: &App) -> Result<usize, StoreError> {
    let mut count = 0;
    loop {
        let now = app.clock.now();
        let leased = app
            .store
            .write(move |tx| Box::pin(async move { inbox::lease(tx, now, now + LEASE_MICROS, BATCH).await }))
            .await?;
        if leased.is_empty() {
            return Ok(count);
        }
        count += leased.len();
        let lanes = lanes(leased).into_iter().map(|messages| together::apply(app, messages));
        let results = futures::future::join_all(lanes).await;
        results.into_iter().collect::<Result<Vec<()>, _>>()?;
    }
}

/// Applies one message here and now, or waits for whoever has taken it; what it has become.
pub async fn finish(app: &App, receipt: &str) -> Result<Message, StoreError> {
    loop {
        let (now, wanted) = (app.clock.now(), receipt.to_owned());
        let leased = app.store.write(move |tx| {
            let wanted = wanted.clone();
            Box::pin(async move { inbox::lease_one(tx, &wanted, now, now + LEASE_MICROS).await })
        });
        if let Some((message, body)) = leased.await? {
            apply(app, &message, &body.into()).await?;
        }
        let filter = inbox::Filter { receipt: Some(receipt.to_owned()), ..inbox::Filter::default() };
        let kept = inbox::list(&app.store, &filter, 1).await?.pop().ok_or(StoreError::Conflict)?;
        if kept.state != State::Received {
            return Ok(kept);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn run(app: &App) {
    background::release_leases(app, "the inbox", |tx| Box::pin(inbox::release_leases(tx))).await;
    loop {
        let rung = app.inbox_changed.notified();
        tokio::pin!(rung);
        rung.as_mut().enable(); // a message that comes while the queue is drained is not slept through
        if let Err(error) = drain(app).await {
            tracing::error!(%error, "the inbox cannot be worked on; trying again");
            tokio::time::sleep(POLL).await;
        }
        tokio::select! {
            () = rung => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// One device's messages one after the other, in the order they came; different devices at the same time.
fn lanes(leased: Vec<(Message, Vec<u8>)>) -> Vec<Vec<Leased>> {
    let mut devices: BTreeMap<Option<String>, Vec<Leased>> = BTreeMap::new();
    for (message, body) in leased {
        devices.entry(message.device.clone()).or_default().push((message, body.into()));
    }
    let mut lanes: Vec<Vec<Leased>> = (0..LANES).map(|_| Vec::new()).collect();
    for messages in devices.into_values() {
        if let Some(shortest) = lanes.iter_mut().min_by_key(|lane| lane.len()) {
            shortest.extend(messages);
        }
    }
    lanes.retain(|lane| !lane.is_empty());
    lanes
}

/// Applies one leased message and keeps what became of it.
async fn apply(app: &App, message: &Message, body: &Arc<[u8]>) -> Result<(), StoreError> {
    if message.attempts > ATTEMPTS {
        // Nothing could even be said of the attempts before: the process died, or the database refused.
        let issue = Issue::error(IssueCode::Exception, format!("given up after {ATTEMPTS} attempts; raw data kept"));
        return settle(app, message, (State::Dead, Vec::new(), vec![issue]), None).await;
    }
    let Some(adapter) = app.adapters.find(&message.vendor) else {
        let issue = Issue::error(IssueCode::NotSupported, format!("there is no adapter for {}", message.vendor));
        return settle(app, message, (State::Quarantined, Vec::new(), vec![issue]), None).await;
    };
    let shape = adapter.shape(&message.origin.shape).unwrap_or_else(|| adapter.shape_of(body));
    let receive = shape.receive;
    let devices = match alone(body, receive).await {
        None => return settle(app, message, (State::Dead, Vec::new(), vec![broken()]), None).await,
        Some(Ok(delivery)) => with_kept(delivery.devices, message),
        Some(Err(refusal)) => {
            return settle(app, message, (State::Dead, Vec::new(), refusal.issues().to_vec()), None).await;
        }
    };
    let pairings = pairings::of_devices(&app.store, adapter.vendor, &devices).await?;
    match publish(app, (adapter, shape), message, body, &pairings).await {
        Verdict::Settled(state, written, issues) => {
            tracing::info!(receipt = message.receipt, state = state.as_str(), written = written.len(), "applied");
            let known = (state == State::Quarantined).then_some((devices, pairings));
            settle(app, message, (state, written, issues), known).await
        }
        Verdict::TryAgain(issues) if message.attempts >= ATTEMPTS => {
            settle(app, message, (State::Dead, Vec::new(), issues), None).await
        }
        Verdict::TryAgain(issues) => postpone(app, message, &issues).await,
    }
}

/// The devices that the message names, and the one that was known when it was kept.
fn with_kept(mut devices: Vec<String>, message: &Message) -> Vec<String> {
    if let Some(kept) = message.device.as_ref().filter(|kept| !devices.contains(kept)) {
        devices.push(kept.clone());
    }
    devices
}

/// What an adapter makes of a message, on a thread of its own: nothing if it panics, which is that message's end only.
async fn alone<T: Send + 'static>(body: &Arc<[u8]>, read: impl FnOnce(&[u8]) -> T + Send + 'static) -> Option<T> {
    let body = body.clone();
    let read = tokio::task::spawn_blocking(move || read(&body)).await;
    read.inspect_err(|error| tracing::error!(%error, "an adapter failed")).ok()
}

fn broken() -> Issue {
    Issue::error(IssueCode::Exception, "the adapter failed on this message; raw data kept")
}

/// Maps and writes.
async fn publish(
    app: &App,
    (adapter, shape): (&Adapter, &Shape),
    message: &Message,
    body: &Arc<[u8]>,
    pairings: &[Pairing],
) -> Verdict {
    let around = match Around::of(app, adapter, message, pairings).await {
        Ok(around) => around,
        Err(error) => return Verdict::TryAgain(Error::from(error).issues().to_vec()),
    };
    let map = shape.map;
    let mapped = alone(body, move |body| around.map(map, body));
    let publication = match mapped.await {
        None => return Verdict::Settled(State::Dead, Vec::new(), vec![broken()]),
        Some(Mapping::Publish(publication)) => publication,
        Some(Mapping::Quarantine { issues }) => return Verdict::Settled(State::Quarantined, Vec::new(), issues),
        Some(Mapping::Send { issues, .. } | Mapping::Refuse { issues }) => {
            return Verdict::Settled(State::Dead, Vec::new(), issues);
        }
    };
    let state = if publication.waits { State::Quarantined } else { State::Applied };
    match write_living(app, adapter, &message.receipt, publication.clone()).await {
        Ok((response, refused)) => {
            let state = if refused.is_empty() { state } else { State::Quarantined };
            let mut issues = publication.issues;
            issues.extend(refused);
            Verdict::Settled(state, written(&response), issues)
        }
        Err(error) if is_temporary(&error) => {
            tracing::warn!(%error, "a message could not be applied now");
            Verdict::TryAgain(error.issues().to_vec())
        }
        Err(error) => apart(app, adapter, message, publication, &error).await,
    }
}

/// Writes the items of a message that can be written, where all of it together cannot: halves, and halves of those,
/// until what is wrong stands alone.
async fn apart(app: &App, adapter: &Adapter, message: &Message, publication: Publication, whole: &Error) -> Verdict {
    let items = split::items(&publication.bundle);
    let (mut locations, mut issues, mut failures) = (Vec::new(), publication.issues.clone(), 0);
    if items.len() < 2 {
        issues.extend(whole.issues().iter().cloned());
        return Verdict::Settled(State::Quarantined, locations, issues);
    }
    let middle = items.len() / 2;
    let mut parts = vec![middle..items.len(), 0..middle];
    while let Some(part) = parts.pop() {
        if failures >= MAX_FAILURES {
            let text = format!("more than {MAX_FAILURES} items cannot be written; the others are not tried");
            issues.push(Issue::error(IssueCode::TooCostly, text));
            break;
        }
        let bundle = split::part(&publication.bundle, &items[part.clone()]);
        // The same parts again have the same names.
        let name = format!("{}-{}-{}", message.receipt, part.start, part.end);
        match write_living(app, adapter, &name, Publication { bundle, ..publication.clone() }).await {
            Ok((response, refused)) => {
                locations.extend(written(&response));
                for issue in refused {
                    if !issues.contains(&issue) {
                        issues.push(issue);
                    }
                }
            }
            Err(error) if is_temporary(&error) => return Verdict::TryAgain(error.issues().to_vec()),
            Err(error) if part.len() == 1 => {
                failures += 1;
                issues.extend(error.issues().iter().cloned());
            }
            Err(_) => {
                let middle = part.start + part.len() / 2;
                parts.extend([middle..part.end, part.start..middle]);
            }
        }
    }
    Verdict::Settled(State::Quarantined, locations, issues)
}

/// Whether trying again soon may help.
fn is_temporary(error: &Error) -> bool {
    let passes = matches!(
        error.kind(),
        Kind::Conflict | Kind::PreconditionFailed | Kind::TooManyRequests | Kind::Internal | Kind::Unavailable
    );
    passes && !lacks_target(error)
}

/// Whether what failed is a reference to something that is not there, or there more than once: trying again soon will
/// not help.
fn lacks_target(error: &Error) -> bool {
    let missing = |issue: &Issue| matches!(issue.code, IssueCode::NotFound | IssueCode::MultipleMatches);
    error.kind() == Kind::PreconditionFailed && !error.issues().is_empty() && error.issues().iter().all(missing)
}

/// Writes what is not of records that the vendor deleted, before this message or in it.
///
/// A deletion is remembered before what is stored of its record is looked for, and asked for again after such a record
/// was written: whichever comes first, one of the two sees the other.
///
/// What was written, and of which message, stands in a Provenance of the id `name`. What is somebody else's and was not
/// taken back is told.
async fn write_living(
    app: &App,
    adapter: &Adapter,
    name: &str,
    mut publication: Publication,
) -> Result<(Json, Vec<Issue>), Error> {
    let living = |publication: &Publication| -> Vec<String> {
        let records = publication.withdrawn.iter().filter(|withdrawal| !withdrawal.deleted);
        records.map(|withdrawal| withdrawal.record.clone()).collect()
    };
    let gone = publication.withdrawn.iter().filter(|withdrawal| withdrawal.deleted);
    let gone: Vec<Buried> = gone.map(buried_as).collect();
    if !gone.is_empty() {
        let (vendor, now) = (adapter.vendor, app.clock.now());
        app.store
            .write(move |tx| {
                let gone = gone.clone();
                Box::pin(async move { inbox::bury(tx, vendor, &gone, now).await })
            })
            .await?;
    }
    let buried = inbox::buried(&app.store, adapter.vendor, &living(&publication)).await?;
    state::without_deleted(&mut publication, |withdrawal| is_buried(&buried, withdrawal));
    let caller = Caller::server(adapter.vendor);
    let mut overtaken = BTreeSet::new();
    for withdrawal in &publication.withdrawn {
        if registry::is_overtaken(app, &caller, withdrawal).await? {
            overtaken.insert(withdrawal.record.clone());
        }
    }
    state::without_overtaken(&mut publication, |withdrawal| overtaken.contains(&withdrawal.record));
    let (response, refused) = write(app, adapter, name, &publication).await?;
    let since = inbox::buried(&app.store, adapter.vendor, &living(&publication)).await?;
    if publication.withdrawn.iter().any(|withdrawal| !withdrawal.deleted && is_buried(&since, withdrawal)) {
        state::without_deleted(&mut publication, |withdrawal| is_buried(&since, withdrawal));
        write(app, adapter, name, &publication).await?;
    }
    Ok((response, refused))
}

/// Under which name a record is deleted.
fn buried_as(withdrawal: &Withdrawal) -> Buried {
    (withdrawal.record.clone(), withdrawal.holder.name().to_owned())
}

fn is_buried(buried: &BTreeSet<Buried>, withdrawal: &Withdrawal) -> bool {
    buried.contains(&buried_as(withdrawal)) || buried.contains(&(withdrawal.record.clone(), String::new()))
}

async fn write(
    app: &App,
    adapter: &Adapter,
    name: &str,
    publication: &Publication,
) -> Result<(Json, Vec<Issue>), Error> {
    let (entries, refused) = news(app, adapter, name, publication, &mut Seen::new()).await?;
    if entries.is_empty() {
        return Ok((fhir::object! { "resourceType": "Bundle", "type": "transaction-response" }, refused));
    }
    let response = bundle::execute(app, &Caller::server(adapter.vendor), registry::transaction(entries)).await?;
    Ok((response, refused))
}

/// What of a publication is new, with its Provenance; nothing where all is known already. And what it may not take back.
async fn news(
    app: &App,
    adapter: &Adapter,
    name: &str,
    publication: &Publication,
    seen: &mut Seen,
) -> Result<(Vec<Json>, Vec<Issue>), Error> {
    let caller = &Caller::server(adapter.vendor);
    let Publication { bundle, withdrawn, .. } = publication;
    let mut entries = registry::settle(app, caller, bundle, registry::Change::default(), seen).await?;
    let (taken_back, refused) = registry::take_back(app, caller, withdrawn).await?;
    entries.extend(taken_back);
    let mut targets = Vec::new();
    if app.config.join_twin_readings {
        targets = twins::join(app, caller, &mut entries).await?;
    }
    targets.extend(entries.iter().filter_map(target));
    if !targets.is_empty() {
        entries.push(provenance(app, adapter, name, targets));
    }
    Ok((entries, refused))
}

/// What the Provenance of an entry points at.
fn target(entry: &Json) -> Option<Json> {
    let url = entry.get("request")?.str("url")?;
    let stored = !url.contains('?') && url.contains('/');
    let reference = if stored { url } else { entry.str("fullUrl")? };
    Some(fhir::object! { "reference": reference })
}

/// Who made what a message is written as, and of which message. The receipt is its id, or begins it: a message that is
/// applied again after a crash has one Provenance. <https://hl7.org/fhir/R4/provenance.html>
fn provenance(app: &App, adapter: &Adapter, name: &str, targets: Vec<Json>) -> Json {
    let receipt = name.split('-').next().unwrap_or(name);
    let now = jiff::Timestamp::from_microsecond(app.clock.now()).unwrap_or_default().to_string();
    let namespace = &app.config.adapter_namespace;
    let agent = |code: &str, display: &str, kind: &str, value: String, name: String| {
        let system = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
        let coding = fhir::object! { "system": system, "code": code, "display": display };
        let identifier = fhir::object! { "system": format!("{namespace}/{kind}"), "value": value };
        fhir::object! {
            "type": fhir::object! { "coding": fhir::array![coding] },
            "who": fhir::object! { "identifier": identifier, "display": name },
        }
    };
    let version = format!("{} {}", adapter.vendor, adapter.version);
    let raw = fhir::object! { "system": format!("{namespace}/receipt"), "value": receipt };
    let entity = fhir::object! { "role": "source", "what": fhir::object! { "identifier": raw } };
    let resource = fhir::object! {
        "resourceType": "Provenance",
        "id": name,
        "target": targets,
        "recorded": now,
        "agent": fhir::array![
            agent("author", "Author", "vendor", adapter.vendor.to_owned(), adapter.name.to_owned()),
            agent("assembler", "Assembler", "adapter", version.clone(), format!("adapter {version}")),
        ],
        "entity": fhir::array![entity],
    };
    let url = format!("Provenance/{name}");
    fhir::object! {
        "fullUrl": format!("{}/{url}", app.config.fhir_base()),
        "resource": resource,
        "request": fhir::object! { "method": "PUT", "url": url },
    }
}

/// Gives a message its state. If it is quarantined but the pairings that it was mapped with are no longer what holds,
/// it stays in the queue: the pairing that came in between could not yet see it in quarantine.
async fn settle(
    app: &App,
    message: &Message,
    (state, written, issues): (State, Vec<String>, Vec<Issue>),
    known: Option<(Vec<String>, Vec<Pairing>)>,
) -> Result<(), StoreError> {
    let (receipt, vendor) = (message.receipt.clone(), message.vendor.clone());
    let (outcome, now) = (outcome(&written, &issues), app.clock.now());
    app.store
        .write(move |tx| {
            let (receipt, vendor, outcome, known) = (receipt.clone(), vendor.clone(), outcome.clone(), known.clone());
            Box::pin(async move {
                if let Some((devices, pairings)) = known
                    && pairings::of_devices_now(tx, &vendor, &devices).await? != pairings
                {
                    return inbox::postpone(tx, &receipt, &outcome, 0).await;
                }
                inbox::settle(tx, &receipt, state, &outcome, now).await.map(drop)
            })
        })
        .await
}

async fn postpone(app: &App, message: &Message, issues: &[Issue]) -> Result<(), StoreError> {
    let exponent = u32::try_from(message.attempts).unwrap_or(u32::MAX).min(20);
    // Versions that crossed are fine at once; a database that is away needs time.
    let delay = (50_000_i64 << exponent).min(LONGEST_DELAY_MICROS);
    let (receipt, outcome, due_at) = (message.receipt.clone(), outcome(&[], issues), app.clock.now() + delay);
    app.store
        .write(move |tx| {
            let (receipt, outcome) = (receipt.clone(), outcome.clone());
            Box::pin(async move { inbox::postpone(tx, &receipt, &outcome, due_at).await })
        })
        .await
}

fn written(response: &Json) -> Vec<String> {
    let locations = response.list("entry").iter().filter_map(|entry| entry.get("response")?.str("location"));
    locations.map(str::to_owned).collect()
}
