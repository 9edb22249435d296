//! Where events are handed in that no change comes with, on PostgreSQL: what waits is committed together. (CO-05)
//!
//! An event that is answered outlives this process: PostgreSQL has it in its memory (`synchronous_commit=off`). It does
//! not wait for the disk, so a machine that loses its power may lose the reads of the last moments, never a write's
//! event, which is on disk with the write.

use std::time::Duration;

use sea_orm::{DbBackend, StatementBuilder};
use tokio::sync::{mpsc, oneshot};

use super::{Event, rows};
use crate::error::StoreError;
use crate::postgres::lines::{Line, Lines};
use crate::{postgres, together};

/// Most events of one commit.
const BATCH: usize = 256;

/// How long an event waits for the database before the access is refused.
const PATIENCE: Duration = Duration::from_secs(2);

/// An event whose access waits for it.
struct Waiting {
    event: Event,
    answer: oneshot::Sender<Result<(), StoreError>>,
}

/// Where events are handed in.
#[derive(Debug)]
pub(crate) struct Log {
    events: mpsc::UnboundedSender<Waiting>,
}

impl Log {
    /// Starts the task that writes to a PostgreSQL; it connects with the first event and ends when the last handle is
    /// dropped.
    pub(crate) fn start(address: &str) -> Result<Self, StoreError> {
        let (events, queue) = mpsc::unbounded_channel();
        tokio::spawn(write_remotely(postgres::relaxed_line(address, PATIENCE)?, queue));
        Ok(Log { events })
    }

    pub(crate) async fn write(&self, event: Event) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.events.send(Waiting { event, answer }).map_err(|_closed| StoreError::Stopped)?;
        answered.await.unwrap_or_else(|_stopped| Err(StoreError::Stopped))
    }
}

async fn write_remotely(lines: Lines, mut queue: mpsc::UnboundedReceiver<Waiting>) {
    let mut line = None;
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let work = write_remote_batch(&mut line, &lines, &batch);
        let written = match tokio::time::timeout(PATIENCE, work).await {
            Ok(written) => written,
            Err(elapsed) => {
                take_all(&mut queue, &mut batch);
                Err(StoreError::Audit(format!("the database does not answer: {elapsed}")))
            }
        };
        if written.is_err()
            && let Some(line) = line.take()
        {
            line.abandon(); // it may never answer again
        }
        answer_all(&mut batch, &written);
    }
}

/// Takes what has waited meanwhile too, so that it does not wait as long again, batch after batch.
fn take_all(queue: &mut mpsc::UnboundedReceiver<Waiting>, batch: &mut Vec<Waiting>) {
    while let Ok(next) = queue.try_recv() {
        batch.push(next);
    }
}

/// Tells all who wait what became of their events.
fn answer_all(batch: &mut Vec<Waiting>, written: &Result<(), StoreError>) {
    if let Err(error) = written {
        tracing::error!(%error, "cannot write the audit trail: accesses are refused");
    }
    for Waiting { answer, .. } in batch.drain(..) {
        // Who asked may be gone.
        let _gone = answer.send(written.as_ref().map_err(|error| StoreError::Audit(error.to_string())).copied());
    }
}

async fn write_remote_batch(standing: &mut Option<Line>, lines: &Lines, batch: &[Waiting]) -> Result<(), StoreError> {
    let events: Vec<Event> = batch.iter().map(|waiting| waiting.event.clone()).collect();
    for statement in together::statements(rows(&events).into()) {
        let statement = StatementBuilder::build(&statement, &DbBackend::Postgres);
        if let Some(line) = standing {
            let written = line.execute(statement.clone()).await;
            if !line.is_lost() {
                written?;
                continue;
            }
            *standing = None; // there may be one only
        }
        // What had been written before the connection was lost is refused, as no event is there twice.
        standing.insert(lines.take().await?).execute(statement).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn re_06_a_database_that_does_not_answer_refuses_in_time() {
        // It accepts connections and says nothing.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let remote = Log::start(&format!("postgres://nobody@127.0.0.1:{port}/none")).expect("an address");
        let begun = Instant::now();
        let refused = futures::future::join_all((0..3 * BATCH).map(|_| remote.write(Event::default()))).await;
        assert!(refused.iter().all(Result::is_err));
        assert!(begun.elapsed() < 2 * PATIENCE, "{:?}", begun.elapsed());
    }
}
