//! A sort of record: which list it is in, how it is told from others, and what becomes of it.

use std::collections::BTreeSet;

use super::file::{File, Table};
use super::measurement::{self, Measurement};
use super::path::{Path, Scope, Step};
use super::record::{self, Parts, Patient, Record};
use super::rule::{self, Rule};
use super::unread::Known;
use super::value::Shared;

/// Schemas of one file at most.
const MAX_SCHEMAS: usize = 64;

/// Lists of one schema at most.
const MAX_LISTS: usize = 8;

/// Settings of a schema.
const SETTINGS: [&str; 6] = ["name", "items", "when", "ignore", "record", "measurement"];

/// Where records stand: at the end of a path; or, without one, the message itself, or each item of the list that it is.
pub(super) type List = Option<Path>;

/// One sort of record.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) name: String,
    /// The lists that it takes records of.
    pub(super) lists: Vec<List>,
    when: Vec<Rule>,
    /// How it is read; nothing if it is ignored.
    pub(super) record: Option<Record>,
    pub(super) measurements: Vec<Measurement>,
    /// All paths that it speaks of, but for those to its lists.
    paths: Vec<Path>,
}

impl Schema {
    /// Whether a record is of this sort.
    pub(super) fn holds(&self, scope: &Scope<'_>) -> bool {
        self.when.iter().all(|rule| rule.holds(scope))
    }

    /// Whether all of a list is ignored, however long it is.
    pub(super) fn ignores(&self, list: &List) -> bool {
        self.record.is_none() && self.when.is_empty() && self.lists.contains(list)
    }

    /// Adds what it speaks of; `read` are the lists that some schema takes records of.
    pub(super) fn mention(&self, known: &mut Known, read: &[List]) {
        mention(known, &self.lists, &self.paths);
        for list in self.lists.iter().filter(|list| self.ignores(list) && !read.contains(list)) {
            for steps in list.iter().flat_map(Path::steps_to_items) {
                known.add_all(steps);
            }
        }
    }
}

/// Adds lists, and what is said of the items of each.
pub(super) fn mention(known: &mut Known, lists: &[List], paths: &[Path]) {
    let itself: [&[Step]; 2] = [&[], &[Step::Each]];
    for list in lists {
        let tops: Vec<&[Step]> = list.as_ref().map_or_else(|| itself.to_vec(), |path| path.steps_to_items().collect());
        for top in tops {
            known.add(top);
            for steps in paths.iter().flat_map(|path| path.within(top)) {
                known.add(&steps);
            }
        }
    }
}

/// Lists that records of any of these are in.
pub(super) fn depth(lists: &[List]) -> usize {
    lists.iter().map(|list| list.as_ref().map_or(0, Path::depth)).min().unwrap_or_default()
}

/// Every list that a schema takes records of and does not ignore, once; nothing if one of them is wrong.
pub(super) fn all_lists(file: &mut File<'_>, root: &Table<'_, '_>) -> Option<Vec<List>> {
    let general = lists(file, root);
    let mut all: Vec<List> = Vec::new();
    let schemas = root.get("schema").map(|entry| file.list(&entry, MAX_SCHEMAS)).unwrap_or_default();
    for entry in schemas.iter().filter(|entry| entry.is_table()) {
        let Some(table) = file.any_table(entry) else { continue };
        let own = if table.get("items").is_some() { lists(file, &table) } else { general.clone() };
        let ignores = table.get("ignore").is_some_and(|entry| file.flag(&entry) == Some(true));
        let read = own?.into_iter().filter(|_| !(ignores && table.get("when").is_none()));
        for list in read {
            if !all.contains(&list) {
                all.push(list);
            }
        }
    }
    Some(all)
}

