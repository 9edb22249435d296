//! Reads the tables of a mapping file, and notes every mistake with its place instead of stopping at the first.
//! <https://toml.io/en/v1.0.0>

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::path::Path;

/// Mistakes that are told of one file at most.
const MAX_MISTAKES: usize = 100;

/// Longest text of a setting.
const MAX_TEXT: usize = 500;

/// What is wrong at one place of a mapping file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Line, counted from 1.
    pub line: usize,
    /// The setting, such as `schema[2].measurement[0].units`; empty for the file as a whole.
    pub place: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mistake { line, place, message } = self;
        if place.is_empty() {
            write!(out, "line {line}: {message}")
        } else {
            write!(out, "line {line}, {place}: {message}")
        }
    }
}

/// The text of a file and what was found to be wrong in it.
#[derive(Debug)]
pub(super) struct File<'t> {
    text: &'t str,
    /// Lists that the records of what is being read are in: `^` leads no further out. Not known where `items` is wrong.
    pub(super) depth: Option<usize>,
    /// The paths that were read, until somebody takes them.
    pub(super) paths: Vec<Path>,
    /// In the order in which they were found.
    pub(super) mistakes: Vec<Mistake>,
}

/// A value of the file and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Entry<'e, 't> {
    value: &'e DeValue<'t>,
    span: Range<usize>,
    /// The setting.
    pub(super) place: String,
}

/// A table of the file, all keys of which are known.
#[derive(Clone, Debug)]
pub(super) struct Table<'e, 't> {
    members: &'e DeTable<'t>,
    span: Range<usize>,
    /// The setting; empty for the file as a whole.
    pub(super) place: String,
}

impl<'t> File<'t> {
    /// A file of which nothing is known to be wrong.
    pub(super) fn new(text: &'t str) -> Self {
        File { text, depth: Some(0), paths: Vec::new(), mistakes: Vec::new() }
    }

    /// Notes a mistake.
    pub(super) fn note(&mut self, span: &Range<usize>, place: &str, message: impl Into<String>) {
        if self.mistakes.len() < MAX_MISTAKES {
            let before = self.text.get(..span.start).unwrap_or(self.text);
            let line = before.matches('\n').count() + 1;
            let mistake = Mistake { line, place: place.to_owned(), message: message.into() };
            // What all schemas share is read for each of them.
            if !self.mistakes.contains(&mistake) {
                self.mistakes.push(mistake);
            }
        }
    }

