//! The job behind `$export`: the state of an instant, type by type, into files. (LK-32, LK-33, RE-28; decision 21)
//!
//! ```text
//! Plan: works in a fixed order ─▶ a page of a state ─▶ what is asked of it ─▶ lines of files ─▶ parts, saved with the place
//! ```
//!
//! The instant is that of the beginning, or the last before it at which all was committed. Parts of files and the place
//! where it goes on are saved in one transaction, so whoever takes the job up after a crash goes on there.

use fhir::date::format_instant;
use fhir::json::{Json, Object};
use fhir::object;
use fhir::outcome::{Issue, IssueCode, outcome};
use futures::future::BoxFuture;
use search::view::{Compartment, View};
use sha2::{Digest as _, Sha256};
use store::bulk::{self, Step};
use store::jobs::{self, Job};

use super::{ATTEMPTS, Kind, caller, given_up, interaction};
use crate::app::App;
use crate::background::POLL;
use crate::caller::Caller;
use crate::error::{self, Error};
use crate::rest::operation::export::{self as asking, Asked, Narrowing, Of};

mod files;
mod plan;
mod read;

use files::Files;
use plan::{Plan, Work};

/// This kind. One at a time: it would only compete with others for the same database.
pub const KIND: Kind = Kind {
    name: "export",
    at_once: 1,
    attempts: i64::MAX, // as long as it gets somewhere, see `begin`
    run,
    failed: |error| interaction::kept_of_nobody(&kept(error.status().as_u16(), error.outcome())),
    keep: |config| config.bulk_keep_seconds,
};

/// How often what has not been committed yet is waited for before an export begins without it.
const WAITS: u32 = 50;
/// How long each time.
const WAIT: std::time::Duration = std::time::Duration::from_millis(100);
/// How often a step is tried where the database fails.
const TRIES: u32 = 5;

/// An export under way.
struct Run<'a> {
    app: &'a App,
    job: &'a Job,
    caller: &'a Caller,
    asked: Asked,
    view: View,
    narrowing: Narrowing,
    /// Whom the caller reached when it began, see [`reach`].
    reach: String,
    /// Whose state it is, microseconds since 1970.
    at: i64,
}

/// Where an export goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    /// The number of the work.
    work: usize,
    /// Where its next page begins.
    after: Option<String>,
    /// Whom the caller reached until here, see [`reach`].
    reach: String,
}

impl Run<'_> {
    /// The only patients whom it can be of, where it is of some: those whom the caller reaches.
    fn confined(&self) -> Option<&[String]> {
        match self.view.compartment() {
            Compartment::Patients(patients) if self.asked.of == Of::Patients => Some(patients),
            _ => None,
        }
    }

    /// Whether what lies in no compartment is exported as far as it is referred to. With `_since`, what changed of it is
    /// exported whether it is referred to or not, and the rest is not asked for.
    fn follows(&self) -> bool {
        let is_of_some =
            self.asked.patients.is_some() || matches!(self.asked.of, Of::Group(_)) || self.confined().is_some();
        is_of_some && self.asked.since.is_none()
    }
}

fn run<'a>(app: &'a App, job: &'a Job) -> BoxFuture<'a, Result<String, Error>> {
    Box::pin(async move {
        let caller = caller(app, job).await?;
        caller.trail.identify(&caller);
        let asked = Asked::from_json(&job.request)?;
        let url = url(app, &asked).to_owned();
        let done = exported(app, job, &caller, asked).await;
        let status = done.as_ref().map_or_else(|error| error.status().as_u16(), |_| 200);
        let event = caller.trail.of_job(&caller, app, ("GET", &url, &job.id), status);
        app.store.audit(event).await?;
        Ok(interaction::kept(&caller.view, &kept(200, done?)))
    })
}

/// What was asked for, below the base.
fn url<'a>(app: &App, asked: &'a Asked) -> &'a str {
    asked.url.strip_prefix(&app.config.fhir_base()).unwrap_or_default().trim_start_matches('/')
}

/// The answer as the status reads it.
fn kept(status: u16, body: Json) -> String {
    object! { "status": i64::from(status), "body": body }.to_string()
}

