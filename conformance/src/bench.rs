//! `conformance bench`: loads generated data into the server's binary, drives it, and prints what it costs next to
//! what the bare libraries cost in the same run. Digits differ between machines; the ratios are what is claimed.

#![expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod access;
mod ceiling;
mod ceiling_insert;
mod ceiling_postgres;
mod data;
mod ingest;
mod load;
mod peer;
mod process;
mod server;
mod statements;
mod synthea;
mod table;
mod workload;

pub(crate) use ceiling::{CeilingArguments, serve as serve_ceiling};
pub(crate) use ingest::{Arguments as IngestArguments, run as ingest};

/// Whatever stops a benchmark stops it with a sentence.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// What to measure, and on what.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Database to measure on: an empty one, which is filled and left behind. Default: a temporary SQLite file.
    #[arg(long)]
    database: Option<String>,
    /// How many Observations to load; several numbers give several tables and the growth between them.
    #[arg(long, value_delimiter = ',', default_value = "10000")]
    observations: Vec<usize>,
    /// Connections that the driver keeps open.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Seconds that each row of the table is measured for.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// The executable under test; default: built as this program was.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Folder for the temporary database; a durable write is only measured on a real disk.
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    /// Only rows whose names begin so, and the ceilings.
    #[arg(long)]
    only: Option<String>,
    #[command(flatten)]
    peer: peer::Peer,
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => server::build()?,
    };
    if arguments.database.is_some() && arguments.observations.len() > 1 {
        return Err(
            "one --database takes one --observations: the second table would measure the first one's data too".into()
        );
    }
    let mut text = String::new();
    let mut tables: Vec<(usize, Vec<table::Row>)> = Vec::new();
    for &observations in &arguments.observations {
        let rows = measure(arguments, &binary, observations)?;
        let engine = if arguments.database.is_some() { "given database" } else { "SQLite" };
        writeln!(text, "\n{observations} Observations, {engine}, {} connections:\n", arguments.connections)?;
        text.push_str(&table::render(&rows));
        tables.push((observations, rows));
    }
    if let [(small, before), .., (large, after)] = tables.as_slice() {
        writeln!(text, "\nCPU of a request with {large} Observations, as multiple of that with {small}:\n")?;
        text.push_str(&table::growth(before, after));
    }
    print(&text);
    Ok(())
}

/// One table: load, drive the server, drive the ceilings.
fn measure(arguments: &Arguments, binary: &Path, observations: usize) -> Result<Vec<table::Row>, Failure> {
    let folder = arguments.folder.join(format!("{observations}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let database =
        arguments.database.clone().unwrap_or_else(|| format!("sqlite:{}", folder.join("bench.db").display()));
    let plan = data::Plan::new(observations);
    let file = folder.join("resources.ndjson");
    plan.write(&file)?;
    let mut server = server::Server::load_and_start(binary, &folder, &database, &file)?;
    std::fs::remove_file(&file)?;
    let mut driver = load::Driver::new(arguments.connections, Duration::from_secs(arguments.seconds));
    if database.starts_with("postgres") {
        driver.engine = ceiling_postgres::engine(&database);
    }
    let mut rows = workload::run(&server, &plan, driver, arguments.only.as_deref())?;
    let samples = workload::samples(&server, &plan)?;
    server.stop();
    rows.extend(ceiling::measure(&folder, &plan, driver, &samples)?);
    if database.starts_with("postgres") {
        rows.extend(ceiling_postgres::measure(&folder, &database, &plan, driver)?);
    }
    rows.extend(arguments.peer.measure(&plan, driver)?);
    table::relate(&mut rows);
    if arguments.database.is_none() {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(rows)
}

fn print(text: &str) {
    println!("{text}");
}
