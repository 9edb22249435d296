//! Marks sessions that are about to expire, and those that have: each with a new version of its
//! CoverageEligibilityRequest, which is an event in the feed, in its history and in the audit trail.
//!
//! ```text
//! PENDING, ACTIVE ── 22 hours ──► told: extension session-expires ── 24 hours ──► EXPIRED, status cancelled
//! ```
//!
//! The instants are those of the connection's settings `session_seconds` and `expiring_seconds`. The payer is not asked:
//! a session that is merged or closed there later says so with the next answer about it.

use std::sync::Arc;

use fhir::date::format_instant;
use fhir::json::{Json, Object};
use search::parse::literal;
use store::insurance_sessions::{self, Session};

use super::account::{self, Times};
use super::gather::with;
use super::overview;
use crate::app::App;
use crate::background::POLL;
use crate::caller::Caller;
use crate::error::{Error, Kind};
use crate::rest::bundle::{self, Also};
use crate::rest::response::etag;

/// Sessions that are marked at once.
const BATCH: u64 = 50;

/// What becomes of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Expiring,
    Expired,
}

/// Marks sessions for as long as the server runs.
pub(super) async fn run(app: &App) {
    loop {
        for payer in adapters::payer::PAYERS {
            if let Err(error) = of_payer(app, payer.vendor).await {
                tracing::error!(%error, payer = payer.vendor, "sessions cannot be looked after; trying again");
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn of_payer(app: &App, vendor: &str) -> Result<(), Error> {
    if !insurance_sessions::any_used(&app.store, vendor).await? {
        return Ok(());
    }
    let Some(times) = account::times(app, vendor).await? else { return Ok(()) };
    let now = app.clock.now();
    let over = insurance_sessions::used(&app.store, vendor, now - times.open, false, BATCH).await?;
    for session in &over {
        mark(app, session, Mark::Expired, &times).await?;
    }
    let soon = insurance_sessions::used(&app.store, vendor, now - times.open + times.soon, true, BATCH).await?;
    for session in soon.iter().filter(|it| !over.iter().any(|other| other.session == it.session)) {
        mark(app, session, Mark::Expiring, &times).await?;
    }
    Ok(())
}

async fn mark(app: &App, session: &Session, mark: Mark, times: &Times) -> Result<(), Error> {
    let now = app.clock.now();
    let entries: Vec<Json> = match request(app, session).await? {
        Some((request, version)) => {
            let url = format!("CoverageEligibilityRequest/{}", request.str("id").unwrap_or_default());
            let resource = marked(app, &request, session, mark, times);
            let how = fhir::object! { "method": "PUT", "url": url, "ifMatch": etag(version) };
            vec![fhir::object! { "resource": resource, "request": how }]
        }
        None => Vec::new(), // somebody deleted it: the session ends all the same
    };
    let mut transaction = Object::new();
    transaction.insert("resourceType", "Bundle");
    transaction.insert("type", "transaction");
    if !entries.is_empty() {
        transaction.insert("entry", entries);
    }
    let row = Arc::new(session.clone());
    let also: Also = Arc::new(move |tx| {
        let row = row.clone();
        Box::pin(async move {
            let is_used = match mark {
                Mark::Expired => insurance_sessions::expire(tx, &row).await?,
                Mark::Expiring => insurance_sessions::tell(tx, &row, now).await?,
            };
            if is_used { Ok(()) } else { Err(Error::conflict("the session was used or marked meanwhile")) }
        })
    });
    match bundle::execute_with(app, &Caller::server("insurance"), transaction.into(), also).await {
        // Another server was faster, or the payer said something new: it is looked at again.
        Err(error) if matches!(error.kind(), Kind::Conflict | Kind::PreconditionFailed) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => {
            tracing::info!(session = session.session, expired = mark == Mark::Expired, "a session was marked");
            Ok(())
        }
    }
}

/// The request of a session, and its version.
async fn request(app: &App, session: &Session) -> Result<Option<(Json, i64)>, Error> {
    let system = format!("{}/{}/session", app.config.adapter_namespace, session.payer);
    let identifier = format!("{system}|{}", literal(&session.session));
    let caller = Caller::server("insurance");
    let found = overview::matches(app, &caller, "CoverageEligibilityRequest", "identifier", &[identifier]).await?;
    let Some(stored) = found.first() else { return Ok(None) };
    Ok(Some((Json::parse(stored.body.as_bytes()).map_err(Error::internal)?, stored.version)))
}

fn marked(app: &App, request: &Json, session: &Session, mark: Mark, times: &Times) -> Json {
    let url = |name: &str| format!("{}/{}/StructureDefinition/{name}", app.config.adapter_namespace, session.payer);
    let said = match mark {
        Mark::Expired => fhir::object! { "url": url("session-status"), "valueCode": "EXPIRED" },
        Mark::Expiring => {
            let expires = format_instant(session.seen_at + times.open);
            fhir::object! { "url": url("session-expires"), "valueInstant": expires }
        }
    };
    let other = |it: &&Json| it.str("url") != said.str("url");
    // The status stands first, as the payer's answers have it.
    let mut extensions: Vec<Json> = request.list("extension").iter().filter(other).cloned().collect();
    extensions.insert(if mark == Mark::Expired { 0 } else { extensions.len() }, said);
    let request = with(request, "extension", extensions);
    if mark == Mark::Expired { with(&request, "status", "cancelled") } else { request }
}
