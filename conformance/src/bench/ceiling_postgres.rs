//! Ceilings on PostgreSQL, measured by its own `pgbench`: prepared statements on as many connections.
//! <https://www.postgresql.org/docs/current/pgbench.html>

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Failure;
use super::data::Plan;
use super::load::{Driver, Measured};
use super::table::Row;

pub(crate) const ROW: &str = "ceiling: PostgreSQL primary key";
pub(crate) const PAGE: &str = "ceiling: PostgreSQL range scan, 50 rows";
pub(crate) const INSERT: &str = "ceiling: PostgreSQL insert + 10 index rows";

/// Tables as long as the server's, in a schema of their own; they are dropped again.
const SCHEMA: &str = "DROP SCHEMA IF EXISTS ceiling CASCADE; CREATE SCHEMA ceiling;
    CREATE TABLE ceiling.resource (rid bigint PRIMARY KEY, body text NOT NULL);
    CREATE TABLE ceiling.entry (patient bigint, code bigint, moment bigint, rid bigint);
    CREATE TABLE ceiling.written (rid bigserial PRIMARY KEY, body text NOT NULL);
    CREATE TABLE ceiling.written_entry (param bigint, value bigint, rid bigint, PRIMARY KEY (param, value, rid));";

/// Measures all ceilings.
pub(crate) fn measure(folder: &Path, database: &str, plan: &Plan, driver: Driver) -> Result<Vec<Row>, Failure> {
    let (observations, patients) = (plan.observations(), plan.patients());
    psql(database, SCHEMA)?;
    psql(
        database,
        &format!(
            "INSERT INTO ceiling.resource SELECT n, repeat('x', 900) FROM generate_series(0, {observations} - 1) n;
             INSERT INTO ceiling.entry SELECT n % {patients}, n / {patients} % 4, n / {patients}, n FROM generate_series(0, {observations} - 1) n;
             CREATE INDEX ON ceiling.entry (patient, code, moment DESC, rid DESC); ANALYZE ceiling.resource, ceiling.entry;"
        ),
    )?;
    let scripts = [
        (ROW, format!("\\set rid random(0, {observations} - 1)\nSELECT body FROM ceiling.resource WHERE rid = :rid;\n")),
        (
            PAGE,
            format!(
                "\\set patient random(0, {patients} - 1)\n\\set code random(0, 3)\nSELECT body FROM ceiling.entry JOIN ceiling.resource USING (rid) \
                 WHERE patient = :patient AND code = :code ORDER BY moment DESC, rid DESC LIMIT 50;\n"
            ),
        ),
        (
            INSERT,
            "\\set value random(0, 9000000000000000)\nWITH new AS (INSERT INTO ceiling.written (body) VALUES (repeat('x', 900)) RETURNING rid) \
             INSERT INTO ceiling.written_entry SELECT n, :value + n, rid FROM new, generate_series(1, 10) n;\n"
                .to_owned(),
        ),
    ];
    let mut rows = Vec::new();
    for (name, script) in scripts {
        eprintln!("measuring: {name}");
        let file = folder.join("script.sql");
        std::fs::write(&file, script)?;
        rows.push(Row::new(name, Measured { rate: pgbench(database, &file, driver)?, ..Measured::default() }));
    }
    psql(database, "DROP SCHEMA ceiling CASCADE")?;
    Ok(rows)
}

fn psql(database: &str, statements: &str) -> Result<(), Failure> {
    let output =
        Command::new("psql").args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statements, database]).output()?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned().into()) }
}

/// Transactions a second of a script.
fn pgbench(database: &str, script: &Path, driver: Driver) -> Result<f64, Failure> {
    let mut command = Command::new(installed("pgbench")?);
    command.args(["--no-vacuum", "--protocol=prepared", "--jobs=1"]);
    command.arg(format!("--client={}", driver.connections)).arg(format!("--time={}", driver.length.as_secs()));
    let output = command.arg("--file").arg(script).arg(database).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let rate = rate.and_then(|rest| rest.split_whitespace().next());
    rate.and_then(|rate| rate.parse().ok()).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned().into())
}

/// A program of PostgreSQL: in the path, or where Debian keeps those that are not.
fn installed(program: &str) -> Result<PathBuf, Failure> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    folders.extend(std::fs::read_dir("/usr/lib/postgresql")?.flatten().map(|version| version.path().join("bin")));
    let found = folders.into_iter().map(|folder| folder.join(program)).find(|path| path.exists());
    found.ok_or_else(|| format!("{program} is not installed").into())
}
