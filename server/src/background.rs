//! Work that goes on beside requests, and the leases by which the servers of one database share it.
//!
//! A row that is worked on has a lease, which is extended as long as its worker lives. If the process is killed, the
//! lease runs out and another worker takes the row.

use std::future::Future;
use std::time::Duration;

use store::{Engine, StoreError, Tx, Work};
use tokio::task::JoinHandle;

use crate::app::App;

/// How often a queue is looked at without being told: for other processes' rows, and for leases that ran out.
pub const POLL: Duration = Duration::from_secs(1);

/// How long a row stays with a worker that gives no sign of life.
pub const LEASE_MICROS: i64 = 15 * 1_000_000;

/// How often a worker gives one.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// Running work; it stops when this is dropped.
#[derive(Debug)]
pub struct Worker(JoinHandle<()>);

impl Worker {
    /// Starts it.
    pub fn start(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Worker(tokio::spawn(work))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ends the leases of a process that was killed: on SQLite this process has the file to itself, so what is leased was
/// leased by one before it.
pub async fn release_leases<F>(app: &App, what: &str, release: F)
where
    F: for<'t> Fn(&'t mut Tx) -> Work<'t, u64, StoreError> + Send + Sync + 'static,
{
    if app.store.engine() != Engine::Sqlite {
        return;
    }
    if let Err(error) = app.store.write(release).await {
        tracing::error!(%error, "cannot release the leases of {what}");
    }
}

/// Works while `extend` extends the lease; nothing, and the work is given up, once the lease is somebody else's.
pub async fn while_held<T, E>(what: &str, work: impl Future<Output = T>, extend: impl Fn() -> E) -> Option<T>
where
    E: Future<Output = Result<bool, StoreError>>,
{
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
        match extend().await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => tracing::warn!(%error, "the lease of {what} cannot be extended now"),
        }
    }
}
