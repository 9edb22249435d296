//! What is done with the audit trail every second: events are sealed soon after they are committed, requests by nobody
//! known are told of by their number, and the log is told every hour up to where the trail is sealed: what stands in a
//! log that is kept elsewhere, nobody can take back in the database. (CO-06; decision 16)

use std::time::Duration;

use store::Engine;

use crate::app::App;
use crate::background::Worker;

/// How often what waits is sealed.
const EVERY: Duration = Duration::from_secs(1);

/// After how many of these times the log is told: an hour.
const TOLD_EVERY: u32 = 3_600;

/// Starts sealing.
pub fn start(app: App) -> Worker {
    Worker::start(async move {
        let mut is_failing = false;
        for round in 0_u32.. {
            super::strangers::tell(&app, false).await;
            // SQLite seals what it writes; there, only what was written before there were seals can wait.
            let waits = round == 0 || app.store.engine() == Engine::Postgres;
            match if waits { app.store.seal_events().await } else { Ok(0) } {
                Ok(_) => is_failing = false,
                Err(error) if is_failing => tracing::debug!(%error, "cannot seal the audit trail yet"),
                Err(error) => {
                    is_failing = true;
                    tracing::error!(%error, "cannot seal the audit trail: it is tried again every second");
                }
            }
            if round.is_multiple_of(TOLD_EVERY) {
                tell(&app).await;
            }
            tokio::time::sleep(EVERY).await;
        }
    })
}

/// The end of a chain in one line, as `tributary audit verify --noted` takes it.
pub fn noted(anchor: &store::audit::Anchor) -> String {
    format!("{}:{}:{}", anchor.chain, anchor.number, fhir::hexadecimal(&anchor.hash))
}

async fn tell(app: &App) {
    match app.store.trail_heads().await {
        Ok(heads) => heads.iter().for_each(|head| tracing::info!(seal = noted(head), "the audit trail is sealed")),
        Err(error) => tracing::warn!(%error, "cannot read the seals of the audit trail"),
    }
}
