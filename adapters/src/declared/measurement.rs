//! A measurement of a mapping file: where its value stands, what it is called, and which parts it has.

use std::collections::BTreeSet;

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use super::code::{self, Code};
use super::file::{Entry, File, Table};
use super::path::Scope;
use super::rule::{self, Rule};
use super::value::{self, Shared, Told};
use super::vital::{self, PRESSURE_UNIT, PRESSURES, Vital};
use crate::bundle::Source;
use crate::reading::{Component, Concept, Reading, Value};
use crate::{error, table, warning};

/// Measurements of one schema at most.
const MAX_MEASUREMENTS: usize = 64;

/// Parts of one measurement at most.
const MAX_PARTS: usize = 32;

/// Longest name of a measurement or part: it stands in identifiers.
const MAX_NAME: usize = 40;

/// A measurement: it becomes an Observation.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    /// What follows the record's id in the identifier, and the vendor's own code.
    pub(super) name: String,
    text: String,
    codes: Vec<Code>,
    category: String,
    vital: Option<&'static Vital>,
    when: Vec<Rule>,
    value: Option<Told>,
    parts: Vec<Part>,
}

/// A part of a measurement: it becomes a component.
#[derive(Clone, Debug)]
struct Part {
    name: String,
    text: String,
    codes: Vec<Code>,
    value: Told,
    required: bool,
}

/// Reads the measurements of a schema.
pub(super) fn read_all(file: &mut File<'_>, entry: &Entry<'_, '_>, shared: &Shared) -> Vec<Measurement> {
    let mut names = BTreeSet::new();
    let entries = file.list(entry, MAX_MEASUREMENTS);
    let read = entries.iter().filter_map(|entry| {
        let measurement = Measurement::read(file, entry, shared)?;
        if !names.insert(measurement.name.clone()) {
            file.wrong(entry, format!("another measurement of this schema is called {} too", measurement.name));
        }
        Some(measurement)
    });
    read.collect()
}

impl Measurement {
    /// The reading of an item; nothing if it was not measured there. An error is a reason to keep it back.
    pub(super) fn reading(
        &self,
        scope: &Scope<'_>,
        source: &Source<'_>,
        issues: &mut Vec<Issue>,
    ) -> Result<Option<Reading>, Box<Issue>> {
        if !self.when.iter().all(|rule| rule.holds(scope)) {
            return Ok(None);
        }
        let own = match &self.value {
            Some(told) => told.get(&self.name, scope, source, issues)?,
            None => None,
        };
        let mut parts = Vec::new();
        for part in &self.parts {
            parts.push((part, part.value.get(&part.name, scope, source, issues)?));
        }
        let measured = |(part, found): &(&Part, Option<_>)| found.is_some() && part.value.is_quantity();
        if own.is_none() && (self.value.is_some() || !parts.iter().any(measured)) {
            return Ok(None);
        }
        let quantities = parts.iter().filter(|(part, _)| part.value.is_quantity());
        let known = quantities.filter_map(|(_, found)| found.as_ref()).chain(&own).all(|found| found.known);
        if self.vital.is_some() && !known {
            let text = format!("{} is a vital sign, whose unit must be known; raw data kept", self.name);
            let told = self.value.iter().chain(self.parts.iter().map(|part| &part.value)).next();
            let place = told.map_or_else(|| scope.place.clone(), |told| told.place(scope));
            return Err(Box::new(error(IssueCode::CodeInvalid, text, &place)));
        }
        let codes: Vec<&Code> = own.iter().flat_map(|found| found.codes).chain(&self.codes).collect();
        let components = parts.into_iter().filter_map(|(part, found)| {
            let value = match found {
                Some(found) => found.value,
                None if part.required => {
                    let text = format!("{} was not measured; the rest of {} is kept", part.text, self.name);
                    issues.push(warning(IssueCode::Incomplete, text, &part.value.place(scope)));
                    Value::Unknown
                }
                None => return None,
            };
            let concept = concept(&part.name, &part.text, part.codes.iter(), source);
            Some(Component { concept, value, in_range: None })
        });
        Ok(Some(Reading {
            suffix: self.name.clone(),
            category: self.category.clone(),
            profile: self.profile().map(str::to_owned),
            components: components.collect(),
            concept: concept(&self.name, &self.text, codes.into_iter(), source),
            value: own.map(|found| found.value),
            has_named_parts: true,
            ..Reading::default()
        }))
    }

