//! What Apple Health exported, `export.xml` or `export.zip`: files of gigabytes, read as a stream.
//!
//! Some hundred samples at a time become one message of the vendor `healthkit`, which goes through the same door and is
//! applied in the same way as what a phone sends (`devices/webhook.rs`, `devices/ingest.rs`): kept raw, known by what
//! it says, written once. The same file makes the same messages, so an import that was killed goes on where it was, and
//! one that is repeated finds them all done.
//!
//! The file is read twice: parts of a blood pressure or a meal stand in it before the whole they belong to, as copies.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use adapters::healthkit::export::{self, Samples};
use fhir::json::Json;
use indicatif::{ProgressBar, ProgressStyle};
use search::view::View;
use store::inbox::{Origin, State};

use super::export_file::{Export, is_archive};
use crate::app::App;
use crate::command::CommandError;
use crate::devices::{ingest, webhook};

/// The adapter, and the shape in which the samples of an export are handed to it.
const ADAPTER: (&str, &str) = ("healthkit", "healthkitstandard-json");

/// Samples of one message.
const MESSAGE_SAMPLES: usize = 500;

/// Bytes of one message, so that large samples do not pile up in memory.
const MESSAGE_BYTES: usize = 2 << 20;

/// Parts of blood pressures and meals in one file: what is known of each is kept in memory.
const MAX_COPIES: usize = 1_000_000;

/// Reasons that are told at the terminal; the others are in the inbox.
const MAX_TOLD: usize = 20;

/// What became of an export.
#[derive(Debug, Default)]
struct Summary {
    samples: u64,
    messages: u64,
    /// Messages that had come before.
    known: u64,
    written: usize,
    issues: usize,
    /// Messages of which nothing could be written.
    stuck: u64,
}

/// The patient, if what the paths name are exports; an error if some are, or nobody says whose they are.
pub(super) fn exports<'a>(paths: &[PathBuf], patient: Option<&'a str>) -> Result<Option<&'a str>, CommandError> {
    let is_xml = |path: &Path| path.extension().is_some_and(|found| found.eq_ignore_ascii_case("xml"));
    let count = paths.iter().filter(|path| is_xml(path) || is_archive(path)).count();
    match patient {
        None if count == 0 => Ok(None),
        None => Err(CommandError::usage("whose export is it? --patient ID")),
        Some(_) if count != paths.len() => Err(CommandError::usage("--patient goes with exports of Apple Health only")),
        Some(patient) => Ok(Some(patient)),
    }
}

/// Imports exports of one patient, then says how much; fails where nothing could be made of a part.
pub(super) async fn run(app: &App, patient: &str, paths: &[PathBuf], json: bool) -> Result<(), CommandError> {
    let known = app.store.read(&View::system(), "Patient", patient).await?;
    if known.is_none_or(|stored| stored.deleted) {
        return Err(CommandError::new(format!("there is no Patient/{patient}")));
    }
    let mut exports = Vec::new();
    let mut sizes = 0;
    for path in paths {
        let export = Export::open(path).map_err(|error| at(path, error))?;
        sizes += export.size().map_err(|error| at(path, error))?;
        exports.push((path, export));
    }
    let bar = ProgressBar::new(2 * sizes).with_style(style());
    let mut import = Import { app, patient, bar, summary: Summary::default() };
    for (path, export) in &mut exports {
        import.file(path, export).await?;
    }
    import.bar.finish_and_clear();
    import.summary.report(json);
    match import.summary.stuck {
        0 => Ok(()),
        stuck => Err(CommandError::new(format!(
            "{stuck} part(s) could not be written; see tributary inbox list --vendor {}",
            ADAPTER.0
        ))),
    }
}

struct Import<'a> {
    app: &'a App,
    patient: &'a str,
    bar: ProgressBar,
    summary: Summary,
}

impl Import<'_> {
    async fn file(&mut self, path: &Path, export: &mut Export) -> Result<(), CommandError> {
        self.bar.set_message("looking for copies");
        let copies =
            copies(export.read(&self.bar).map_err(|error| at(path, error))?).map_err(|error| at(path, error))?;
        let (mut message, mut bytes) = (Vec::new(), 0);
        let reader = export.read(&self.bar).map_err(|error| at(path, error))?;
        for sample in Samples::new(reader) {
            let sample = sample.map_err(|error| at(path, error))?;
            if copies.contains(&export::identity(&sample)) {
                continue;
            }
            bytes += sample.to_string().len();
            message.push(sample);
            if message.len() >= MESSAGE_SAMPLES || bytes >= MESSAGE_BYTES {
                self.send(std::mem::take(&mut message)).await?;
                bytes = 0;
            }
        }
        if message.is_empty() { Ok(()) } else { self.send(message).await }
    }

    async fn send(&mut self, samples: Vec<Json>) -> Result<(), CommandError> {
        let missing = || CommandError::new("the adapter is not there");
        let adapter = adapters::find(ADAPTER.0).ok_or_else(missing)?;
        let shape = adapter.shape(ADAPTER.1).ok_or_else(missing)?;
        self.summary.samples += samples.len() as u64;
        let origin =
            Origin { shape: shape.name.to_owned(), patient: Some(self.patient.to_owned()), query: String::new() };
        let body = Json::Array(samples).to_string().into_bytes();
        let received = webhook::execute(self.app, adapter, shape, (origin, None), body).await;
        let (receipt, _) = received.map_err(|refused| CommandError::new(refused.to_string()))?;
        let kept = ingest::finish(self.app, &receipt.receipt).await?;
        let outcome = Json::parse(kept.outcome.as_bytes())?;
        self.summary.messages += 1;
        self.summary.known += u64::from(!receipt.first && receipt.state != State::Received);
        self.summary.stuck += u64::from(outcome.list("written").is_empty() && kept.state != State::Applied);
        if receipt.first || receipt.state == State::Received {
            self.summary.written += outcome.list("written").len();
        }
        for issue in outcome.list("issue") {
            self.summary.issues += 1;
            if self.summary.issues <= MAX_TOLD {
                let text = issue.str("diagnostics").unwrap_or_default();
                self.bar.suspend(|| eprintln!("{} {text}", kept.receipt));
            }
        }
        self.bar.set_message(format!("{} samples", self.summary.samples));
        Ok(())
    }
}

impl Summary {
    fn report(&self, json: bool) {
        let Summary { samples, messages, known, written, issues, .. } = self;
        if json {
            let number = |text: String| Json::Number(text.into());
            let whole = fhir::object! {
                "samples": number(samples.to_string()), "messages": number(messages.to_string()),
                "known": number(known.to_string()), "written": number(written.to_string()),
                "issues": number(issues.to_string()),
            };
            println!("{whole}");
            return;
        }
        println!("{samples} samples in {messages} message(s), {known} of which had come before");
        println!("{written} resources written, {issues} issue(s)");
    }
}

/// What the parts of correlations are known by: their copies are passed over.
fn copies(reader: impl BufRead) -> Result<BTreeSet<String>, String> {
    let mut found = BTreeSet::new();
    for sample in Samples::new(reader) {
        let sample = sample.map_err(|error| error.to_string())?;
        found.extend(sample.list("objects").iter().map(export::identity));
        if found.len() > MAX_COPIES {
            return Err(format!("more than {MAX_COPIES} parts of blood pressures and meals"));
        }
    }
    Ok(found)
}

fn at(path: &Path, error: impl std::fmt::Display) -> CommandError {
    CommandError::new(format!("{}: {error}", path.display()))
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes} {msg} {elapsed}, {eta} left");
    style.expect("the template is valid")
}
