//! The files of an export, as they grow: lines are gathered to parts, and parts saved.

use std::collections::{BTreeMap, HashSet};

use store::bulk::{self, File, Step};

use super::warned;
use crate::app::App;
use crate::error::Error;
use crate::random::Random;
use crate::rest::operation::export::{Checksum, deflate};

/// Resources.
pub(super) const OUTPUT: &str = "output";
/// Bundles of what was deleted.
pub(super) const DELETED: &str = "deleted";
/// `OperationOutcome`s.
pub(super) const ERROR: &str = "error";

/// Bytes after which what was gathered is saved.
const PART: usize = 1 << 20;
/// Pages after which the place is saved, whatever was gathered.
const PAGES: usize = 50;
/// Versions that are looked at in one page, and in the first.
const PAGE: (usize, usize) = (500, 50);
/// Bytes of resources that a page should have.
const PAGE_BYTES: usize = 4 << 20;
/// References that are remembered, so that they are not written again and again.
const REMEMBERED: usize = 50_000;

/// All files of an export.
pub(super) struct Files {
    random: Random,
    most: i64,
    all: Vec<File>,
    /// What was gathered for the files at these places.
    gathered: BTreeMap<usize, Vec<u8>>,
    bytes: usize,
    pages: usize,
    page: usize,
    references: Vec<(String, String)>,
    done: Vec<(String, String)>,
    remembered: HashSet<(String, String)>,
}

impl Files {
    /// Those that are saved.
    pub(super) async fn resumed(app: &App, export: &str) -> Result<Self, Error> {
        Ok(Files {
            random: app.random.clone(),
            most: app.config.bulk_file_resources.into(),
            all: bulk::files(&app.store, export).await?,
            gathered: BTreeMap::new(),
            bytes: 0,
            pages: 0,
            page: PAGE.1,
            references: Vec::new(),
            done: Vec::new(),
            remembered: HashSet::new(),
        })
    }

    /// What has to be said of the export.
    pub(super) fn tell(&mut self, warnings: &[String]) {
        for warning in warnings {
            self.add(ERROR, "OperationOutcome", &warned(warning).to_string());
        }
    }

    /// Adds a line to the file of its kind and type that is not full.
    pub(super) fn add(&mut self, kind: &str, resource_type: &str, line: &str) {
        let is_open =
            |file: &File| file.kind == kind && file.resource_type == resource_type && file.resources < self.most;
        let place = self.all.iter().rposition(is_open).unwrap_or_else(|| {
            let number = i64::try_from(self.all.len()).unwrap_or(i64::MAX);
            let (name, kind, resource_type) = (self.random.uuid(), kind.to_owned(), resource_type.to_owned());
            self.all.push(File { name, number, kind, resource_type, ..File::default() });
            self.all.len() - 1
        });
        self.all[place].resources += 1;
        let gathered = self.gathered.entry(place).or_default();
        gathered.extend_from_slice(line.as_bytes());
        gathered.push(b'\n');
        self.bytes += line.len() + 1;
    }

    /// Notes that something is referred to.
    pub(super) fn refer(&mut self, resource_type: &str, id: &str) {
        let reference = (resource_type.to_owned(), id.to_owned());
        if self.remembered.len() >= REMEMBERED {
            self.remembered.clear();
        }
        if self.remembered.insert(reference.clone()) {
            self.references.push(reference);
        }
    }

    /// Notes that something that is referred to was looked for.
    pub(super) fn looked_for(&mut self, references: Vec<(String, String)>) {
        self.done.extend(references);
    }

    /// How many versions the next page should look at.
    pub(super) fn page(&self) -> usize {
        self.page
    }

    /// Notes how large the resources of a page were: the next one has fewer where they are large.
    pub(super) fn was_read(&mut self, resources: usize, bytes: usize) {
        let fitting = PAGE_BYTES * resources.max(1) / bytes.max(1);
        self.page = fitting.clamp(1, PAGE.0.min(self.page * 4));
    }

    /// Notes that a page was read, and says whether what was gathered should be saved: always after what was referred
    /// to, which is found by what is saved of it.
    pub(super) fn is_time_to_save(&mut self) -> bool {
        self.pages += 1;
        self.bytes >= PART || self.pages >= PAGES || !self.done.is_empty() || self.references.len() >= REMEMBERED
    }

    /// What was gathered since it was asked last.
    pub(super) async fn step(&mut self) -> Result<Step, Error> {
        let gathered = std::mem::take(&mut self.gathered);
        let files = self.all.clone();
        let compress = move || {
            let parts = gathered.into_iter().map(|(place, bytes)| {
                let mut file = files[place].clone();
                file.crc = Checksum::of(file.crc, file.bytes).with(&bytes);
                file.bytes += i64::try_from(bytes.len()).unwrap_or(i64::MAX);
                file.chunks += 1;
                Ok((place, file, deflate(&bytes)?))
            });
            parts.collect::<std::io::Result<Vec<_>>>()
        };
        let parts = tokio::task::spawn_blocking(compress).await.map_err(Error::internal)?.map_err(Error::internal)?;
        let mut step = Step {
            references: std::mem::take(&mut self.references),
            done: std::mem::take(&mut self.done),
            ..Step::default()
        };
        for (place, file, part) in parts {
            self.all[place] = file.clone();
            step.chunks.push((file, part));
        }
        (self.bytes, self.pages) = (0, 0);
        Ok(step)
    }
}
