//! Ceilings on SQLite and actix-web: what the bare libraries cost for the same bytes. Nothing that does the work
//! can be cheaper, so the ratio to them says what the server itself adds.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use actix_web::{App, HttpResponse, HttpServer, web};
use rusqlite::Connection;

use super::data::Plan;
use super::load::{Driver, Measured, Request, request};
use super::server::{Server, free_address};
use super::table::Row;
use super::workload::Samples;
use super::{Failure, process};

pub(crate) const SAME_RESOURCE: &str = "ceiling: actix-web, same resource";
pub(crate) const SAME_PAGE: &str = "ceiling: actix-web, same page";
pub(crate) const ROW: &str = "ceiling: actix-web + SQLite primary key";
pub(crate) const PAGE: &str = "ceiling: actix-web + SQLite range scan, 50 rows";
pub(crate) const INSERT: &str = "ceiling: SQLite insert + 10 index rows, one a commit";
pub(crate) const INSERT_GROUPED: &str = "ceiling: SQLite insert + 10 index rows, as many a commit as connections";

const SCHEMA: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE resource (rid INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE entry (patient INTEGER, code INTEGER, moment INTEGER, rid INTEGER, PRIMARY KEY (patient, code, moment DESC, rid DESC)) STRICT, WITHOUT ROWID;
    CREATE TABLE written (rid INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE written_entry (param INTEGER, value INTEGER, rid INTEGER, PRIMARY KEY (param, value, rid)) STRICT, WITHOUT ROWID;";

const SELECT_ROW: &str = "SELECT body FROM resource WHERE rid = ?1";
const SELECT_PAGE: &str = "SELECT group_concat(body) FROM (SELECT body FROM entry JOIN resource USING (rid)
    WHERE patient = ?1 AND code = ?2 ORDER BY moment DESC, rid DESC LIMIT 50)";

/// Index rows of one insert.
const INDEX_ROWS: i64 = 10;

/// What the ceiling server serves.
#[derive(clap::Args)]
pub(crate) struct CeilingArguments {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    folder: PathBuf,
}

thread_local! {
    /// Each worker thread reads through a connection of its own.
    static CONNECTION: std::cell::OnceCell<Connection> = const { std::cell::OnceCell::new() };
}

/// Serves fixed bytes, rows and pages.
pub(crate) fn serve(arguments: &CeilingArguments) -> Result<(), Failure> {
    let resource = web::Bytes::from(std::fs::read(arguments.folder.join("resource"))?);
    let page = web::Bytes::from(std::fs::read(arguments.folder.join("page"))?);
    let database = web::Data::new(arguments.folder.join("ceiling.db"));
    let server = HttpServer::new(move || {
        let (resource, page) = (resource.clone(), page.clone());
        App::new()
            .app_data(database.clone())
            .route("/resource", web::get().to(move || std::future::ready(fhir_json(resource.clone()))))
            .route("/page", web::get().to(move || std::future::ready(fhir_json(page.clone()))))
            .route("/row/{rid}", web::get().to(row))
            .route("/rows/{patient}/{code}", web::get().to(rows))
    });
    actix_web::rt::System::new().block_on(server.bind(arguments.listen)?.run())?;
    Ok(())
}

/// Measures all ceilings on data of the plan's size.
pub(crate) fn measure(folder: &Path, plan: &Plan, driver: Driver, samples: &Samples) -> Result<Vec<Row>, Failure> {
    std::fs::write(folder.join("resource"), &samples.resource)?;
    std::fs::write(folder.join("page"), &samples.page)?;
    let mut connection = Connection::open(folder.join("ceiling.db"))?;
    fill(&mut connection, plan, &String::from_utf8_lossy(&samples.resource))?;
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["ceiling", "--listen", &address.to_string(), "--folder"]).arg(folder);
    let server = Server::start(&mut command, address, String::new())?;
    let observations = plan.observations();
    let row = |number: usize| request("GET", &format!("/row/{}", number.wrapping_mul(7919) % observations), "", "");
    let page = |number: usize| {
        let path = format!("/rows/{}/{}", number.wrapping_mul(31) % plan.patients(), number % 4);
        request("GET", &path, "", "")
    };
    let same = |path: &'static str| move |_: usize| request("GET", path, "", "");
    let (same_resource, same_page) = (same("/resource"), same("/page"));
    let workloads: [(&'static str, &Request<'_>); 4] =
        [(SAME_RESOURCE, &same_resource), (SAME_PAGE, &same_page), (ROW, &row), (PAGE, &page)];
    let mut table = Vec::new();
    for (name, make) in workloads {
        eprintln!("measuring: {name}");
        table.push(Row::new(name, driver.drive(server.address, server.process(), make)?));
    }
    let body = String::from_utf8_lossy(&samples.resource);
    for (name, group) in [(INSERT, 1), (INSERT_GROUPED, driver.connections)] {
        eprintln!("measuring: {name}");
        table.push(Row::new(name, insert(&mut connection, driver, &body, group)?));
    }
    Ok(table)
}

