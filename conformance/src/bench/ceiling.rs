//! Ceilings on SQLite and actix-web: what the bare libraries cost for the same bytes. Nothing that does the work
//! can be cheaper, so the ratio to them says what the server itself adds.

use actix_web::{App, HttpResponse, HttpServer, web};
use rusqlite::Connection;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Failure;
use super::ceiling_insert::{self, INSERT, INSERT_GROUPED, INSERT_OVER_HTTP};
use super::data::Plan;
use super::load::{Driver, Request, request};
use super::server::{Server, free_address};
use super::statements::{self, STATEMENTS};
use super::table::Row;
use super::workload::Samples;

pub(crate) const SAME_RESOURCE: &str = "ceiling: actix-web, same resource";
pub(crate) const SAME_PAGE: &str = "ceiling: actix-web, same page";

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
    let file = arguments.folder.join("ceiling.db");
    let writer = ceiling_insert::writer(file.clone());
    let database = web::Data::new(file);
    let server = HttpServer::new(move || {
        let (resource, page) = (resource.clone(), page.clone());
        App::new()
            .app_data(database.clone())
            .app_data(writer.clone())
            .route("/insert", web::post().to(ceiling_insert::post))
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
    let body = String::from_utf8_lossy(&samples.resource).into_owned();
    let mut workloads: Vec<(String, Box<Request<'_>>)> =
        vec![(SAME_RESOURCE.to_owned(), Box::new(same_resource)), (SAME_PAGE.to_owned(), Box::new(same_page))];
    workloads.push((INSERT_OVER_HTTP.to_owned(), Box::new(|_| request("POST", "/insert", "", &body))));
    for (index, statement) in STATEMENTS.iter().enumerate() {
        let ask = move |number: usize| {
            let [a, b] = statement.values(number, plan);
            request("GET", &format!("/sql/{index}/{a}/{b}"), "", "")
        };
        workloads.push((statement.on_sqlite(), Box::new(ask)));
    }
    let mut table = Vec::new();
    for (name, make) in &workloads {
        eprintln!("measuring: {name}");
        table.push(Row::new(name, driver.drive(server.address, server.process(), make)?));
    }
    drop(server);
    for (name, group) in [(INSERT, 1), (INSERT_GROUPED, driver.connections)] {
        eprintln!("measuring: {name}");
        table.push(Row::new(name, ceiling_insert::alone(&mut connection, driver, &body, group)?));
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
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(parameters)?;
        let mut bodies = Vec::new();
        while let Some(row) = rows.next()? {
            bodies.extend_from_slice(row.get_ref(0)?.as_bytes()?);
        }
        Ok::<_, rusqlite::Error>(bodies)
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