/// Whose data a caller sees, as one word. It is the same from the beginning of an export to its end: what was read with a
/// wider reach is not finished with a narrower one, and the plan follows from it. (LK-40)
fn reach(caller: &Caller) -> String {
    let whose = match caller.view.compartment() {
        Compartment::Everyone => "*".to_owned(),
        Compartment::Patients(patients) => patients.join(","),
    };
    fhir::hexadecimal(&Sha256::digest(whose.as_bytes())[..16])
}

fn reach_has_changed() -> Error {
    Error::gone("while the export was under way, it was changed which patients this client reaches; export anew")
}

/// Carries it out; where the database fails, from the last place again.
async fn exported(app: &App, job: &Job, caller: &Caller, asked: Asked) -> Result<Json, Error> {
    let mut tries = 0;
    loop {
        let error = match carried_out(app, job, caller, asked.clone()).await {
            Err(error) if matches!(error.kind(), error::Kind::Unavailable | error::Kind::Internal) => error,
            done => return done,
        };
        tries += 1;
        if tries >= TRIES {
            return Err(error);
        }
        tracing::warn!(%error, tries, "an export goes on from its last place");
        tokio::time::sleep(POLL).await;
    }
}

async fn carried_out(app: &App, job: &Job, caller: &Caller, asked: Asked) -> Result<Json, Error> {
    let (at, position) = begin(app, job, &asked).await?;
    let narrowing = asked.narrowed.prepared(app, &asked.types)?;
    let view = asking::view(caller, &asked);
    let run = Run { app, job, caller, asked, view, narrowing, reach: reach(caller), at };
    let mut place = match position.as_str() {
        "" => Place { reach: run.reach.clone(), ..Place::default() },
        saved => Place::read(saved)?,
    };
    if place.reach != run.reach {
        return Err(reach_has_changed());
    }
    let plan = Plan::new(&run).await?;
    let mut files = Files::resumed(app, &job.id).await?;
    if position.is_empty() {
        files.tell(&run.asked.warnings);
    }
    while let Some(work) = plan.work(place.work) {
        let next = read::page(&run, &plan, work, place.after.as_deref(), &mut files).await?;
        place = match next {
            Some(after) => Place { after: Some(after), ..place },
            None => Place { work: place.work + 1, after: None, ..place },
        };
        if files.is_time_to_save() || plan.work(place.work) == Some(&Work::References) {
            save(&run, &mut files, &place).await?;
        }
    }
    save(&run, &mut files, &place).await?;
    manifest(&run).await
}

/// The instant, and where to go on. An attempt that follows several ones without any progress is not made.
async fn begin(app: &App, job: &Job, asked: &Asked) -> Result<(i64, String), Error> {
    if let Some(export) = bulk::find(&app.store, &job.id).await? {
        let fruitless = job.attempts - export.attempt;
        return if fruitless > ATTEMPTS { Err(given_up()) } else { Ok((export.at, export.position)) };
    }
    if job.attempts > ATTEMPTS {
        return Err(given_up());
    }
    let present = present(app).await?;
    let at = asked.until.map_or(present, |until| Ord::min(until, present));
    let job = job.clone();
    app.store
        .write(move |tx| {
            let job = job.clone();
            Box::pin(async move {
                hold(tx, &job).await?;
                bulk::begin(tx, &job.id, at, job.attempts).await.map_err(Error::from)
            })
        })
        .await?;
    Ok((at, String::new()))
}

/// The last microsecond that is over, as soon as all that was begun in it is committed. (Decision 10)
async fn present(app: &App) -> Result<i64, Error> {
    let clock = app.clock.clone();
    let now = app.store.write(move |tx| {
        let clock = clock.clone();
        Box::pin(async move { tx.instant(clock.now()).await })
    });
    let present = now.await? - 1;
    for _ in 0..WAITS {
        if app.store.complete_until().await? >= present {
            return Ok(present);
        }
        tokio::time::sleep(WAIT).await;
    }
    Ok(Ord::min(present, app.store.complete_until().await?))
}

