//! Where messages are kept: those that come while others are being kept share the next commit.
//!
//! On SQLite the store's one writer does that for all writes. On PostgreSQL each message would have a transaction of its
//! own, and its receipt three messages to the engine.

use std::sync::{Arc, Mutex, PoisonError};

use store::inbox::{self, Arrival, Receipt};
use store::{Store, StoreError};
use tokio::sync::{OwnedMutexGuard, oneshot};

use crate::app::App;

/// Messages of one commit at most.
const MOST: usize = 64;

/// Where messages wait.
#[derive(Debug, Default)]
pub struct Door {
    waiting: Mutex<Vec<Waiting>>,
    /// Whoever has it keeps what waits.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A message whose sender waits for the receipt.
#[derive(Debug)]
struct Waiting {
    arrival: Arc<Arrival>,
    answer: oneshot::Sender<Result<Receipt, StoreError>>,
}

/// Keeps a message; answered after the commit. What is under way goes on when the sender goes away.
pub async fn receive(app: &App, arrival: Arrival) -> Result<Receipt, StoreError> {
    let arrival = Arc::new(arrival);
    if app.config.sqlite_path().is_some() {
        return alone(&app.store, &arrival).await;
    }
    let (answer, mut receipt) = oneshot::channel();
    app.door.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Waiting { arrival, answer });
    let turn = tokio::select! {
        biased;
        answered = &mut receipt => return answered.unwrap_or(Err(StoreError::Stopped)),
        turn = app.door.turn.clone().lock_owned() => turn,
    };
    tokio::spawn(keep(app.store.clone(), app.door.clone(), turn));
    receipt.await.unwrap_or(Err(StoreError::Stopped))
}

/// Keeps all that waits, and what comes meanwhile.
async fn keep(store: Store, door: Arc<Door>, _turn: OwnedMutexGuard<()>) {
    loop {
        let some: Vec<Waiting> = {
            let mut waiting = door.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let count = waiting.len().min(MOST);
            waiting.drain(..count).collect()
        };
        if some.is_empty() {
            return;
        }
        let arrivals: Vec<Arc<Arrival>> = some.iter().map(|one| one.arrival.clone()).collect();
        let together = store.write(move |tx| {
            let arrivals = arrivals.clone();
            Box::pin(async move { inbox::receive_all(tx, &arrivals).await })
        });
        // What one does wrong is that one's error only.
        let mut receipts = together.await.unwrap_or_default().into_iter();
        for Waiting { arrival, answer } in some {
            let receipt = match receipts.next() {
                Some(receipt) => Ok(receipt),
                None => alone(&store, &arrival).await,
            };
            let _gone = answer.send(receipt);
        }
    }
}

async fn alone(store: &Store, arrival: &Arc<Arrival>) -> Result<Receipt, StoreError> {
    let arrival = arrival.clone();
    let write = store.write(move |tx| {
        let arrival = arrival.clone();
        Box::pin(async move { inbox::receive(tx, &arrival).await })
    });
    write.await
}
