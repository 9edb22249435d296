//! `tributary import`: loads resources from NDJSON files and bundles through the one write path.
//!
//! A resource with an id is put under that id, so an import that was interrupted is simply started again. Lines go in
//! transactions of many; where one is refused, its lines go in one by one, so that only the bad ones stay out and
//! each is reported as `file:line`. What a phone exported comes in as the message of a vendor: see [`phone`].

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use fhir::json::Json;
use fhir::object;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;

use super::CommandError;
use crate::app::App;
use crate::caller::Caller;
use crate::config::Config;
use crate::rest::bundle;

mod phone;
mod source;

use source::{Document, Lines};

/// Resources in one transaction.
const BATCH_RESOURCES: usize = 500;

/// Bytes in one transaction, so that large resources do not pile up in memory.
const BATCH_BYTES: usize = 8 << 20;

/// Options of `import`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// NDJSON files (`.ndjson`, `.ndjson.gz`), bundles or single resources (`.json`), or folders of them; or what
    /// Apple Health exported (`.xml`).
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Logical id of the patient whose export of Apple Health it is.
    #[arg(long, value_name = "ID")]
    pub patient: Option<String>,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What happened to the resources of an import.
#[derive(Debug, Default)]
struct Summary {
    files: usize,
    stored: u64,
    errors: Vec<LineError>,
}

/// One resource that stayed out.
#[derive(Debug)]
struct LineError {
    file: String,
    line: u64,
    reason: String,
}

/// A resource or bundle and where it stands.
struct Item {
    line: u64,
    document: Json,
}

/// Items that go into the database in one transaction.
#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    bytes: usize,
    keys: HashSet<String>,
}

/// Imports everything under the paths, then says how much; fails where a resource stayed out.
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    let exports = phone::exports(&args.paths, args.patient.as_deref())?;
    let app = Arc::new(App::open_ready(config).await?);
    if let Some(patient) = exports {
        return phone::run(&app, patient, &args.paths, args.json).await;
    }
    let files = source::files(&args.paths)?;
    let total = files.iter().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum();
    let bar = ProgressBar::new(total).with_style(style());
    let begun = Instant::now();
    let mut import =
        Import { app, bar, summary: Summary::default(), running: JoinSet::new(), in_flight: HashSet::new() };
    for file in &files {
        import.file(file).await?;
    }
    import.drain().await?;
    import.bar.finish_and_clear();
    import.app.store.count_rows().await?;
    report(&import.summary, begun.elapsed().as_secs_f64(), args.json);
    match import.summary.errors.len() {
        0 => Ok(()),
        count => Err(CommandError::new(format!("{count} resource(s) were not imported"))),
    }
}

struct Import {
    app: Arc<App>,
    bar: ProgressBar,
    summary: Summary,
    running: JoinSet<Result<Done, CommandError>>,
    /// `Type/id` of what is being written: the same again must wait its turn, so that the later line wins.
    in_flight: HashSet<String>,
}

/// A finished transaction.
struct Done {
    keys: HashSet<String>,
    stored: u64,
    errors: Vec<LineError>,
}

impl Import {
    async fn file(&mut self, path: &Path) -> Result<(), CommandError> {
        self.summary.files += 1;
        let name: Arc<str> = path.display().to_string().into();
        let mut lines = Lines::open(path, &self.bar)?;
        let mut batch = Batch::default();
        while let Some(document) = lines.next()? {
            let Document { line, text } = document;
            let document = match Json::parse(&text) {
                Ok(document) => document,
                Err(error) => {
                    self.refuse(&name, line, error.to_string());
                    continue;
                }
            };
            let key = key(&document);
            let is_bundle = is_container(&document);
            if is_bundle || key.as_ref().is_some_and(|key| batch.keys.contains(key)) {
                self.send(&name, std::mem::take(&mut batch)).await?;
            }
            batch.bytes += text.len();
            batch.keys.extend(key);
            batch.items.push(Item { line, document });
            if is_bundle || batch.items.len() >= BATCH_RESOURCES || batch.bytes >= BATCH_BYTES {
                self.send(&name, std::mem::take(&mut batch)).await?;
            }
        }
        self.send(&name, batch).await
    }

    /// Starts writing a batch, waiting first where enough is under way or one of its resources is.
    async fn send(&mut self, file: &Arc<str>, batch: Batch) -> Result<(), CommandError> {
        if batch.items.is_empty() {
            return Ok(());
        }
        let most = std::thread::available_parallelism().map_or(2, std::num::NonZero::get) + 1;
        while self.running.len() >= most || !self.in_flight.is_disjoint(&batch.keys) {
            self.join().await?;
        }
        self.in_flight.extend(batch.keys.iter().cloned());
        self.running.spawn(write(self.app.clone(), file.clone(), batch));
        Ok(())
    }

    async fn join(&mut self) -> Result<(), CommandError> {
        if let Some(done) = self.running.join_next().await {
            let done = done??;
            self.in_flight.retain(|key| !done.keys.contains(key));
            self.summary.stored += done.stored;
            for error in done.errors {
                self.refuse(&error.file, error.line, error.reason);
            }
            self.bar.set_message(format!("{} resources", self.summary.stored));
        }
        Ok(())
    }

    async fn drain(&mut self) -> Result<(), CommandError> {
        while !self.running.is_empty() {
            self.join().await?;
        }
        Ok(())
    }

    fn refuse(&mut self, file: &str, line: u64, reason: String) {
        self.bar.suspend(|| eprintln!("{file}:{line}: {reason}"));
        self.summary.errors.push(LineError { file: file.to_owned(), line, reason });
    }
}

