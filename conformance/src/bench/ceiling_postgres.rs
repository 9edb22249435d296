//! Ceilings on PostgreSQL, measured by its own `pgbench`: prepared statements on as many connections.
//! <https://www.postgresql.org/docs/current/pgbench.html>

use std::path::{Path, PathBuf};
use std::process::Command;

use super::data::Plan;
use super::load::{Driver, Measured};
use super::statements::{STATEMENTS, Statement};
use super::table::Row;
use super::{Failure, process};

pub(crate) const INSERT: &str = "ceiling: PostgreSQL insert + 10 index rows";

/// Tables as long as the server's, in a schema of their own; they are dropped again.
const SCHEMA: &str = "DROP SCHEMA IF EXISTS ceiling CASCADE; CREATE SCHEMA ceiling;
    CREATE TABLE ceiling.resource (rid bigint PRIMARY KEY, body text NOT NULL);
    CREATE TABLE ceiling.patient (rid bigint PRIMARY KEY, family text COLLATE \"C\" NOT NULL, body text NOT NULL);
    CREATE TABLE ceiling.entry (patient bigint, code bigint, moment bigint, rid bigint, value bigint);
    CREATE TABLE ceiling.written (rid bigserial PRIMARY KEY, body text NOT NULL);
    CREATE TABLE ceiling.written_entry (param bigint, value bigint, rid bigint, PRIMARY KEY (param, value, rid));";

const INSERTS: &str = "\\set value random(0, 9000000000000000)
WITH new AS (INSERT INTO ceiling.written (body) VALUES (repeat('x', 900)) RETURNING rid) \
INSERT INTO ceiling.written_entry SELECT n, :value::bigint + n, rid FROM new, generate_series(1, 10) n;\n";

/// Measures all ceilings.
pub(crate) fn measure(folder: &Path, database: &str, plan: &Plan, driver: Driver) -> Result<Vec<Row>, Failure> {
    let (observations, patients, codes) = (plan.observations(), plan.patients(), Plan::codes());
    psql(database, SCHEMA)?;
    psql(
        database,
        &format!(
            "INSERT INTO ceiling.resource SELECT n, repeat('x', 900) FROM generate_series(0, {observations} - 1) n;
             INSERT INTO ceiling.patient SELECT n, 'family' || n % 997, repeat('x', 900) FROM generate_series(0, {patients} - 1) n;
             INSERT INTO ceiling.entry SELECT n % {patients}, n / {patients} % {codes}, n / {patients}, n, 90 + n % 80
                 FROM generate_series(0, {observations} - 1) n;
             CREATE INDEX ON ceiling.entry (patient, code, moment DESC, rid DESC);
             CREATE INDEX ON ceiling.entry (code, moment DESC, rid DESC); CREATE INDEX ON ceiling.patient (family);
             ANALYZE ceiling.resource, ceiling.patient, ceiling.entry;"
        ),
    )?;
    let scripts = STATEMENTS.iter().map(|statement| (statement.on_postgres(), select(statement, plan)));
    let mut rows = Vec::new();
    for (name, script) in scripts.chain([(INSERT.to_owned(), INSERTS.to_owned())]) {
        eprintln!("measuring: {name}");
        let file = folder.join("script.sql");
        std::fs::write(&file, script)?;
        rows.push(Row::new(name, pgbench(database, &file, driver)?));
    }
    psql(database, "DROP SCHEMA ceiling CASCADE")?;
    Ok(rows)
}

/// Process of the engine, where it runs on this machine and tells.
pub(crate) fn engine(database: &str) -> Option<u32> {
    let process = psql(database, "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)").ok()?;
    let process = process.trim().parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    name.starts_with("postgres").then_some(process)
}

/// The script of a statement: random numbers within its bounds, then the statement.
fn select(statement: &Statement, plan: &Plan) -> String {
    let [a, b] = (statement.bounds)(plan);
    let sql = statement.sql.replace('\n', " ").replace(":b", ":b::bigint").replace(":a", ":a::bigint");
    format!("\\set a random({}, {})\n\\set b random({}, {})\n{sql};\n", a.0, a.1, b.0, b.1)
}

/// Drops a database, if it is there, and makes it anew.
pub(crate) fn make_anew(database: &str) -> Result<(), Failure> {
    let (server, name) = database.rsplit_once('/').ok_or("a database has a name")?;
    let is_plain = |name: &str| name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
    if name.is_empty() || !is_plain(name) {
        return Err(format!("a database that is made anew has a name of letters, digits and _, not \"{name}\"").into());
    }
    let maintenance = format!("{server}/postgres");
    psql(&maintenance, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))?;
    psql(&maintenance, &format!("CREATE DATABASE {name}")).map(drop)
}

fn psql(database: &str, statements: &str) -> Result<String, Failure> {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statements, database]);
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs a script. Its CPU time is the engine's.
fn pgbench(database: &str, script: &Path, driver: Driver) -> Result<Measured, Failure> {
    let before = driver.engine.map(process::tree_cpu_micros).transpose()?;
    let mut command = Command::new(installed("pgbench")?);
    command.args(["--no-vacuum", "--protocol=prepared", "--jobs=1"]).env("PGOPTIONS", "-c search_path=ceiling");
    command.arg(format!("--client={}", driver.connections)).arg(format!("--time={}", driver.length.as_secs()));
    let output = command.arg("--file").arg(script).arg(database).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let rate = rate.and_then(|rest| rest.split_whitespace().next()).and_then(|rate| rate.parse::<f64>().ok());
    let rate = rate.ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let after = driver.engine.map(process::tree_cpu_micros).transpose()?;
    let requests = rate * driver.length.as_secs_f64();
    let cpu_micros = after.zip(before).map(|(after, before)| (after - before) as f64 / requests);
    Ok(Measured { rate, cpu_micros, ..Measured::default() })
}

/// A program of PostgreSQL: in the path, or where Debian keeps those that are not.
fn installed(program: &str) -> Result<PathBuf, Failure> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    folders.extend(std::fs::read_dir("/usr/lib/postgresql")?.flatten().map(|version| version.path().join("bin")));
    let found = folders.into_iter().map(|folder| folder.join(program)).find(|path| path.exists());
    found.ok_or_else(|| format!("{program} is not installed").into())
}
