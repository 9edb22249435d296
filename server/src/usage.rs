//! How much each app asks, what goes wrong for it, and when each grant was used last: counted in memory, written every
//! few seconds in one transaction, so that no read waits for it. What a killed process had not written is lost.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{HttpMessage as _, HttpRequest, web};
use store::StoreError;
use store::events;
use store::usage::{self as kept, Day, Failed};

use crate::app::App;
use crate::background::Worker;
use crate::error::Error;
use crate::portal::plot::day_of;
use crate::routes::path_of;

/// How often figures are written.
const EVERY: Duration = Duration::from_secs(3);

/// Errors of one app between two writes; of more only the number is kept.
const MOST_ERRORS: usize = 20;

/// Grants whose use is remembered between two writes.
const MOST_GRANTS: usize = 100_000;

/// What happened since the last write.
#[derive(Debug, Default)]
pub struct Usage(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    clients: HashMap<String, OfClient>,
    grants: HashMap<String, i64>,
}

#[derive(Debug, Default)]
struct OfClient {
    requests: i64,
    errors: i64,
    failed: Vec<Failed>,
}

/// On whose behalf a request is, kept with the request once its token was read.
#[derive(Clone, Debug)]
pub struct Whose {
    /// The app.
    pub client_id: String,
    /// What its token came of.
    pub grant_id: Option<String>,
}

impl Usage {
    /// Counts one answered request.
    pub fn note(&self, whose: Whose, now: i64, failed: Option<Failed>) {
        let mut counts = self.lock();
        let Whose { client_id, grant_id } = whose;
        let of_client = counts.clients.entry(client_id).or_default();
        of_client.requests += 1;
        if let Some(failed) = failed {
            of_client.errors += 1;
            if of_client.failed.len() < MOST_ERRORS {
                of_client.failed.push(failed);
            }
        }
        if let Some(grant_id) = grant_id {
            let has_room = counts.grants.len() < MOST_GRANTS;
            match counts.grants.entry(grant_id) {
                Entry::Occupied(mut seen) => drop(seen.insert(now)),
                Entry::Vacant(seen) if has_room => drop(seen.insert(now)),
                Entry::Vacant(_) => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts writing.
pub fn start(app: App) -> Worker {
    Worker::start(async move {
        let mut rounds: u32 = 0;
        loop {
            tokio::time::sleep(EVERY).await;
            if let Err(error) = flush(&app).await {
                tracing::error!(%error, "cannot write usage figures");
            }
            if rounds.is_multiple_of(1200) {
                sweep(&app).await;
            }
            rounds = rounds.wrapping_add(1);
        }
    })
}

/// Writes what was counted. What cannot be written is counted again.
pub async fn flush(app: &App) -> Result<(), StoreError> {
    let Counts { clients, grants } = std::mem::take(&mut *app.usage.lock());
    if clients.is_empty() {
        return Ok(());
    }
    let day = day_of(app.clock.now());
    let mut counts: Vec<(String, Day)> =
        clients.iter().map(|(id, of)| (id.clone(), Day { day, requests: of.requests, errors: of.errors })).collect();
    // one order everywhere, so that two processes do not wait for each other
    counts.sort_by(|one, other| one.0.cmp(&other.0));
    let mut failed: Vec<_> = clients.into_iter().filter(|(_, of)| !of.failed.is_empty()).collect();
    failed.sort_by(|one, other| one.0.cmp(&other.0));
    let failed: Vec<(String, Vec<Failed>)> = failed.into_iter().map(|(id, of)| (id, of.failed)).collect();
    let mut grants: Vec<(String, i64)> = grants.into_iter().collect();
    grants.sort();
    let rows = std::sync::Arc::new((counts, failed, grants));
    let written = rows.clone();
    let result = app.store.write(move |tx| {
        let rows = written.clone();
        Box::pin(async move {
            kept::add(tx, &rows.0).await?;
            for (client_id, failed) in &rows.1 {
                kept::add_errors(tx, client_id, failed).await?;
            }
            kept::note_grants(tx, &rows.2).await
        })
    });
    let result = result.await;
    if result.is_err() {
        let mut counted = app.usage.lock();
        for (client_id, day) in &rows.0 {
            let of_client = counted.clients.entry(client_id.clone()).or_default();
            of_client.requests += day.requests;
            of_client.errors += day.errors;
        }
    }
    result
}

/// Counts the requests of apps, as middleware.
pub async fn count(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let response = next.call(request).await?;
    let whose = response.request().extensions_mut().remove::<Whose>();
    if let (Some(whose), Some(app)) = (whose, response.request().app_data::<web::Data<App>>()) {
        let (now, status) = (app.clock.now(), response.status().as_u16());
        let failed = (status >= 400).then(|| Failed {
            at: now,
            request: described(response.request()),
            status: i64::from(status),
            problem: problem(&response),
        });
        app.usage.note(whose, now, failed);
    }
    Ok(response)
}

async fn sweep(app: &App) {
    let now = app.clock.now();
    let swept = app.store.write(move |tx| Box::pin(async move { events::sweep(tx, now).await })).await;
    if let Err(error) = swept {
        tracing::error!(%error, "cannot remove old events");
    }
    let kept = i64::from(app.config.audit_retention) * 24 * 3_600_000_000;
    match app.store.forget_events(now - kept).await {
        Ok(0) => {}
        Ok(removed) => tracing::info!(removed, "events of the audit trail were old enough to be removed"),
        Err(error) => tracing::error!(%error, "cannot remove old events of the audit trail"),
    }
}

/// Method and path with the names of what stands in it instead of ids: nothing here tells about a patient.
fn described(request: &HttpRequest) -> String {
    let segment = |segment: &str| match segment.trim_matches(['{', '}']).split(':').next().unwrap_or_default() {
        "type" if segment.starts_with('{') => known_type(request).unwrap_or("{type}").to_owned(),
        "operation" if segment.starts_with('{') => request.match_info().query("operation").chars().take(40).collect(),
        _ => segment.to_owned(),
    };
    let path: Vec<String> = path_of(request).split('/').map(segment).collect();
    format!("{} {}", request.method(), path.join("/"))
}

fn known_type(request: &HttpRequest) -> Option<&str> {
    let named = request.match_info().get("type")?;
    fhir::definitions::resource_types().iter().any(|known| known == named).then_some(named)
}

/// What kind of problem it was, from the table of errors: never what the answer itself says.
fn problem(response: &ServiceResponse<impl MessageBody>) -> String {
    let error = response.response().error().and_then(|error| error.as_error::<Error>());
    let told = error.and_then(|error| {
        let issue = error.issues().first()?;
        Some(error.kind().row().meaning_of(issue.code).to_owned())
    });
    told.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_errors_are_kept_but_all_are_counted() {
        let usage = Usage::default();
        let failed = Failed { at: 1, request: "GET /Patient".to_owned(), status: 400, problem: String::new() };
        for at in 0..30 {
            let whose = Whose { client_id: "a".to_owned(), grant_id: Some("g".to_owned()) };
            usage.note(whose, at, Some(failed.clone()));
        }
        let counts = usage.lock();
        let of_client = &counts.clients["a"];
        assert_eq!((of_client.requests, of_client.errors, of_client.failed.len()), (30, 30, MOST_ERRORS));
        assert_eq!(counts.grants["g"], 29);
    }
}