/// Writes a batch as one transaction; where that is refused, each of its resources alone.
async fn write(app: Arc<App>, file: Arc<str>, batch: Batch) -> Result<Done, CommandError> {
    let caller = Caller::server("import");
    let mut done = Done { keys: batch.keys, stored: 0, errors: Vec::new() };
    let bundle = |kind: &str, entries: Vec<Json>| {
        object! { "resourceType": "Bundle", "type": kind, "entry": entries }
    };
    let whole: Vec<Json> = batch.items.iter().flat_map(|item| entries(&item.document)).collect();
    let count = whole.len() as u64;
    let kind = kind_of(&batch.items);
    match bundle::execute(&app, &caller, bundle(kind, whole)).await {
        Ok(response) if kind == "transaction" => {
            debug_assert_eq!(response.list("entry").len() as u64, count, "a transaction stores all or nothing");
            done.stored = count;
            return Ok(done);
        }
        Ok(response) => {
            // Only a bundle that is itself a batch comes here: its entries stand alone already.
            let line = batch.items.first().map_or(1, |item| item.line);
            tally(&response, |index| (line, Some(index)), &file, &mut done);
            return Ok(done);
        }
        Err(error) if batch.items.len() == 1 => {
            let line = batch.items[0].line;
            done.errors.push(LineError { file: file.to_string(), line, reason: error.to_string() });
            return Ok(done);
        }
        Err(_) => {}
    }
    let single: Vec<Json> = batch.items.iter().flat_map(|item| entries(&item.document)).collect();
    let response = bundle::execute(&app, &caller, bundle("batch", single)).await;
    let response = response.map_err(|error| CommandError::new(format!("{file}: {error}")))?;
    tally(&response, |index| (batch.items.get(index).map_or(0, |item| item.line), None), &file, &mut done);
    Ok(done)
}

/// Counts the answers of a batch; `place` tells an entry's line and, in a bundle, its index.
fn tally(response: &Json, place: impl Fn(usize) -> (u64, Option<usize>), file: &str, done: &mut Done) {
    for (index, entry) in response.list("entry").iter().enumerate() {
        let status = entry.at(&["response", "status"]).and_then(Json::as_str).unwrap_or("500 no status");
        if status.starts_with('2') {
            done.stored += 1;
            continue;
        }
        let issue = entry.at(&["response", "outcome", "issue"]);
        let text = issue.and_then(|issue| issue.str("diagnostics").or(issue.at(&["details", "text"])?.as_str()));
        let (line, entry) = place(index);
        let within = entry.map(|index| format!("entry {index}: ")).unwrap_or_default();
        let reason = format!("{within}{status}{}", text.map(|text| format!(": {text}")).unwrap_or_default());
        done.errors.push(LineError { file: file.to_owned(), line, reason });
    }
}

/// A batch stays a batch, everything else goes in whole or not at all.
fn kind_of(items: &[Item]) -> &'static str {
    match items {
        [item] if is_container(&item.document) && item.document.str("type") == Some("batch") => "batch",
        _ => "transaction",
    }
}

/// The entries of a bundle, with a request each; a resource is a bundle of itself.
fn entries(document: &Json) -> Vec<Json> {
    if !is_container(document) {
        return vec![object! { "resource": document.clone(), "request": request(document) }];
    }
    let with_request = |entry: &Json| match (entry.get("request"), entry.get("resource")) {
        (None, Some(resource)) => {
            let mut entry = entry.as_object().cloned().unwrap_or_default();
            entry.insert("request", request(resource));
            Json::Object(entry)
        }
        _ => entry.clone(),
    };
    document.list("entry").iter().map(with_request).collect()
}

/// Whether a document is a bundle of resources to store, and not one to be stored itself (document, message).
fn is_container(document: &Json) -> bool {
    let kinds = ["transaction", "batch", "collection", "searchset"];
    document.str("resourceType") == Some("Bundle") && document.str("type").is_some_and(|kind| kinds.contains(&kind))
}

/// PUT under its id, or POST where it has none.
fn request(resource: &Json) -> Json {
    let resource_type = resource.str("resourceType").unwrap_or_default();
    let Some(id) = resource.str("id") else { return object! { "method": "POST", "url": resource_type } };
    object! { "method": "PUT", "url": format!("{resource_type}/{id}") }
}

fn key(resource: &Json) -> Option<String> {
    Some(format!("{}/{}", resource.str("resourceType")?, resource.str("id")?))
}

fn report(summary: &Summary, seconds: f64, json: bool) {
    let rate = u32::try_from(summary.stored).map_or(f64::INFINITY, f64::from) / seconds.max(0.001);
    if !json {
        let (stored, files, failed) = (summary.stored, summary.files, summary.errors.len());
        println!("{stored} resources from {files} file(s) in {seconds:.1} s ({rate:.0}/s), {failed} error(s)");
        return;
    }
    let errors: Vec<Json> = summary
        .errors
        .iter()
        .map(|error| {
            let line = error.line as i64;
            object! { "file": error.file.as_str(), "line": line, "reason": error.reason.as_str() }
        })
        .collect();
    let number = |text: String| Json::Number(text.into());
    let whole = object! {
        "files": summary.files as i64, "resources": summary.stored as i64,
        "seconds": number(format!("{seconds:.3}")), "perSecond": number(format!("{rate:.0}")), "errors": errors,
    };
    println!("{whole}");
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes} {msg} {elapsed}, {eta} left");
    style.expect("the template is valid")
}
