//! The one door through which anything is written.

use std::collections::HashMap;

use sea_orm::sea_query::{OnConflict, Order, Query};
use tokio::sync::oneshot;

use crate::sqlite::writer::{Job, Writer};
use crate::{Executor, Store, StoreError, Tx, Work};

/// How often PostgreSQL may ask to repeat a transaction before its error is passed on.
const ATTEMPTS: usize = 8;

impl Store {
    /// Runs `work` in a transaction and answers when its commit is on disk; an error undoes this work alone.
    ///
    /// `work` may run more than once: PostgreSQL asks for it when two transactions cross, SQLite when another work that
    /// shared its commit was undone. It runs to its end even when the caller goes away, so a broken connection leaves no
    /// half-done write. (IN-32)
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> Work<'t, T, E> + Send + Sync + 'static,
    {
        match self.executor() {
            Executor::Sqlite { writer, .. } => on_writer(writer, work).await,
            Executor::Postgres { .. } => {
                let store = self.clone();
                let task = tokio::spawn(async move { store.in_transaction(&work).await });
                task.await.unwrap_or_else(|_panicked| Err(StoreError::Stopped.into()))
            }
        }
    }

    async fn in_transaction<T, E, F>(&self, work: &F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: for<'t> Fn(&'t mut Tx) -> Work<'t, T, E>,
    {
        let Executor::Postgres { lines, .. } = self.executor() else { return Err(StoreError::Stopped.into()) };
        let mut attempt = 1;
        loop {
            let mut tx = Tx::postgres(lines.begin().await?, self.known().clone());
            let result = carry_out(&mut tx, work).await;
            let repeat = tx.crossed() && attempt < ATTEMPTS;
            match result {
                Ok(value) => match tx.commit().await {
                    Ok(()) => return Ok(value),
                    Err(error) if error.is_serialization_failure() && attempt < ATTEMPTS => {}
                    Err(error) => return Err(error.into()),
                },
                Err(error) => {
                    // Its locks are gone before it is repeated, or its caller answered.
                    tx.undo().await;
                    if !repeat {
                        return Err(error);
                    }
                }
            }
            attempt += 1;
        }
    }

    /// Makes the table of type numbers say what this program means by them.
    pub(crate) async fn number_types(&self) -> Result<(), StoreError> {
        let mut select = Query::select();
        select.columns(["type_id", "name"]).from("resource_type").order_by("type_id", Order::Asc);
        let mut standing = HashMap::new();
        for row in self.rows(&select).await? {
            standing.insert(row.i64(0)?, row.text(1)?);
        }
        let types = self.known().types.clone();
        if let Some((id, name)) = types.iter().find(|(id, name)| standing.get(id).is_some_and(|stands| stands != name))
        {
            return Err(StoreError::Schema(format!("type {id} is {}, not {name}", standing[&id])));
        }
        if standing.len() == types.iter().count() {
            return Ok(());
        }
        self.write(move |tx| {
            let mut insert = Query::insert();
            insert.into_table("resource_type").columns(["type_id", "name"]);
            for (id, name) in types.iter() {
                insert.values_panic([id.into(), name.into()]);
            }
            insert.on_conflict(OnConflict::new().do_nothing().to_owned());
            Box::pin(async move { tx.execute(&insert).await.map(drop) })
        })
        .await
    }
}

/// The work, and what it left to be written.
async fn carry_out<T, E, F>(tx: &mut Tx, work: &F) -> Result<T, E>
where
    E: From<StoreError>,
    F: for<'t> Fn(&'t mut Tx) -> Work<'t, T, E>,
{
    let value = work(tx).await?;
    tx.write_events().map_err(|error| tx.note(error))?;
    tx.flush().await.map_err(|error| tx.note(error))?;
    Ok(value)
}

async fn on_writer<T, E, F>(writer: &Writer, work: F) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
    F: for<'t> Fn(&'t mut Tx) -> Work<'t, T, E> + Send + 'static,
{
    let (send, receive) = oneshot::channel();
    writer.send(Box::new(Waiting { work, result: None, send }))?;
    receive.await.unwrap_or_else(|_stopped| Err(StoreError::Stopped.into()))
}

/// Work on SQLite whose caller waits for it.
struct Waiting<T, E, F> {
    work: F,
    result: Option<Result<T, E>>,
    send: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Job for Waiting<T, E, F>
where
    T: Send,
    E: From<StoreError> + Send,
    F: for<'t> Fn(&'t mut Tx) -> Work<'t, T, E> + Send,
{
    fn run(&mut self, tx: &mut Tx) -> bool {
        let result = futures::executor::block_on(carry_out(tx, &self.work));
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let result = self.result.unwrap_or_else(|| Err(StoreError::Stopped.into()));
        // The caller may be gone; what was committed stays committed.
        let _gone = self.send.send(committed.map_err(E::from).and(result));
    }
}
