//! The value of a measurement or of a part of one: a number with a unit, a word with a code, a text, a truth value.

use std::collections::BTreeMap;

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use super::code::{self, Code};
use super::file::{Entry, File, Table};
use super::path::{self, Path, Scope};
use super::said::Said;
use super::unit::{self, Unit, Units};
use crate::bundle::Source;
use crate::reading::{Quantity, Value};
use crate::{error, number, warning};

/// Settings of a value.
pub(super) const SETTINGS: [&str; 7] = ["value", "kind", "unit", "units", "ucum", "shown", "words"];

/// What a value may be.
const KINDS: &str = "quantity, code, text or boolean";

/// Longest text of a value.
const MAX_TEXT: usize = 4096;

/// The vendor's words and what each means.
type Words = BTreeMap<String, Vec<Code>>;

/// Tables that several measurements share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Units by the name of their table.
    pub(super) units: BTreeMap<String, Units>,
    /// Words by the name of their table.
    pub(super) words: BTreeMap<String, Words>,
}

/// Where a value stands and what it is.
#[derive(Clone, Debug)]
pub(super) struct Told {
    path: Path,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Quantity {
        unit: Option<Said>,
        units: Units,
        /// Where the message names no unit.
        usual: Option<Unit>,
    },
    Code(Words),
    Text,
    Boolean,
}

/// A value that was read.
#[derive(Debug)]
pub(super) struct Found<'t> {
    /// The value itself.
    pub(super) value: Value,
    /// What a value in this unit is.
    pub(super) codes: &'t [Code],
    /// Whether its unit or its word is in the table.
    pub(super) known: bool,
}

impl Shared {
    /// Reads the tables of a file.
    pub(super) fn read(file: &mut File<'_>, root: &Table<'_, '_>) -> Self {
        let mut shared = Shared::default();
        if let Some(table) = root.get("units").and_then(|entry| file.any_table(&entry)) {
            for (name, entry) in table.pairs() {
                shared.units.insert(name, unit::units(file, &entry));
            }
        }
        if let Some(table) = root.get("words").and_then(|entry| file.any_table(&entry)) {
            for (name, entry) in table.pairs() {
                shared.words.insert(name, code::words(file, &entry));
            }
        }
        shared
    }
}

impl Told {
    /// Reads the settings of a value; nothing if there is none, or if it is wrong.
    pub(super) fn read(file: &mut File<'_>, table: &Table<'_, '_>, shared: &Shared) -> Option<Self> {
        let Some(value) = table.get("value") else {
            for entry in SETTINGS.iter().filter_map(|name| table.get(name)) {
                file.wrong(&entry, "stands beside `value` only");
            }
            return None;
        };
        let path = file.path(&value);
        let kind = table.get("kind").and_then(|entry| Some((file.text(&entry)?, entry)));
        let kind = match kind.as_ref().map(|(kind, _)| kind.as_str()) {
            None | Some("quantity") => quantity(file, table, shared),
            Some("code") => {
                let words = file.required(table, "words");
                words.map(|entry| Kind::Code(named(file, &entry, &shared.words, code::words)))
            }
            Some("text") => Some(Kind::Text),
            Some("boolean") => Some(Kind::Boolean),
            Some(other) => {
                let message = format!("{other} is no kind of value; {KINDS} is");
                kind.as_ref().inspect(|(_, entry)| file.wrong(entry, message));
                None
            }
        };
        Some(Told { path: path?, kind: kind? })
    }

    /// UCUM codes that it may be given in.
    pub(super) fn ucum(&self) -> impl Iterator<Item = &str> {
        self.possible().map(|unit| unit.ucum.as_str())
    }

    /// Codes that depend on its unit.
    pub(super) fn codes(&self) -> impl Iterator<Item = &Code> {
        self.possible().flat_map(|unit| &unit.codes)
    }

    /// Whether it is a number with a unit.
    pub(super) fn is_quantity(&self) -> bool {
        matches!(self.kind, Kind::Quantity { .. })
    }

    /// The value in an item; nothing if it was not measured.
    pub(super) fn get(
        &self,
        name: &str,
        scope: &Scope<'_>,
        source: &Source<'_>,
        issues: &mut Vec<Issue>,
    ) -> Result<Option<Found<'_>>, Box<Issue>> {
        let Some(json) = self.path.get(scope) else { return Ok(None) };
        if matches!(json, Json::String(text) if text.trim().is_empty()) {
            return Ok(None);
        }
        let place = self.place(scope);
        let found = match &self.kind {
            Kind::Quantity { unit, units, usual } => {
                let unit = unit.as_ref().and_then(|unit| unit.text(scope));
                measured(json, unit, (units, usual.as_ref()), name, &place, issues)?
            }
            Kind::Code(words) => {
                let word = path::text(json).ok_or_else(|| wrong(name, "is no word", &place))?;
                coded(&word, words, (name, &place), source, issues)
            }
            Kind::Text => {
                let text = path::text(json).filter(|text| text.len() <= MAX_TEXT);
                Found::known(Value::Text(text.ok_or_else(|| wrong(name, "is no text of a usual length", &place))?))
            }
            Kind::Boolean => {
                let truth = match path::text(json).as_deref() {
                    Some("true" | "1" | "yes") => Some(true),
                    Some("false" | "0" | "no") => Some(false),
                    _ => None,
                };
                Found::known(Value::Boolean(truth.ok_or_else(|| wrong(name, "is neither true nor false", &place))?))
            }
        };
        Ok(Some(found))
    }

    /// Where in the message it stands.
    pub(super) fn place(&self, scope: &Scope<'_>) -> String {
        self.path.place(scope)
    }

    fn possible(&self) -> impl Iterator<Item = &Unit> {
        let (units, usual) = match &self.kind {
            Kind::Quantity { units, usual, .. } => (Some(units.values()), usual.as_ref()),
            Kind::Code(_) | Kind::Text | Kind::Boolean => (None, None),
        };
        units.into_iter().flatten().chain(usual)
    }
}

