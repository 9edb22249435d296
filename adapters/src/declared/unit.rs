//! Tables from the vendor's units to UCUM: `kg = "kg"`, or a table with `ucum`, `shown`, `shift` and `code`.
//! <https://ucum.org/ucum>

use std::collections::BTreeMap;

use super::code::{self, Code};
use super::file::{Entry, File};

/// Units of one table at most.
const MAX_UNITS: usize = 100;

/// Powers of ten that a value may be shifted by.
const MAX_SHIFT: i64 = 12;

/// What a unit of the vendor means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// Its UCUM code.
    pub(super) ucum: String,
    /// How it is shown to people; as the vendor wrote it, if nothing is said.
    pub(super) shown: Option<String>,
    /// Power of ten between the vendor's number and the one in this unit.
    pub(super) shift: i32,
    /// What a value in this unit is, where that depends on the unit: mass and moles have codes of their own.
    pub(super) codes: Vec<Code>,
}

/// Units by the vendor's names.
pub(super) type Units = BTreeMap<String, Unit>;

/// Reads a table of units.
pub(super) fn units(file: &mut File<'_>, entry: &Entry<'_, '_>) -> Units {
    let Some(table) = file.any_table(entry) else { return Units::new() };
    let pairs: Vec<_> = table.pairs().collect();
    if pairs.is_empty() || pairs.len() > MAX_UNITS {
        file.wrong(entry, format!("holds {} units; 1 to {MAX_UNITS} are right", pairs.len()));
    }
    pairs.into_iter().take(MAX_UNITS).filter_map(|(name, entry)| Some((name, unit(file, &entry)?))).collect()
}

/// Reads a UCUM code.
pub(super) fn ucum(file: &mut File<'_>, entry: &Entry<'_, '_>) -> Option<String> {
    let code = file.text(entry)?;
    if let Err(cause) = fhir::ucum::validate(&code) {
        file.wrong(entry, format!("{code} is not valid UCUM: {cause}"));
        return None;
    }
    Some(code)
}

fn unit(file: &mut File<'_>, entry: &Entry<'_, '_>) -> Option<Unit> {
    if !entry.is_table() {
        return ucum(file, entry).map(|ucum| Unit { ucum, ..Unit::default() });
    }
    let table = file.table(entry, &["ucum", "shown", "shift", "code"])?;
    let ucum = file.required(&table, "ucum").and_then(|entry| ucum(file, &entry));
    let shown = table.get("shown").and_then(|entry| file.text(&entry));
    let shift = table.get("shift").and_then(|entry| file.integer(&entry, -MAX_SHIFT, MAX_SHIFT));
    let codes = table.get("code").map(|entry| code::codes(file, &entry)).unwrap_or_default();
    Some(Unit { ucum: ucum?, shown, shift: shift.and_then(|it| i32::try_from(it).ok()).unwrap_or(0), codes })
}
