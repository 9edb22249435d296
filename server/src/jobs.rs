//! Work that goes on after the request that asked for it was answered: rows with a lease, carried out a few at a time.
//!
//! To add a kind of job: write a file in `jobs/` with a [`Kind`], list it in [`KINDS`], and [`add`] jobs of it. Each kind
//! has workers of its own, so that what takes hours keeps nothing short waiting.
//!
//! | when | what becomes of a job |
//! |---|---|
//! | its worker is alive | the lease is extended again and again, until the answer is kept |
//! | its worker was killed, doing it twice does no harm | the lease runs out, it is begun anew, [`ATTEMPTS`] times at most |
//! | its worker was killed, it writes | it is answered as failed: whether it was applied is not known, so it is not repeated |
//! | it is removed | its worker stops when it next extends the lease |

use fhir::outcome::{Issue, IssueCode};
use futures::future::BoxFuture;
use smart::token::Hash;
use store::StoreError;
use store::jobs::{self, Job, NewJob};
use tokio::task::JoinSet;

use crate::app::App;
use crate::background::{self, LEASE_MICROS, POLL, Worker};
use crate::caller::{self, Caller};
use crate::config::Config;
use crate::error::{self, Error};
use crate::rest::response::Answer;

pub mod export;
pub mod interaction;

/// All kinds of jobs.
pub const KINDS: &[Kind] = &[interaction::KIND, export::KIND];

/// A kind of job.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its name in the database.
    pub name: &'static str,
    /// Jobs of the kind that one process works on at the same time.
    pub at_once: usize,
    /// How often one is begun before it is given up.
    pub attempts: i64,
    /// Carries a job out; the answer is JSON, kept as it is.
    pub run: for<'a> fn(&'a App, &'a Job) -> BoxFuture<'a, Result<String, Error>>,
    /// The answer of one that failed.
    pub failed: fn(&Error) -> String,
    /// Seconds that an answer is kept.
    pub keep: fn(&Config) -> u32,
}

/// How often a job is begun before it is given up, unless it got somewhere each time.
pub const ATTEMPTS: i64 = 3;

/// How often keeping an answer is tried.
const SETTLINGS: u32 = 5;

/// Starts the worker of this process.
pub fn start(app: App) -> Worker {
    Worker::start(async move {
        background::release_leases(&app, "jobs", |tx| Box::pin(jobs::release_leases(tx))).await;
        let kinds = futures::future::join_all(KINDS.iter().map(|kind| run(&app, kind)));
        futures::future::join(kinds, export::sweep(&app)).await;
    })
}

/// Puts a job into the queue. 429 where its party has `most` of the kind, done ones that are still kept among them.
pub async fn add(app: &App, job: NewJob, most: i64) -> Result<(), Error> {
    let added = app
        .store
        .write(move |tx| {
            let job = job.clone();
            Box::pin(async move { jobs::insert(tx, &job, most).await })
        })
        .await?;
    if !added {
        let text =
            format!("{most} asynchronous requests are open or kept; DELETE the status addresses that are not needed");
        return Err(Error::too_many_requests(text).with_header("Retry-After", "60"));
    }
    app.jobs_changed.notify_waiters();
    Ok(())
}

/// The answer of a job that failed: a batch-response with the outcome, as a request that fails has it.
pub fn failed(error: &Error) -> String {
    interaction::kept_of_nobody(&response(&Answer::from(error)))
}

/// A batch-response with one entry. <https://hl7.org/fhir/R5/async-bundle.html>
pub fn response(answer: &Answer) -> String {
    let mut out = String::from("{\"resourceType\":\"Bundle\",\"type\":\"batch-response\",\"entry\":[");
    answer.write_entry(&mut out);
    out.push_str("]}");
    out
}

