//! `tributary doctor`: checks this installation and says what to fix. Changes nothing.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::CommandError;
use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::random::Random;
use crate::secret;

mod search;

/// 2026-01-01T00:00:00Z in microseconds: no machine that runs this stands before it.
const EARLIEST: i64 = 1_767_225_600_000_000;

/// Definitions load in well under a second; beyond this, something is wrong with the machine or the build.
const SLOW_DEFINITIONS_MS: u128 = 2_000;

/// A commit waits for a flush to disk; beyond this every write is slow.
const SLOW_FLUSH_MS: u128 = 50;

/// Oldest PostgreSQL that is tested, as `server_version_num`.
const OLDEST_POSTGRESQL: u32 = 140_000;

/// Options of `doctor`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Print the findings as JSON.
    #[arg(long)]
    pub json: bool,
    /// Look into the search index instead: what each parameter costs, and whether it says what the resources say.
    #[arg(long)]
    pub search: bool,
    /// With --search, how many resources are compared with their index.
    #[arg(long, default_value_t = 200, requires = "search")]
    pub sample: u64,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Warning,
    Problem,
}

/// One check: what was found, and what to do about it.
#[derive(Debug)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    found: String,
    advice: Option<String>,
}

/// Runs every check; fails where one found a problem.
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    if args.search {
        return search::run(config, args.sample, args.json).await;
    }
    let config = config.clone().resolved();
    let mut findings = vec![base_url(&config), clock(&Clock::system()), definitions(), secret_key(&config)];
    findings.extend(disk(&config));
    findings.extend(database(&config).await);
    print(&findings, args.json);
    match findings.iter().filter(|finding| finding.verdict == Verdict::Problem).count() {
        0 => Ok(()),
        count => Err(CommandError::new(format!("{count} problem(s) to fix"))),
    }
}

fn base_url(config: &Config) -> Finding {
    let base = &config.base_url;
    let reachable_from_outside = !config.listen.ip().is_loopback();
    if reachable_from_outside && base.starts_with("http://") {
        return warning(
            "base URL",
            base,
            "tokens would travel in the clear: put TLS in front and set --base-url https://…",
        );
    }
    good("base URL", base)
}

fn clock(clock: &Clock) -> Finding {
    let now = fhir::date::format_instant(clock.now());
    if clock.now() < EARLIEST {
        return problem("clock", &now, "the machine's clock is in the past: turn on time synchronisation");
    }
    good("clock", &now)
}

fn definitions() -> Finding {
    let begun = Instant::now();
    let types = fhir::definitions::resource_types().len();
    let parameters = ::search::registry::registry().parameters("Patient").count();
    let milliseconds = begun.elapsed().as_millis();
    let found =
        format!("{types} resource types, {parameters} search parameters of Patient, loaded in {milliseconds} ms");
    if milliseconds > SLOW_DEFINITIONS_MS {
        return warning("definitions", &found, "that is slow: run a release build (cargo run --release)");
    }
    good("definitions", &found)
}

fn secret_key(config: &Config) -> Finding {
    const CHECK: &str = "secret key";
    if config.secret_key.is_some() {
        return match secret::SecretKey::load(config, &Random::system()) {
            Ok(_) => good(CHECK, "from secret-key"),
            Err(error) => problem(CHECK, &error.to_string(), "correct secret-key"),
        };
    }
    let path = secret::key_file(config);
    if !path.exists() {
        return good(CHECK, &format!("{} is made on the first start", path.display()));
    }
    if let Err(error) = secret::SecretKey::load(config, &Random::system()) {
        return problem(CHECK, &error.to_string(), "restore the file from a backup; a new key ends all sessions");
    }
    match open_to_others(&path) {
        Ok(None) => good(CHECK, &format!("{}, readable by its owner only", path.display())),
        Ok(Some(mode)) => {
            let advice = format!("chmod 600 {}", path.display());
            problem(CHECK, &format!("{} has mode {mode:o}: others can read it", path.display()), &advice)
        }
        Err(error) => problem(CHECK, &format!("{}: {error}", path.display()), "make the file readable for this user"),
    }
}

/// The file's mode where others than its owner have rights.
#[cfg(unix)]
fn open_to_others(path: &Path) -> std::io::Result<Option<u32>> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

#[cfg(not(unix))]
fn open_to_others(path: &Path) -> std::io::Result<Option<u32>> {
    std::fs::metadata(path).map(|_| None)
}

/// Whether the folder of an SQLite database takes a file, and how long a flush to disk lasts.
fn disk(config: &Config) -> Option<Finding> {
    const CHECK: &str = "disk";
    let folder = existing_folder(config.sqlite_path()?);
    let shown = folder.display();
    Some(match flush(&folder) {
        Ok(time) if time > SLOW_FLUSH_MS => warning(
            CHECK,
            &format!("a flush in {shown} takes {time} ms"),
            "every write waits for one: put the database on a local SSD",
        ),
        Ok(time) => good(CHECK, &format!("{shown} is writable, a flush takes {time} ms")),
        Err(error) => problem(CHECK, &format!("{shown}: {error}"), "make the folder writable for this user"),
    })
}

/// Milliseconds that writing a small file and flushing it lasts.
fn flush(folder: &Path) -> std::io::Result<u128> {
    let probe = folder.join(format!(".tributary-doctor-{}", Random::system().uuid()));
    let begun = Instant::now();
    let written = File::create_new(&probe).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    let milliseconds = begun.elapsed().as_millis();
    written.and(std::fs::remove_file(&probe)).map(|()| milliseconds)
}

