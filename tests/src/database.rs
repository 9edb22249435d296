//! A fresh, migrated database per test: a copy of a template that is migrated once per build of the executable.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::UNIX_EPOCH;

use crate::program;

/// What a SQLite database is called in its folder.
const SQLITE_FILE: &str = "tributary.sqlite";

/// The two engines; what holds on one must hold on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Embedded, a file.
    Sqlite,
    /// The server that `TRIBUTARY_TEST_POSTGRES` names.
    Postgres,
}

/// A database that vanishes with this value.
#[derive(Debug)]
pub struct Database {
    engine: Engine,
    url: String,
    name: String,
    folder: PathBuf,
}

impl Engine {
    /// Whether this engine can be used here.
    pub fn is_available(self) -> bool {
        self == Engine::Sqlite || postgres().is_some()
    }
}

impl Database {
    /// A migrated, empty database; its folder is also the working folder of the server.
    pub fn create(engine: Engine) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("t_{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let folder = program::target_folder().join("test-servers").join(&name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the target folder is writable");
        let url = match engine {
            Engine::Sqlite => {
                copy(&sqlite_template(), &folder);
                format!("sqlite:{}", folder.join(SQLITE_FILE).display())
            }
            Engine::Postgres => {
                let template = postgres_template();
                run(&mut psql_of(&[
                    &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
                    &format!("CREATE DATABASE {name} TEMPLATE {template}"),
                ]));
                postgres_url(&name)
            }
        };
        Database { engine, url, name, folder }
    }

    /// What `--database` takes.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the server runs and logs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Which engine it is.
    pub fn engine(&self) -> Engine {
        self.engine
    }
}

impl Database {
    /// Runs a statement where the audit trail is: on SQLite in the file beside the database.
    pub fn execute_on_trail(&self, statement: &str) {
        self.execute_in(&format!("{SQLITE_FILE}-audit.db"), statement);
    }

    /// Runs a statement on the database itself.
    pub fn execute(&self, statement: &str) {
        self.execute_in(SQLITE_FILE, statement);
    }

    fn execute_in(&self, file: &str, statement: &str) {
        let output = match self.engine {
            Engine::Sqlite => Command::new("sqlite3")
                .arg("-bail")
                .arg(self.folder.join(file))
                .arg(format!("PRAGMA busy_timeout = 5000; {statement}"))
                .output()
                .expect("sqlite3 can be started"),
            Engine::Postgres => Command::new("psql")
                .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command", statement, &self.url])
                .output()
                .expect("psql can be started"),
        };
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.engine == Engine::Postgres && !std::thread::panicking() {
            // It waits for a checkpoint, and nothing waits for it.
            let mut drop = psql_of(&[&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)]);
            drop.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let _later = drop.spawn();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// `postgres://user@host:port` without a database, if there is one to use.
fn postgres() -> Option<String> {
    let url = std::env::var("TRIBUTARY_TEST_POSTGRES").ok()?;
    Some(url.trim_end_matches('/').to_owned())
}

fn postgres_url(database: &str) -> String {
    format!("{}/{database}", postgres().expect("checked by Engine::is_available"))
}

fn psql(statement: &str) -> String {
    run(&mut psql_of(&[statement]))
}

/// Statements on the server itself, each in a transaction of its own.
fn psql_of(statements: &[&str]) -> Command {
    let mut command = Command::new("psql");
    command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
    command.args(statements.iter().flat_map(|statement| ["--command", statement]));
    command.arg(postgres_url("postgres")).env("PGOPTIONS", "--client-min-messages=warning");
    command
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("psql can be started");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Names the schema that the executable under test makes: another build, another template.
fn template_name() -> String {
    let binary = fs::metadata(program::path()).expect("the executable under test exists");
    let modified = binary.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("template_{}_{}", binary.len(), modified.map_or(0, |time| time.as_millis()))
}

/// Tests run in many processes: the first one makes the template, the others wait for it.
fn exclusively<T>(make: impl FnOnce(&Path) -> T) -> T {
    let folder = program::target_folder().join("test-servers");
    fs::create_dir_all(&folder).expect("the target folder is writable");
    let lock = File::create(folder.join("template.lock")).expect("the lock file is writable");
    lock.lock().expect("files can be locked");
    make(&folder)
}

/// A folder with a migrated database, its log and its key.
fn sqlite_template() -> PathBuf {
    exclusively(|folder| {
        let template = folder.join(template_name());
        if !template.exists() {
            let fresh = folder.join("template-in-the-making");
            let _ = fs::remove_dir_all(&fresh);
            fs::create_dir_all(&fresh).expect("the target folder is writable");
            program::run(&fresh, &["migrate", "--database", &format!("sqlite:{SQLITE_FILE}")]);
            fs::rename(fresh, &template).expect("both are on one disk");
        }
        template
    })
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the template is readable").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("the template can be copied");
    }
}

fn postgres_template() -> String {
    exclusively(|folder| {
        let template = template_name();
        if psql(&format!("SELECT 1 FROM pg_database WHERE datname = '{template}'")).is_empty() {
            let fresh = format!("{template}_new");
            psql(&format!("DROP DATABASE IF EXISTS {fresh} WITH (FORCE)"));
            psql(&format!("CREATE DATABASE {fresh}"));
            program::run(folder, &["migrate", "--database", &postgres_url(&fresh)]);
            psql(&format!("ALTER DATABASE {fresh} RENAME TO {template}"));
        }
        template
    })
}