/// Saves what was made, where to go on, and the event of whose data it is; an error where the job was cancelled, the token revoked, or it was changed
/// whom it reaches.
async fn save(run: &Run<'_>, files: &mut Files, place: &Place) -> Result<(), Error> {
    let Run { app, job, .. } = *run;
    if reach(&caller(app, job).await?) != run.reach {
        return Err(reach_has_changed());
    }
    let saved = files.step().await?;
    let step = Step { export: job.id.clone(), attempt: job.attempts, position: place.to_json().to_string(), ..saved };
    let event = run.caller.trail.of_step(run.caller, app, (url(app, &run.asked), &job.id));
    let job = job.clone();
    app.store
        .write(move |tx| {
            let (job, step, event) = (job.clone(), step.clone(), event.clone());
            Box::pin(async move {
                hold(tx, &job).await?;
                if let Some(event) = event {
                    tx.record(event);
                }
                bulk::save(tx, &step).await.map_err(Error::from)
            })
        })
        .await?;
    let taken = bulk::find(&app.store, &run.job.id).await?.map_or(0, |export| export.bytes);
    let most = app.config.max_bulk;
    if usize::try_from(taken).is_ok_and(|taken| taken <= most) {
        return Ok(());
    }
    let text = format!(
        "the files would take more than {most} bytes (the setting max-bulk); narrow it with _type, _typeFilter or _since"
    );
    Err(Error::unprocessable(Issue::error(IssueCode::TooCostly, text)))
}

/// Makes sure that the job is this worker's until the transaction ends.
async fn hold(tx: &mut store::Tx, job: &Job) -> Result<(), Error> {
    if jobs::hold(tx, job).await? {
        return Ok(());
    }
    Err(Error::gone("the export was cancelled, or taken by another worker"))
}

/// <https://hl7.org/fhir/uv/bulkdata/STU2/export.html#response---output-manifest>
async fn manifest(run: &Run<'_>) -> Result<Json, Error> {
    let place = asking::place(run.app, &run.job.id);
    let files = bulk::files(&run.app.store, &run.job.id).await?;
    let listed = |kind: &str| -> Vec<Json> {
        let of_kind = files.iter().filter(|file| file.kind == kind);
        of_kind
            .map(|file| {
                let url = format!("{place}/{}", file.name);
                object! { "type": file.resource_type.as_str(), "url": url, "count": file.resources }
            })
            .collect()
    };
    Ok(object! {
        "transactionTime": format_instant(run.at),
        "request": run.asked.url.as_str(),
        "requiresAccessToken": true,
        "output": listed(files::OUTPUT),
        "deleted": listed(files::DELETED),
        "error": listed(files::ERROR),
    })
}

impl Place {
    fn to_json(&self) -> Json {
        let mut kept = Object::new();
        kept.insert("work", i64::try_from(self.work).unwrap_or(i64::MAX));
        if let Some(after) = &self.after {
            kept.insert("after", after.as_str());
        }
        kept.insert("reach", self.reach.as_str());
        Json::Object(kept)
    }

    fn read(text: &str) -> Result<Self, Error> {
        let kept = Json::parse(text.as_bytes()).map_err(Error::internal)?;
        let work = kept.get("work").and_then(Json::as_number).and_then(|number| number.parse().ok());
        let work = work.ok_or_else(|| Error::internal("the place of an export has no work"))?;
        let reach = kept.str("reach").unwrap_or_default().to_owned();
        Ok(Place { work, after: kept.str("after").map(str::to_owned), reach })
    }
}

/// Removes what is left of exports that were cancelled or have expired, in small steps.
pub async fn sweep(app: &App) {
    loop {
        let swept = match bulk::is_left(&app.store).await {
            Ok(true) => app.store.write(|tx| Box::pin(bulk::sweep(tx))).await.map(|()| true),
            other => other,
        };
        match swept {
            Ok(true) => {}
            Ok(false) => tokio::time::sleep(POLL).await,
            Err(error) => {
                tracing::error!(%error, "what is left of exports cannot be removed; trying again");
                tokio::time::sleep(POLL).await;
            }
        }
    }
}

/// An OperationOutcome for the list of errors of a manifest.
fn warned(text: &str) -> Json {
    outcome(&[Issue::warning(IssueCode::NotSupported, text)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept() {
        for place in [Place::default(), Place { work: 7, after: Some("sealed".into()), reach: "b".into() }] {
            assert_eq!(Place::read(&place.to_json().to_string()).unwrap(), place);
        }
        assert!(Place::read("{}").is_err());
    }
}
