//! Ceilings of durable writes on SQLite: inserts of a text and ten index rows scattered as hashes are, alone and behind
//! actix-web with one writer that commits together what waits.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Instant;

use actix_web::{HttpResponse, web};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::load::{Driver, Measured};
use super::{Failure, process};

pub(crate) const INSERT: &str = "ceiling: SQLite insert + 10 index rows, one a commit";
pub(crate) const INSERT_GROUPED: &str = "ceiling: SQLite insert + 10 index rows, as many a commit as connections";
pub(crate) const INSERT_OVER_HTTP: &str =
    "ceiling: actix-web + SQLite insert + 10 index rows, as many a commit as wait";

/// Index rows of one insert.
const INDEX_ROWS: i64 = 10;

/// A text to write, and who waits for it to be durable.
type Wish = (String, oneshot::Sender<()>);

/// Sends texts to the writer.
pub(crate) type Writer = web::Data<mpsc::Sender<Wish>>;

/// Starts the writer's thread; it ends when nobody can send any more.
pub(crate) fn writer(database: PathBuf) -> Writer {
    let (sender, wishes) = mpsc::channel::<Wish>();
    std::thread::spawn(move || {
        if let Err(error) = write(&database, &wishes) {
            eprintln!("the writer of the ceiling ended: {error}");
        }
    });
    web::Data::new(sender)
}

/// Answers when the body is durable.
pub(crate) async fn post(writer: Writer, body: String) -> actix_web::Result<HttpResponse> {
    let (done, wait) = oneshot::channel();
    writer.send((body, done)).map_err(actix_web::error::ErrorInternalServerError)?;
    wait.await.map_err(actix_web::error::ErrorInternalServerError)?;
    Ok(HttpResponse::Created().finish())
}

/// Durable inserts of `group` resources a commit on one connection, without HTTP.
pub(crate) fn alone(
    connection: &mut Connection,
    driver: Driver,
    body: &str,
    group: usize,
) -> Result<Measured, Failure> {
    let before = process::cpu_micros(std::process::id())?;
    let started = Instant::now();
    let first = next(connection)?;
    let mut rid = first;
    while started.elapsed() < driver.length {
        let transaction = connection.transaction()?;
        for _ in 0..group {
            insert(&transaction, rid, body)?;
            rid += 1;
        }
        transaction.commit()?;
    }
    let count = (rid - first) as f64;
    let used = process::cpu_micros(std::process::id())? - before;
    Ok(Measured {
        rate: count / started.elapsed().as_secs_f64(),
        cpu_micros: Some(used as f64 / count),
        ..Measured::default()
    })
}

fn write(database: &std::path::Path, wishes: &mpsc::Receiver<Wish>) -> Result<(), Failure> {
    let mut connection = Connection::open(database)?;
    connection.pragma_update(None, "synchronous", "full")?;
    let mut rid = next(&connection)?;
    while let Ok(first) = wishes.recv() {
        let together: Vec<Wish> = std::iter::once(first).chain(wishes.try_iter()).collect();
        let transaction = connection.transaction()?;
        for (body, _) in &together {
            insert(&transaction, rid, body)?;
            rid += 1;
        }
        transaction.commit()?;
        for (_, done) in together {
            let _ = done.send(());
        }
    }
    Ok(())
}

fn next(connection: &Connection) -> Result<i64, Failure> {
    Ok(connection.query_row("SELECT coalesce(max(rid), 0) + 1 FROM written", [], |row| row.get(0))?)
}

fn insert(transaction: &rusqlite::Transaction<'_>, rid: i64, body: &str) -> Result<(), Failure> {
    transaction.prepare_cached("INSERT INTO written VALUES (?1, ?2)")?.execute((rid, body))?;
    let mut entry = transaction.prepare_cached("INSERT INTO written_entry VALUES (?1, ?2, ?3)")?;
    for param in 0..INDEX_ROWS {
        entry.execute((param, rid.wrapping_mul(0x09e3_779b_97f4_a7c1) ^ param, rid))?;
    }
    Ok(())
}