/// Reads the schemas of a file.
pub(super) fn read_all(
    file: &mut File<'_>,
    root: &Table<'_, '_>,
    (general, patient): (Option<&Table<'_, '_>>, Option<&Patient>),
    shared: &Shared,
) -> Vec<Schema> {
    let Some(entry) = file.required(root, "schema") else { return Vec::new() };
    let mut names = BTreeSet::new();
    let mut schemas: Vec<Schema> = Vec::new();
    let mut unconditional: Vec<(String, Vec<List>)> = Vec::new();
    for entry in file.list(&entry, MAX_SCHEMAS) {
        let Some(table) = file.table(&entry, &SETTINGS) else { continue };
        let name = file.required(&table, "name").and_then(|entry| file.text(&entry));
        let lists = if table.get("items").is_some() { lists(file, &table) } else { lists(file, root) };
        file.depth = lists.as_deref().map(depth);
        file.paths.clear();
        let when = table.get("when").map(|entry| rule::rules(file, &entry)).unwrap_or_default();
        let lists = lists.unwrap_or_default();
        let taken = |list: &List| unconditional.iter().find(|(_, before)| before.contains(list));
        if let Some((before, _)) = lists.first().and_then(taken).filter(|_| lists.iter().all(|it| taken(it).is_some()))
        {
            file.wrong(&entry, format!("is never reached: the schema {before} before it takes everything"));
        }
        if table.get("when").is_none() {
            unconditional.push((name.clone().unwrap_or_default(), lists.clone()));
        }
        let Some((record, measurements)) = content(file, &table, (general, patient), shared) else { continue };
        let Some(name) = name else { continue };
        if !names.insert(name.clone()) {
            file.wrong(&entry, format!("another schema is called {name} too"));
        }
        let paths = std::mem::take(&mut file.paths);
        schemas.push(Schema { name, lists, when, record, measurements, paths });
    }
    schemas
}

/// How a record of a schema is read, and what was measured; nothing if that is wrong.
fn content(
    file: &mut File<'_>,
    table: &Table<'_, '_>,
    (general, patient): (Option<&Table<'_, '_>>, Option<&Patient>),
    shared: &Shared,
) -> Option<(Option<Record>, Vec<Measurement>)> {
    let ignored = table.get("ignore").filter(|entry| file.flag(entry) == Some(true));
    if ignored.is_some() {
        for entry in ["record", "measurement"].iter().filter_map(|name| table.get(name)) {
            file.wrong(&entry, "is never read: the schema says ignore = true");
        }
        return Some((None, Vec::new()));
    }
    let own = table.get("record").and_then(|entry| file.table(&entry, &record::SETTINGS));
    let parts = Parts::read(file, own.as_ref(), general);
    let measurements = match table.get("measurement") {
        Some(entry) if parts.is_always_deleted() => {
            file.wrong(&entry, "is never read: all records of the schema are deleted");
            Vec::new()
        }
        Some(entry) => measurement::read_all(file, &entry, shared),
        None if parts.says_something() => Vec::new(),
        None => {
            file.wrong_table(
                table,
                "measurement is missing; without one a schema has record.deleted, record.device.battery or ignore = true",
            );
            Vec::new()
        }
    };
    let record = parts.record(file, table, patient)?;
    Some((Some(record), measurements))
}

/// The lists that a table names; the message itself if it names none.
fn lists(file: &mut File<'_>, table: &Table<'_, '_>) -> Option<Vec<List>> {
    let Some(entry) = table.get("items") else { return Some(vec![None]) };
    let entries = file.list(&entry, MAX_LISTS);
    let mut lists: Vec<List> = Vec::new();
    for entry in &entries {
        let path = file.any_path(entry)?;
        if path.reach() > 0 {
            file.wrong(entry, "a path to records begins at the top of the message: there is nothing further out");
            return None;
        }
        if path.is_choice() {
            let text =
                "is one list; several are named as items = [\"a[*]\", \"b[*]\"], and all that are there are read";
            file.wrong(entry, text);
            return None;
        }
        let path = path.at_top();
        if lists.contains(&Some(path.clone())) {
            file.wrong(entry, format!("{} is named twice", path.written()));
        }
        lists.push(Some(path));
    }
    if lists.is_empty() {
        file.wrong(&entry, "names no list; leave it out where the message itself is the record");
    }
    Some(lists)
}
