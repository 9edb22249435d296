//! Mapping files: vendors that are described in a folder instead of compiled in. They are read once, at the start.
//!
//! What they may say, and what they are checked for, is in package `adapters` (`declared`); here is where they lie.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use adapters::Registry;
use adapters::declared::{MAX_FILE, Mistake, Plan};

use crate::config::Config;

/// Files of one folder at most.
const MAX_FILES: usize = 64;

/// Why mapping files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// The folder or a file in it cannot be read.
    #[error("adapters: {path}: {cause}", path = .0.display(), cause = .1)]
    Unreadable(PathBuf, std::io::Error),
    /// More files than are taken.
    #[error("adapters: {path} holds more than {MAX_FILES} mapping files", path = .0.display())]
    TooMany(PathBuf),
    /// What is wrong with a file, a line each.
    #[error("{0}")]
    Wrong(String),
}

/// The compiled adapters and those of the folder that is set.
pub fn registry(config: &Config) -> Result<Registry, MappingError> {
    let mut registry = Registry::default();
    let Some(folder) = &config.adapters else { return Ok(registry) };
    let (mut wrong, mut known) = (String::new(), Files::default());
    for path in files(folder)? {
        match read(&path)? {
            Ok(plan) => {
                if let Err(message) = known.add(&mut registry, plan, &path) {
                    let _ = write!(wrong, "\n{}: {message}", path.display());
                }
            }
            Err(mistakes) => wrong.extend(mistakes.iter().map(|mistake| format!("\n{}", told(&path, mistake)))),
        }
    }
    if wrong.is_empty() {
        Ok(registry)
    } else {
        Err(MappingError::Wrong(format!("adapters: mapping files are wrong:{wrong}")))
    }
}

/// Which file each vendor is described by.
#[derive(Debug, Default)]
pub struct Files(BTreeMap<String, PathBuf>);

impl Files {
    /// Lets the vendor of a file in; why not, with the file that has its name already.
    pub fn add(&mut self, registry: &mut Registry, plan: Plan, path: &Path) -> Result<(), String> {
        let vendor = plan.vendor().to_owned();
        registry.add(plan.adapter()).map_err(|taken| match self.0.get(taken.owner) {
            Some(other) => format!("{taken}, which is described by {}", other.display()),
            None => format!("{taken}, which comes with Tributary"),
        })?;
        self.0.insert(vendor, path.to_owned());
        Ok(())
    }
}

/// Writes to the log which vendors are described by files.
pub fn log(registry: &Registry, config: &Config) {
    let Some(folder) = &config.adapters else { return };
    let described = registry.all().iter().filter(|adapter| adapters::find(adapter.vendor).is_none());
    for adapter in described {
        tracing::info!(vendor = adapter.vendor, version = adapter.version, folder = %folder.display(), "mapping file read");
    }
}

/// Says that a vendor is not known, and where mapping files are looked for.
pub fn unknown(registry: &Registry, vendor: &str, config: &Config) -> String {
    let folder = config.adapters.as_ref().map_or_else(
        || "no folder of mapping files is set (--adapters)".to_owned(),
        |folder| format!("mapping files are those of {}", folder.display()),
    );
    format!("there is no adapter for {vendor}; there is {}; {folder}", registry.vendors().join(", "))
}

/// Reads one file; what is wrong with it, if something is.
pub fn read(path: &Path) -> Result<Result<Plan, Vec<Mistake>>, MappingError> {
    let unreadable = |cause| MappingError::Unreadable(path.to_owned(), cause);
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_FILE as u64 {
        return Ok(Err(whole(format!("the file has {size} bytes, {MAX_FILE} are the most"))));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    Ok(Plan::read(&text))
}

/// What is wrong with a file as a whole.
pub fn whole(message: String) -> Vec<Mistake> {
    vec![Mistake { line: 1, place: String::new(), message }]
}

/// A mistake as compilers tell theirs: file, line, what.
pub fn told(path: &Path, mistake: &Mistake) -> String {
    let Mistake { line, place, message } = mistake;
    let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
    format!("{}:{line}: {place}{message}", path.display())
}

/// The mapping files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, MappingError> {
    let unreadable = |cause| MappingError::Unreadable(folder.to_owned(), cause);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            return Err(MappingError::TooMany(folder.to_owned()));
        }
    }
    files.sort();
    Ok(files)
}