fn fhir_json(body: impl Into<web::Bytes>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/fhir+json").body(body.into())
}

async fn row(database: web::Data<PathBuf>, rid: web::Path<i64>) -> actix_web::Result<HttpResponse> {
    select(&database, SELECT_ROW, [*rid])
}

async fn rows(database: web::Data<PathBuf>, key: web::Path<(i64, i64)>) -> actix_web::Result<HttpResponse> {
    select(&database, SELECT_PAGE, <[i64; 2]>::from(*key))
}

fn select(database: &Path, sql: &str, parameters: impl rusqlite::Params) -> actix_web::Result<HttpResponse> {
    let body = CONNECTION.with(|cell| {
        if cell.get().is_none() {
            let _ = cell.set(Connection::open(database)?);
        }
        let connection = cell.get().expect("set in the line before");
        connection.prepare_cached(sql)?.query_row(parameters, |row| row.get::<_, String>(0))
    });
    body.map(fhir_json).map_err(actix_web::error::ErrorInternalServerError)
}

/// As many rows as the server has, each as long as one of its resources.
fn fill(connection: &mut Connection, plan: &Plan, body: &str) -> Result<(), Failure> {
    connection.execute_batch(SCHEMA)?;
    let transaction = connection.transaction()?;
    {
        let mut resource = transaction.prepare("INSERT INTO resource VALUES (?1, ?2)")?;
        let mut entry = transaction.prepare("INSERT INTO entry VALUES (?1, ?2, ?3, ?4)")?;
        for number in 0..plan.observations() {
            let (patient, turn) = (number % plan.patients(), number / plan.patients());
            resource.execute((number as i64, body))?;
            entry.execute((patient as i64, (turn % 4) as i64, turn as i64, number as i64))?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Durable inserts of `group` resources a commit on one connection, with index rows scattered as hashes are.
fn insert(connection: &mut Connection, driver: Driver, body: &str, group: usize) -> Result<Measured, Failure> {
    let before = process::cpu_micros(std::process::id())?;
    let started = Instant::now();
    let first: i64 = connection.query_row("SELECT coalesce(max(rid), 0) + 1 FROM written", [], |row| row.get(0))?;
    let mut rid = first;
    while started.elapsed() < driver.length {
        let transaction = connection.transaction()?;
        for _ in 0..group {
            transaction.prepare_cached("INSERT INTO written VALUES (?1, ?2)")?.execute((rid, body))?;
            let mut entry = transaction.prepare_cached("INSERT INTO written_entry VALUES (?1, ?2, ?3)")?;
            for param in 0..INDEX_ROWS {
                entry.execute((param, rid.wrapping_mul(0x09e3_779b_97f4_a7c1) ^ param, rid))?;
            }
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
