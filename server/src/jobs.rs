//! Work that goes on after the request that asked for it was answered: rows with a lease, carried out a few at a time.
//!
//! To add a kind of job: write a file in `jobs/` with a [`Kind`], list it in [`KINDS`], and [`add`] jobs of it.
//!
//! | when | what becomes of a job |
//! |---|---|
//! | its worker is alive | the lease is extended again and again, until the answer is kept |
//! | its worker was killed, doing it twice does no harm | the lease runs out, it is begun anew, [`ATTEMPTS`] times at most |
//! | its worker was killed, it writes | it is answered as failed: whether it was applied is not known, so it is not repeated |
//! | it is removed | its worker stops when it next extends the lease |

use fhir::outcome::{Issue, IssueCode};
use futures::future::BoxFuture;
use store::StoreError;
use store::jobs::{self, Job, NewJob};
use tokio::task::JoinSet;

use crate::app::App;
use crate::background::{self, LEASE_MICROS, POLL, Worker};
use crate::error::Error;
use crate::rest::response::Answer;

pub mod interaction;

/// All kinds of jobs.
pub const KINDS: &[Kind] = &[interaction::KIND];

/// A kind of job.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its name in the database.
    pub name: &'static str,
    /// Carries a job out; the answer is JSON, kept as it is.
    pub run: for<'a> fn(&'a App, &'a Job) -> BoxFuture<'a, Result<String, Error>>,
}

/// Jobs that one process works on at the same time.
const AT_ONCE: usize = 2;

/// Jobs of one caller, done ones that are still kept among them.
const MOST_OF_A_CALLER: i64 = 32;

/// How often a job is begun before it is given up.
pub const ATTEMPTS: i64 = 3;

/// How often keeping an answer is tried.
const SETTLINGS: u32 = 5;

/// Starts the worker of this process.
pub fn start(app: App) -> Worker {
    Worker::start(async move { run(&app).await })
}

/// Puts a job into the queue. 429 where its owner has too many.
pub async fn add(app: &App, job: NewJob) -> Result<(), Error> {
    let added = app
        .store
        .write(move |tx| {
            let job = job.clone();
            Box::pin(async move { jobs::insert(tx, &job, MOST_OF_A_CALLER).await })
        })
        .await?;
    if !added {
        let text = format!(
            "{MOST_OF_A_CALLER} asynchronous requests are open or kept; DELETE the status addresses that are not needed"
        );
        return Err(Error::too_many_requests(text).with_header("Retry-After", "60"));
    }
    app.jobs_changed.notify_one();
    Ok(())
}

/// The answer of a job that failed: a batch-response with the outcome, as a request that fails has it.
pub fn failed(error: &Error) -> String {
    response(&Answer::from(error))
}

/// A batch-response with one entry. <https://hl7.org/fhir/R5/async-bundle.html>
pub fn response(answer: &Answer) -> String {
    let mut out = String::from("{\"resourceType\":\"Bundle\",\"type\":\"batch-response\",\"entry\":[");
    answer.write_entry(&mut out);
    out.push_str("]}");
    out
}

async fn run(app: &App) {
    background::release_leases(app, "jobs", |tx| Box::pin(jobs::release_leases(tx))).await;
    let mut running = JoinSet::new();
    loop {
        let rung = app.jobs_changed.notified();
        tokio::pin!(rung);
        rung.as_mut().enable(); // a job that comes while the queue is looked at is not slept through
        match take(app, AT_ONCE.saturating_sub(running.len())).await {
            Ok(taken) => {
                for job in taken {
                    let app = app.clone();
                    running.spawn(async move { attend(&app, &job).await });
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
async fn take(app: &App, free: usize) -> Result<Vec<Job>, StoreError> {
    let now = app.clock.now();
    if !jobs::is_due(&app.store, now).await? {
        return Ok(Vec::new());
    }
    app.store
        .write(move |tx| {
            Box::pin(async move {
                jobs::remove_expired(tx, now).await?;
                if free == 0 {
                    return Ok(Vec::new());
                }
                jobs::lease(tx, now, now + LEASE_MICROS, free as u64).await
            })
        })
        .await
}

/// Carries a job out and keeps its answer, unless it is removed meanwhile.
async fn attend(app: &App, job: &Job) {
    let begun = app.clock.now();
    let extend = || {
        let now = app.clock.now();
        extend(app, job, format!("running for {} s", (now - begun) / 1_000_000), now + LEASE_MICROS)
    };
    let Some(answer) = background::while_held("a job", carry_out(app, job), extend).await else {
        tracing::info!(job = job.kind, "stopped: the job was cancelled or taken by another worker");
        return;
    };
    settle(app, job, &answer).await;
}

async fn carry_out(app: &App, job: &Job) -> String {
    if job.attempts > 1 && !job.repeatable {
        let text = "the server was stopped while it carried this out; whether it was applied is not known, and it is \
                    not repeated: look before sending it again";
        return failed(&Error::unavailable(Issue::error(IssueCode::Incomplete, text)));
    }
    if job.attempts > ATTEMPTS {
        let text = format!("given up: the server was stopped {ATTEMPTS} times while it carried this out");
        return failed(&Error::unavailable(text));
    }
    let Some(kind) = KINDS.iter().find(|kind| kind.name == job.kind) else {
        return failed(&Error::internal(format!("no kind of job is named {}", job.kind)));
    };
    match (kind.run)(app, job).await {
        Ok(answer) => answer,
        Err(error) => failed(&error),
    }
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

async fn settle(app: &App, job: &Job, answer: &str) {
    for attempt in 1..=SETTLINGS {
        let (job, answer, now) = (job.clone(), answer.to_owned(), app.clock.now());
        let expires_at = now + i64::from(app.config.async_keep_seconds) * 1_000_000;
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