/// Who asked for a job, with the rights that there are now: that the token has expired since does not count, what was revoked
/// or narrowed does. Whoever reads the answer has a token that lives, so this is not for them to mend: 403.
async fn caller(app: &App, job: &Job) -> Result<Caller, Error> {
    let token = Hash::from_bytes(&job.token).ok_or_else(|| Error::internal("the job has no token"))?;
    caller::of_hash(app, token, job.created_at).await.map_err(|error| match error.kind() {
        error::Kind::Unauthorized => Error::forbidden(
            "it was not carried out: the access token that it was asked for with was revoked, or its client or person \
             may do nothing any more; ask again",
        ),
        _ => error,
    })
}

async fn run(app: &App, kind: &'static Kind) {
    let mut running = JoinSet::new();
    loop {
        let rung = app.jobs_changed.notified();
        tokio::pin!(rung);
        rung.as_mut().enable(); // a job that comes while the queue is looked at is not slept through
        match take(app, kind, kind.at_once.saturating_sub(running.len())).await {
            Ok(taken) => {
                for job in taken {
                    let app = app.clone();
                    running.spawn(async move { attend(&app, kind, &job).await });
                }
            }
            Err(error) => tracing::error!(%error, "the jobs cannot be looked at; trying again"),
        }
        tokio::select! {
            () = rung => {}
            Some(_) = running.join_next() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Forgets old jobs, and takes due ones.
async fn take(app: &App, kind: &'static Kind, free: usize) -> Result<Vec<Job>, StoreError> {
    let now = app.clock.now();
    if !jobs::is_due(&app.store, kind.name, now).await? {
        return Ok(Vec::new());
    }
    app.store
        .write(move |tx| {
            Box::pin(async move {
                jobs::remove_expired(tx, now).await?;
                if free == 0 {
                    return Ok(Vec::new());
                }
                jobs::lease(tx, kind.name, (now, now + LEASE_MICROS), free as u64).await
            })
        })
        .await
}

/// Carries a job out and keeps its answer, unless it is removed meanwhile.
async fn attend(app: &App, kind: &Kind, job: &Job) {
    let begun = app.clock.now();
    let extend = || {
        let now = app.clock.now();
        extend(app, job, format!("running for {} s", (now - begun) / 1_000_000), now + LEASE_MICROS)
    };
    let Some(answer) = background::while_held("a job", carry_out(app, kind, job), extend).await else {
        tracing::info!(job = job.kind, "stopped: the job was cancelled or taken by another worker");
        return;
    };
    settle(app, kind, job, &answer).await;
}

async fn carry_out(app: &App, kind: &Kind, job: &Job) -> String {
    if job.attempts > 1 && !job.repeatable {
        let text = "the server was stopped while it carried this out; whether it was applied is not known, and it is \
                    not repeated: look before sending it again";
        return (kind.failed)(&Error::unavailable(Issue::error(IssueCode::Incomplete, text)));
    }
    if job.attempts > kind.attempts {
        return (kind.failed)(&given_up());
    }
    (kind.run)(app, job).await.unwrap_or_else(|error| (kind.failed)(&error))
}

/// What is said of a job that was begun too often.
pub fn given_up() -> Error {
    Error::unavailable(format!("given up: the server was stopped {ATTEMPTS} times while it carried this out"))
}

async fn extend(app: &App, job: &Job, progress: String, until: i64) -> Result<bool, StoreError> {
    let job = job.clone();
    app.store
        .write(move |tx| {
            let (job, progress) = (job.clone(), progress.clone());
            Box::pin(async move { jobs::extend(tx, &job, &progress, until).await })
        })
        .await
}

async fn settle(app: &App, kind: &Kind, job: &Job, answer: &str) {
    for attempt in 1..=SETTLINGS {
        let (job, answer, now) = (job.clone(), answer.to_owned(), app.clock.now());
        let expires_at = now + i64::from((kind.keep)(&app.config)) * 1_000_000;
        let settled = app
            .store
            .write(move |tx| {
                let (job, answer) = (job.clone(), answer.clone());
                Box::pin(async move { jobs::settle(tx, &job, &answer, now, expires_at).await })
            })
            .await;
        match settled {
            Ok(_) => return,
            Err(error) => tracing::error!(%error, attempt, "the answer of a job cannot be kept"),
        }
        tokio::time::sleep(POLL).await;
    }
}