    /// The whole file as a table; nothing if it is no TOML.
    pub(super) fn parse(&mut self) -> Option<Spanned<DeTable<'t>>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let span = error.span().unwrap_or_default();
            self.note(&span, "", error.message());
        }
        errors.is_empty().then_some(table)
    }

    /// A table under the names that are known there; others are mistakes.
    pub(super) fn open<'e, 'd>(&mut self, root: &'e Spanned<DeTable<'d>>, known: &[&str]) -> Table<'e, 'd> {
        let table = Table { members: root.get_ref(), span: root.span(), place: String::new() };
        self.refuse_others(&table, known);
        table
    }

    /// An entry that must be a table.
    pub(super) fn table<'e, 'd>(&mut self, entry: &Entry<'e, 'd>, known: &[&str]) -> Option<Table<'e, 'd>> {
        let table = self.any_table(entry)?;
        self.refuse_others(&table, known);
        Some(table)
    }

    /// An entry that must be a table, whose names are free.
    pub(super) fn any_table<'e, 'd>(&mut self, entry: &Entry<'e, 'd>) -> Option<Table<'e, 'd>> {
        let DeValue::Table(table) = entry.value else {
            self.refuse(entry, "a table");
            return None;
        };
        Some(Table { members: table, span: entry.span.clone(), place: entry.place.clone() })
    }

    /// The items of an entry that is a list, or the entry itself; at most `most`.
    pub(super) fn list<'e, 'd>(&mut self, entry: &Entry<'e, 'd>, most: usize) -> Vec<Entry<'e, 'd>> {
        let DeValue::Array(items) = entry.value else { return vec![entry.clone()] };
        let items = items.iter().enumerate().map(|(index, item)| Entry {
            value: item.get_ref(),
            span: item.span(),
            place: format!("{}[{index}]", entry.place),
        });
        let items: Vec<_> = items.collect();
        if items.len() > most {
            self.note(&entry.span, &entry.place, format!("holds {} entries, {most} are the most", items.len()));
        }
        items.into_iter().take(most).collect()
    }

    /// An entry that must be a text.
    pub(super) fn text(&mut self, entry: &Entry<'_, '_>) -> Option<String> {
        let Some(text) = entry.value.as_str() else {
            self.refuse(entry, "a text");
            return None;
        };
        if text.trim().is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
            let message = format!("must have 1 to {MAX_TEXT} printable characters");
            self.note(&entry.span, &entry.place, message);
            return None;
        }
        Some(text.to_owned())
    }

    /// An entry that must be a text, a whole number or a truth value, as text.
    pub(super) fn word(&mut self, entry: &Entry<'_, '_>) -> Option<String> {
        match entry.value {
            DeValue::Boolean(value) => Some(value.to_string()),
            DeValue::Integer(number) => Some(number.as_str().to_owned()),
            _ => self.text(entry),
        }
    }

    /// An entry that must be `true` or `false`.
    pub(super) fn flag(&mut self, entry: &Entry<'_, '_>) -> Option<bool> {
        let flag = entry.value.as_bool();
        if flag.is_none() {
            self.refuse(entry, "true or false");
        }
        flag
    }

    /// An entry that must be a whole number between two.
    pub(super) fn integer(&mut self, entry: &Entry<'_, '_>, from: i64, to: i64) -> Option<i64> {
        let number = entry.value.as_integer().filter(|number| number.radix() == 10);
        let number =
            number.and_then(|number| number.as_str().parse().ok()).filter(|number| (from..=to).contains(number));
        if number.is_none() {
            self.refuse(entry, &format!("a whole number from {from} to {to}"));
        }
        number
    }

    /// An entry that must be a path to one thing.
    pub(super) fn path(&mut self, entry: &Entry<'_, '_>) -> Option<Path> {
        let path = self.any_path(entry)?;
        if path.is_many() {
            self.note(&entry.span, &entry.place, "[*] stands in `items` only; here a path leads to one thing");
            return None;
        }
        if let Some(depth) = self.depth.filter(|depth| path.reach() > *depth) {
            let message = format!("^ leads further out than the {depth} list(s) that its records are in, by `items`");
            self.note(&entry.span, &entry.place, message);
            return None;
        }
        self.paths.push(path.clone());
        Some(path)
    }

    /// An entry that must be a path.
    pub(super) fn any_path(&mut self, entry: &Entry<'_, '_>) -> Option<Path> {
        let text = self.text(entry)?;
        match Path::parse(&text) {
            Ok(path) => Some(path),
            Err(message) => {
                self.note(&entry.span, &entry.place, message);
                None
            }
        }
    }

    /// Notes that an entry is of the wrong kind.
    pub(super) fn refuse(&mut self, entry: &Entry<'_, '_>, wanted: &str) {
        let found = entry.value.type_str();
        self.note(&entry.span, &entry.place, format!("must be {wanted}; it is of type {found}"));
    }

    /// Notes that something is wrong with an entry.
    pub(super) fn wrong(&mut self, entry: &Entry<'_, '_>, message: impl Into<String>) {
        self.note(&entry.span, &entry.place, message);
    }

    /// Notes that something is wrong with a table as a whole.
    pub(super) fn wrong_table(&mut self, table: &Table<'_, '_>, message: impl Into<String>) {
        self.note(&table.span, &table.place, message);
    }

    /// The entry of a name that must be there.
    pub(super) fn required<'e, 'd>(&mut self, table: &Table<'e, 'd>, name: &str) -> Option<Entry<'e, 'd>> {
        let entry = table.get(name);
        if entry.is_none() {
            self.wrong_table(table, format!("{name} is missing"));
        }
        entry
    }

    fn refuse_others(&mut self, table: &Table<'_, '_>, known: &[&str]) {
        for (name, entry) in table.pairs() {
            if !known.contains(&name.as_str()) {
                self.wrong(&entry, format!("there is no such setting here; there is {}", known.join(", ")));
            }
        }
    }
}

impl<'e, 't> Table<'e, 't> {
    /// The entry of a name.
    pub(super) fn get(&self, name: &str) -> Option<Entry<'e, 't>> {
        let (_, value) = self.members.iter().find(|(key, _)| key.get_ref() == name)?;
        Some(self.entry(name, value))
    }

    /// Names and entries.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (String, Entry<'e, 't>)> {
        self.members.iter().map(|(key, value)| (key.get_ref().to_string(), self.entry(key.get_ref(), value)))
    }

    fn entry(&self, name: &str, value: &'e Spanned<DeValue<'t>>) -> Entry<'e, 't> {
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let shown = if is_plain { name.to_owned() } else { format!("{name:?}") };
        let place = if self.place.is_empty() { shown } else { format!("{}.{shown}", self.place) };
        Entry { value: value.get_ref(), span: value.span(), place }
    }
}

impl Entry<'_, '_> {
    /// Whether it is `true` or `false`.
    pub(super) fn is_flag(&self) -> bool {
        self.value.as_bool().is_some()
    }

    /// Whether it is a table.
    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }
}
