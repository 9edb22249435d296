//! The file of an export of Apple Health: `export.xml`, or the `export.zip` that the phone hands out, in which it lies.
//!
//! What is compressed is read as a stream and never laid out on disk. How large it may become is bounded by what
//! such text can be compressed to, so that a small file does not keep a server busy for a day.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use indicatif::ProgressBar;
use zip::ZipArchive;

/// Name of the member with the samples; the folder around it has other names in other languages.
const MEMBER: &str = "export.xml";

/// Members of an archive at most: an export has some for each recorded route and each ECG.
const MAX_MEMBERS: usize = 200_000;

/// How many times larger the samples may be than what is compressed; real ones are some thirty times as large.
const MAX_RATIO: u64 = 200;

/// Largest samples that are read from an archive, in bytes.
const MAX_EXPANDED: u64 = 64 << 30;

/// Bytes that are read at once.
const BUFFER: usize = 1 << 16;

/// An export that is open.
pub(super) enum Export {
    Plain(File),
    Archive {
        archive: Box<ZipArchive<BufReader<File>>>,
        /// Which member it is.
        member: usize,
        /// Its size when it is not compressed.
        size: u64,
    },
}

impl Export {
    /// Opens a file; the reason why it is no export.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        if !is_archive(path) {
            return Ok(Export::Plain(file));
        }
        let broken = |error: zip::result::ZipError| format!("the archive cannot be read: {error}");
        let mut archive = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
        if archive.len() > MAX_MEMBERS {
            return Err(format!("the archive holds more than {MAX_MEMBERS} files"));
        }
        let names = archive.file_names().filter_map(Result::ok).map(std::borrow::Cow::into_owned);
        let found: Vec<String> = names.filter(|name| name.rsplit('/').next() == Some(MEMBER)).collect();
        let [name] = found.as_slice() else {
            return Err(format!(
                "the archive holds {} files {MEMBER}; an export of Apple Health holds one",
                found.len()
            ));
        };
        let member = archive.index_for_name(name).ok_or("the archive has lost a file")?;
        let (size, compressed) = {
            let samples = archive.by_index(member).map_err(broken)?;
            (samples.size(), samples.compressed_size())
        };
        if size > MAX_EXPANDED || size > compressed.saturating_mul(MAX_RATIO) {
            let most = format!("{MAX_RATIO} times as much, and {MAX_EXPANDED} bytes, are the most");
            return Err(format!("{MEMBER} would become {size} bytes of {compressed}; {most}"));
        }
        Ok(Export::Archive { archive: Box::new(archive), member, size })
    }

    /// Bytes of the samples.
    pub(super) fn size(&self) -> io::Result<u64> {
        match self {
            Export::Plain(file) => Ok(file.metadata()?.len()),
            Export::Archive { size, .. } => Ok(*size),
        }
    }

    /// Reads the samples from their start, moving the bar.
    pub(super) fn read(&mut self, bar: &ProgressBar) -> io::Result<Box<dyn BufRead + '_>> {
        let samples: Box<dyn Read + '_> = match self {
            Export::Plain(file) => {
                io::Seek::rewind(file)?;
                Box::new(file)
            }
            // More than the archive said, or with another check sum, is an error of the reader.
            Export::Archive { archive, member, .. } => Box::new(archive.by_index(*member).map_err(io::Error::other)?),
        };
        Ok(Box::new(BufReader::with_capacity(BUFFER, bar.wrap_read(samples))))
    }
}

/// Whether a path is that of an archive.
pub(super) fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case("zip"))
}