    /// The profile that it claims.
    fn profile(&self) -> Option<&'static str> {
        let base = (self.category == "vital-signs").then_some("vitalsigns");
        self.vital.map(|vital| vital.profile).or(base)
    }

    fn read(file: &mut File<'_>, entry: &Entry<'_, '_>, shared: &Shared) -> Option<Self> {
        let own = ["name", "text", "code", "category", "when", "part"];
        let table = file.table(entry, &[&own[..], &value::SETTINGS[..]].concat())?;
        let name = name(file, &table);
        let text = text(file, &table, name.as_deref());
        let codes = table.get("code").map(|entry| code::codes(file, &entry)).unwrap_or_default();
        let when = table.get("when").map(|entry| rule::rules(file, &entry)).unwrap_or_default();
        let value = Told::read(file, &table, shared);
        let mut names = BTreeSet::new();
        let entries = table.get("part").map(|entry| file.list(&entry, MAX_PARTS)).unwrap_or_default();
        let mut parts = Vec::new();
        for entry in &entries {
            let Some(part) = Part::read(file, entry, shared) else { continue };
            if !names.insert(part.name.clone()) {
                file.wrong(entry, format!("another part is called {} too", part.name));
            }
            parts.push(part);
        }
        if table.get("value").is_none() && entries.is_empty() {
            file.wrong_table(&table, "says neither where its value is nor which parts it has");
        }
        let vital = vital::of(codes.iter().chain(value.iter().flat_map(Told::codes)));
        let category = category(file, &table, vital.is_some());
        let mut measurement =
            Measurement { name: name?, text: text?, codes, category: category?, vital, when, value, parts };
        measurement.check(file, &table);
        Some(measurement)
    }

    /// Holds a vital sign against its profile.
    fn check(&mut self, file: &mut File<'_>, table: &Table<'_, '_>) {
        let of_parts: Vec<&str> = self.parts.iter().flat_map(|part| part.value.ucum()).collect();
        let is_vital = self.category == "vital-signs";
        for wrong in of_parts.iter().filter(|code| is_vital && !vital::UNITS.contains(code)) {
            let message = format!("{wrong} is no unit of a part of a vital sign; {} are", vital::UNITS.join(", "));
            file.wrong_table(table, message);
        }
        let Some(vital) = self.vital else { return };
        if !self.codes.iter().any(|code| code.is_loinc(vital.loinc)) {
            file.wrong_table(table, format!("a vital sign of this kind needs \"LOINC {}\" in its code", vital.loinc));
        }
        if vital.units.is_empty() {
            self.check_pressures(file, table);
            return;
        }
        let Some(told) = &self.value else {
            file.wrong_table(table, format!("LOINC {} needs a value", vital.loinc));
            return;
        };
        let allowed = vital.units.join(", ");
        if !told.is_quantity() {
            file.wrong_table(table, format!("the value of LOINC {} is a number with a unit: {allowed}", vital.loinc));
        }
        for wrong in told.ucum().filter(|code| !vital.units.contains(code)) {
            let message = format!("the profile {} takes {allowed}; not {wrong}", vital.profile);
            file.wrong_table(table, message);
        }
    }

    /// Both pressures are there, or it is said that they were not measured.
    fn check_pressures(&mut self, file: &mut File<'_>, table: &Table<'_, '_>) {
        if table.get("value").is_some() {
            file.wrong_table(table, "a blood pressure has no value of its own; its parts have");
        }
        for loinc in PRESSURES {
            let part = self.parts.iter_mut().find(|part| part.codes.iter().any(|code| code.is_loinc(loinc)));
            let Some(part) = part else {
                file.wrong_table(table, format!("a blood pressure needs a part with the code \"LOINC {loinc}\""));
                continue;
            };
            part.required = true;
            if !part.value.is_quantity() || part.value.ucum().any(|code| code != PRESSURE_UNIT) {
                file.wrong_table(table, format!("the unit of {} is {PRESSURE_UNIT}", part.name));
            }
        }
    }
}

impl Part {
    fn read(file: &mut File<'_>, entry: &Entry<'_, '_>, shared: &Shared) -> Option<Self> {
        let own = ["name", "text", "code", "required"];
        let table = file.table(entry, &[&own[..], &value::SETTINGS[..]].concat())?;
        let name = name(file, &table);
        let text = text(file, &table, name.as_deref());
        let codes = table.get("code").map(|entry| code::codes(file, &entry)).unwrap_or_default();
        let required = table.get("required").and_then(|entry| file.flag(&entry)).unwrap_or(false);
        file.required(&table, "value");
        let value = Told::read(file, &table, shared);
        Some(Part { name: name?, text: text?, codes, value: value?, required })
    }
}

fn name(file: &mut File<'_>, table: &Table<'_, '_>) -> Option<String> {
    let entry = file.required(table, "name")?;
    let name = file.text(&entry)?;
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if name.len() > MAX_NAME || !name.bytes().all(is_plain) {
        let message = format!("is a name of up to {MAX_NAME} small letters, digits, - and _; it stands in identifiers");
        file.wrong(&entry, message);
        return None;
    }
    Some(name)
}

/// What people read: the name with blanks, if nothing is said.
fn text(file: &mut File<'_>, table: &Table<'_, '_>, name: Option<&str>) -> Option<String> {
    match table.get("text") {
        Some(entry) => file.text(&entry),
        None => name.map(|name| name.replace(['-', '_'], " ")),
    }
}

fn category(file: &mut File<'_>, table: &Table<'_, '_>, is_vital: bool) -> Option<String> {
    let Some(entry) = table.get("category") else {
        if is_vital {
            return Some("vital-signs".to_owned());
        }
        file.wrong_table(table, format!("category is missing; {} are known", table::categories().join(", ")));
        return None;
    };
    let category = file.text(&entry)?;
    if is_vital && category != "vital-signs" {
        file.wrong(&entry, "its code is that of a vital sign: the category is vital-signs");
        return None;
    }
    if !table::categories().contains(&category.as_str()) {
        file.wrong(&entry, format!("{category} is no category; {} are", table::categories().join(", ")));
        return None;
    }
    Some(category)
}

fn concept<'c>(name: &str, text: &str, codes: impl Iterator<Item = &'c Code>, source: &Source<'_>) -> Concept {
    let mut codings: Vec<Json> = codes.map(Code::coding).collect();
    codings.push(fhir::object! { "system": source.code_system("measurement"), "code": name });
    Concept { codings, text: Some(text.to_owned()) }
}
