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
use super::statements::{self, STATEMENTS};
use super::table::Row;
use super::workload::Samples;
use super::{Failure, process};

pub(crate) const SAME_RESOURCE: &str = "ceiling: actix-web, same resource";
pub(crate) const SAME_PAGE: &str = "ceiling: actix-web, same page";
pub(crate) const INSERT: &str = "ceiling: SQLite insert + 10 index rows, one a commit";
pub(crate) const INSERT_GROUPED: &str = "ceiling: SQLite insert + 10 index rows, as many a commit as connections";

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
            .route("/sql/{statement}/{a}/{b}", web::get().to(run))
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
    let same = |path: &'static str| move |_: usize| request("GET", path, "", "");
    let (same_resource, same_page) = (same("/resource"), same("/page"));
    let mut workloads: Vec<(&'static str, Box<Request<'_>>)> =
        vec![(SAME_RESOURCE, Box::new(same_resource)), (SAME_PAGE, Box::new(same_page))];
    for (index, statement) in STATEMENTS.iter().enumerate() {
        let ask = move |number: usize| {
            let (a, b) = (statement.values)(number, plan);
            request("GET", &format!("/sql/{index}/{a}/{b}"), "", "")
        };
        workloads.push((statement.name, Box::new(ask)));
    }
    let mut table = Vec::new();
    for (name, make) in &workloads {
        eprintln!("measuring: {name}");
        table.push(Row::new(*name, driver.drive(server.address, server.process(), make)?));
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

async fn run(database: web::Data<PathBuf>, path: web::Path<(usize, i64, i64)>) -> actix_web::Result<HttpResponse> {
    let (statement, a, b) = *path;
    let statement = STATEMENTS.get(statement).ok_or_else(|| actix_web::error::ErrorNotFound("no such statement"))?;
    select(&database, statement.sql, [a, b])
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
    connection.execute_batch(statements::SCHEMA)?;
    let transaction = connection.transaction()?;
    {
        let mut resource = transaction.prepare("INSERT INTO resource VALUES (?1, ?2)")?;
        let mut entry = transaction.prepare("INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5)")?;
        let mut patient = transaction.prepare("INSERT INTO patient VALUES (?1, ?2, ?3)")?;
        for number in 0..plan.patients() {
            patient.execute((number as i64, format!("family{}", number % 997), body))?;
        }
        for number in 0..plan.observations() {
            let (patient, turn) = (number % plan.patients(), number / plan.patients());
            resource.execute((number as i64, body))?;
            let value = 90 + number % 80;
            let code = turn % Plan::codes();
            entry.execute((patient as i64, code as i64, turn as i64, number as i64, value as i64))?;
        }
        drop((resource, entry, patient));
        transaction.execute_batch(statements::INDEXES)?;
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