/// The nearest folder above `file` that exists: the rest is made on the first start.
fn existing_folder(file: &Path) -> PathBuf {
    let mut folder = file.parent();
    while let Some(candidate) = folder {
        if candidate.as_os_str().is_empty() {
            break;
        }
        if candidate.is_dir() {
            return candidate.to_owned();
        }
        folder = candidate.parent();
    }
    PathBuf::from(".")
}

async fn database(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "database";
    let shown = config.database_for_display();
    if config.sqlite_path().is_some_and(|path| !path.exists()) {
        return vec![good(CHECK, &format!("{shown} is made on the first start"))];
    }
    let app = match App::open(config).await {
        Ok(app) => app,
        Err(error) => {
            return vec![problem(CHECK, &error.to_string(), "start the database and check address, name and password")];
        }
    };
    let mut findings = vec![good(CHECK, &format!("{shown} is reachable"))];
    match app.store.facts().await {
        Ok(facts) => findings.extend(facts.iter().map(|(name, value)| engine(name, value))),
        Err(error) => findings.push(problem(CHECK, &error.to_string(), "see the database's own log")),
    }
    let pending = app.store.pending_migrations().await;
    if pending.as_ref().is_ok_and(Vec::is_empty) {
        findings.extend(search_parameters(&app).await);
        findings.push(trail(&app).await);
    }
    findings.push(match pending {
        Ok(pending) if pending.is_empty() => good("tables", "up to date"),
        Ok(pending) => warning("tables", &format!("{} migration(s) pending", pending.len()), "run tributary migrate"),
        Err(error) => problem("tables", &error.to_string(), "grant this user rights on the schema"),
    });
    findings
}

/// The search parameters that the database defines, if any.
async fn search_parameters(app: &App) -> Option<Finding> {
    const CHECK: &str = "search parameters";
    match app.store.search_parameters().await {
        Ok(set) if set.kept.is_empty() => None,
        Ok(set) => Some(good(CHECK, &crate::search_parameters::status(&set.kept).join("; "))),
        Err(error) => Some(problem(CHECK, &error.to_string(), "see the database's own log")),
    }
}

/// How long the audit trail is, and how far back it goes.
async fn trail(app: &App) -> Finding {
    const CHECK: &str = "audit trail";
    match app.store.trail_standing().await {
        Ok(standing) => {
            let since = standing.oldest.map(|oldest| format!(", the oldest of {}", fhir::date::format_instant(oldest)));
            let days = app.config.audit_retention;
            good(CHECK, &format!("{} events{}, kept {days} days", standing.events, since.unwrap_or_default()))
        }
        Err(error) => problem(CHECK, &error.to_string(), "without it nothing is answered: see the database's own log"),
    }
}

/// Judges what the database says of itself.
fn engine(name: &'static str, value: &str) -> Finding {
    match name {
        "PostgreSQL version" => {
            let number: u32 = value.parse().unwrap_or(0);
            let found = format!("{}.{}", number / 10_000, number % 10_000);
            if number < OLDEST_POSTGRESQL {
                problem(name, &found, "upgrade to PostgreSQL 14 or newer")
            } else {
                good(name, &found)
            }
        }
        "PostgreSQL encoding" if value != "UTF8" => {
            problem(name, value, "create the database with ENCODING 'UTF8': names in other scripts cannot be stored")
        }
        _ => good(name, value),
    }
}

fn good(check: &'static str, found: &str) -> Finding {
    Finding { check, verdict: Verdict::Good, found: found.to_owned(), advice: None }
}

fn warning(check: &'static str, found: &str, advice: &str) -> Finding {
    Finding { check, verdict: Verdict::Warning, found: found.to_owned(), advice: Some(advice.to_owned()) }
}

fn problem(check: &'static str, found: &str, advice: &str) -> Finding {
    Finding { check, verdict: Verdict::Problem, found: found.to_owned(), advice: Some(advice.to_owned()) }
}

fn print(findings: &[Finding], json: bool) {
    let word = |verdict| match verdict {
        Verdict::Good => "ok",
        Verdict::Warning => "warning",
        Verdict::Problem => "problem",
    };
    if json {
        let list: Vec<serde_json::Value> = findings
            .iter()
            .map(|finding| {
                serde_json::json!({ "check": finding.check, "verdict": word(finding.verdict),
                    "found": finding.found, "advice": finding.advice })
            })
            .collect();
        println!("{}", serde_json::Value::from(list));
        return;
    }
    for finding in findings {
        println!("{:<8} {}: {}", word(finding.verdict), finding.check, finding.found);
        if let Some(advice) = &finding.advice {
            println!("         -> {advice}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_or_wrongly_encoded_postgresql_is_a_problem() {
        assert_eq!(engine("PostgreSQL version", "130004").verdict, Verdict::Problem);
        assert_eq!(engine("PostgreSQL version", "170002").found, "17.2");
        assert_eq!(engine("PostgreSQL encoding", "SQL_ASCII").verdict, Verdict::Problem);
        assert_eq!(engine("PostgreSQL encoding", "UTF8").verdict, Verdict::Good);
    }

    #[test]
    fn a_clock_in_the_past_is_a_problem() {
        assert_eq!(clock(&Clock::manual(0)).verdict, Verdict::Problem);
        assert_eq!(clock(&Clock::manual(EARLIEST + 1)).verdict, Verdict::Good);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_can_read_is_a_problem() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("tributary-{}", Random::system().uuid()));
        let config = Config::from_flags(&["--database", &format!("sqlite:{}", folder.join("x.sqlite").display())]);
        secret::SecretKey::load(&config, &Random::system()).expect("made");
        assert_eq!(secret_key(&config).verdict, Verdict::Good);
        let file = secret::key_file(&config);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("set");
        assert_eq!(secret_key(&config).verdict, Verdict::Problem);
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
