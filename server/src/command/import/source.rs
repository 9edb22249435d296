//! The files of an import and the JSON documents in them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;

use crate::command::CommandError;

/// Longest line that is read: a line is one resource or one bundle.
const MAX_LINE: u64 = 256 << 20;

/// A JSON text and the line it begins on, counted from 1.
pub(super) struct Document {
    pub(super) line: u64,
    pub(super) text: Vec<u8>,
}

/// Reads a file document by document: a line each of NDJSON, the whole of JSON.
pub(super) struct Lines {
    name: String,
    reader: Box<dyn BufRead + Send>,
    line: u64,
    whole: bool,
}

/// The files that the paths name, folders entered, in order of name.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CommandError> {
    let mut files = Vec::new();
    for path in paths {
        let metadata = std::fs::metadata(path).map_err(|error| at(path, &error))?;
        if metadata.is_dir() {
            enter(path, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    if files.is_empty() {
        return Err(CommandError::new("no .ndjson, .ndjson.gz or .json file there"));
    }
    Ok(files)
}

impl Lines {
    /// Opens `path`; `bar` moves with the bytes that are read of it.
    pub(super) fn open(path: &Path, bar: &ProgressBar) -> Result<Self, CommandError> {
        let name = path.display().to_string();
        let file = bar.wrap_read(File::open(path).map_err(|error| at(path, &error))?);
        let (stem, reader): (&str, Box<dyn BufRead + Send>) = match name.strip_suffix(".gz") {
            Some(stem) => (stem, Box::new(BufReader::new(MultiGzDecoder::new(file)))),
            None => (&name, Box::new(BufReader::with_capacity(1 << 16, file))),
        };
        let whole = has_extension(stem, "json");
        Ok(Lines { reader, line: 0, whole, name })
    }

    /// The next document; blank lines are passed over.
    pub(super) fn next(&mut self) -> Result<Option<Document>, CommandError> {
        loop {
            let mut text = Vec::new();
            let mut limited = (&mut self.reader).take(MAX_LINE);
            let read = if self.whole { limited.read_to_end(&mut text) } else { limited.read_until(b'\n', &mut text) };
            let read = read.map_err(|error| at(Path::new(&self.name), &error))?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            if read as u64 == MAX_LINE {
                let error = io::Error::other(format!("line {} is longer than {MAX_LINE} bytes", self.line));
                return Err(at(Path::new(&self.name), &error));
            }
            if !text.trim_ascii().is_empty() {
                return Ok(Some(Document { line: self.line, text }));
            }
        }
    }
}

fn enter(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), CommandError> {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut paths: Vec<PathBuf> =
        entries.map_err(|error| at(folder, &error))?.iter().map(std::fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        let name = path.to_string_lossy();
        let stem = name.strip_suffix(".gz").unwrap_or(&name);
        if path.is_dir() {
            enter(&path, files)?;
        } else if has_extension(stem, "ndjson") || has_extension(&name, "json") {
            files.push(path);
        }
    }
    Ok(())
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

fn at(path: &Path, error: &io::Error) -> CommandError {
    CommandError::new(format!("{}: {error}", path.display()))
}