impl Found<'_> {
    fn known(value: Value) -> Self {
        Found { value, codes: &[], known: true }
    }
}

fn quantity(file: &mut File<'_>, table: &Table<'_, '_>, shared: &Shared) -> Option<Kind> {
    let usual = table.get("ucum").and_then(|entry| unit::ucum(file, &entry));
    let shown = table.get("shown").and_then(|entry| file.text(&entry));
    let usual = usual.map(|ucum| Unit { ucum, shown, ..Unit::default() });
    let unit = table.get("unit").and_then(|entry| Said::read(file, &entry));
    let units = table.get("units").map(|entry| named(file, &entry, &shared.units, unit::units)).unwrap_or_default();
    let there = |name: &str| table.get(name).is_some();
    if there("unit") != there("units") || !(there("unit") || there("ucum")) {
        let text = "a number needs its unit: ucum if it is always the same, or unit (where it stands) with units (what it means)";
        file.wrong_table(table, text);
        return None;
    }
    Some(Kind::Quantity { unit, units, usual })
}

/// A table, or the name of one that several share.
fn named<T: Clone + Default>(
    file: &mut File<'_>,
    entry: &Entry<'_, '_>,
    shared: &BTreeMap<String, T>,
    read: impl Fn(&mut File<'_>, &Entry<'_, '_>) -> T,
) -> T {
    if entry.is_table() {
        return read(file, entry);
    }
    let Some(name) = file.text(entry) else { return T::default() };
    if !shared.contains_key(&name) {
        let known: Vec<&str> = shared.keys().map(String::as_str).collect();
        file.wrong(entry, format!("there is no table {name}; there is {}", known.join(", ")));
    }
    shared.get(&name).cloned().unwrap_or_default()
}

fn measured<'t>(
    json: &Json,
    written: Option<String>,
    (units, usual): (&'t Units, Option<&'t Unit>),
    name: &str,
    place: &str,
    issues: &mut Vec<Issue>,
) -> Result<Found<'t>, Box<Issue>> {
    let text = path::text(json).filter(|text| number::is_number(text) && !matches!(json, Json::Bool(_)));
    let text = text.ok_or_else(|| wrong(name, "is not a number", place))?;
    let unit = match &written {
        Some(written) => units.get(written),
        None => usual,
    };
    let shown = written.unwrap_or_default();
    let Some(unit) = unit else {
        let text_of_unit = format!("Unit \"{shown}\" of {name} is not in the table of units; kept as text");
        issues.push(warning(IssueCode::CodeInvalid, text_of_unit, place));
        let quantity = Quantity { value: text.into(), unit: shown, ucum: None };
        return Ok(Found { value: Value::Quantity(quantity), codes: &[], known: false });
    };
    let value = if unit.shift == 0 { Some(text) } else { number::shifted(&text, unit.shift) };
    let value = value.ok_or_else(|| wrong(name, "is a number of unusual length", place))?;
    let shown = unit.shown.clone().unwrap_or_else(|| match (shown.is_empty(), unit.shift) {
        (false, 0) => shown,
        _ => unit.ucum.clone(),
    });
    let quantity = Quantity { value: value.into(), unit: shown, ucum: Some(unit.ucum.clone()) };
    Ok(Found { value: Value::Quantity(quantity), codes: &unit.codes, known: true })
}

fn coded<'t>(
    word: &str,
    words: &Words,
    (name, place): (&str, &str),
    source: &Source<'_>,
    issues: &mut Vec<Issue>,
) -> Found<'t> {
    let known = words.get(word);
    if known.is_none() {
        let text = format!("{name} \"{word}\" is not in the table of words; published under the vendor's word only");
        issues.push(warning(IssueCode::CodeInvalid, text, place));
    }
    let mut codings: Vec<Json> = known.into_iter().flatten().map(Code::coding).collect();
    codings.push(fhir::object! { "system": source.code_system(name), "code": code_of(word) });
    let concept = fhir::object! { "coding": codings, "text": word };
    Found { value: Value::Concept(concept), codes: &[], known: known.is_some() }
}

/// A word as a FHIR code, which has single blanks inside and none around.
fn code_of(word: &str) -> String {
    word.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn wrong(name: &str, what: &str, place: &str) -> Issue {
    error(IssueCode::Value, format!("{name} {what}; raw data kept"), place)
}
