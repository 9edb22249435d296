//! Codes of a mapping file: `"LOINC 8867-4"`, or a table with system, code and display; and tables from the vendor's
//! words to codes.

use std::collections::BTreeMap;

use fhir::json::{Json, Object};

use super::file::{Entry, File};
use crate::table;

/// Codes of one thing at most.
const MAX_CODES: usize = 8;

/// Words of one table at most.
const MAX_WORDS: usize = 1000;

/// Names of terminologies, as they stand before a code.
const SYSTEMS: [(&str, &str); 3] =
    [("LOINC", "http://loinc.org"), ("SNOMED", "http://snomed.info/sct"), ("MDC", "urn:iso:std:iso:11073:10101")];

/// The system of LOINC.
pub(super) const LOINC: &str = "http://loinc.org";

/// One code of one terminology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Code {
    /// Its system.
    system: String,
    /// The code itself.
    symbol: String,
    display: Option<String>,
}

impl Code {
    /// Whether it is this code of LOINC.
    pub(super) fn is_loinc(&self, code: &str) -> bool {
        self.system == LOINC && self.symbol == code
    }

    /// As a FHIR Coding, with the display of the table of published codes where the file gives none.
    pub(super) fn coding(&self) -> Json {
        let Some(display) = &self.display else { return table::coding(&self.system, &self.symbol) };
        let mut coding = Object::new();
        coding.insert("system", self.system.as_str());
        coding.insert("code", self.symbol.as_str());
        coding.insert("display", display.as_str());
        coding.into()
    }
}

/// Reads one code or a list of them.
pub(super) fn codes(file: &mut File<'_>, entry: &Entry<'_, '_>) -> Vec<Code> {
    file.list(entry, MAX_CODES).iter().filter_map(|entry| code(file, entry)).collect()
}

/// Reads a table of the vendor's words and what each means.
pub(super) fn words(file: &mut File<'_>, entry: &Entry<'_, '_>) -> BTreeMap<String, Vec<Code>> {
    let Some(table) = file.any_table(entry) else { return BTreeMap::new() };
    let pairs: Vec<_> = table.pairs().collect();
    if pairs.len() > MAX_WORDS {
        file.wrong(entry, format!("holds {} words, {MAX_WORDS} are the most", pairs.len()));
        return BTreeMap::new();
    }
    pairs.into_iter().map(|(word, entry)| (word, codes(file, &entry))).collect()
}

fn code(file: &mut File<'_>, entry: &Entry<'_, '_>) -> Option<Code> {
    if entry.is_table() {
        let table = file.table(entry, &["system", "code", "display"])?;
        let mut text = |name: &str| file.required(&table, name).and_then(|entry| file.text(&entry));
        let (system, code) = (text("system"), text("code"));
        let display = table.get("display").and_then(|entry| file.text(&entry));
        return known(file, entry, Code { system: system_of(&system?), symbol: code?, display });
    }
    let text = file.text(entry)?;
    let Some((system, code)) = text.split_once(' ') else {
        let names: Vec<&str> = SYSTEMS.iter().map(|(name, _)| *name).collect();
        file.wrong(
            entry,
            format!("a code is written as \"{} CODE\", or as a table with system and code", names.join("|")),
        );
        return None;
    };
    known(file, entry, Code { system: system_of(system), symbol: code.trim().to_owned(), display: None })
}

/// The code, if its system is an address and its check digit is right.
fn known(file: &mut File<'_>, entry: &Entry<'_, '_>, code: Code) -> Option<Code> {
    let Code { system, symbol: text, .. } = &code;
    let wrong = match system.as_str() {
        LOINC if !is_loinc(text) => Some("is no LOINC code: its check digit is wrong"),
        "http://snomed.info/sct" if !is_snomed(text) => Some("is no SNOMED CT concept: its check digit is wrong"),
        "urn:iso:std:iso:11073:10101" if !text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some("is no code of ISO 11073: it has digits only")
        }
        system if !system.contains(':') => Some("needs LOINC, SNOMED or MDC before it, or the address of its system"),
        _ if text.is_empty() || text.contains(char::is_whitespace) => Some("is no code: white space is none of it"),
        _ => None,
    };
    if let Some(wrong) = wrong {
        file.wrong(entry, format!("{text} {wrong}"));
        return None;
    }
    Some(code)
}

fn system_of(name: &str) -> String {
    SYSTEMS.iter().find(|(known, _)| *known == name).map_or(name, |(_, system)| system).to_owned()
}

/// Digits, a hyphen, and the check digit: every second digit from the right doubled, as for cards.
/// <https://loinc.org/kb/users-guide/loinc-code-structure/>
fn is_loinc(code: &str) -> bool {
    let Some((number, check)) = code.split_once('-') else { return false };
    let digits = |text: &str| !text.is_empty() && text.len() <= 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(number) || check.len() != 1 || !digits(check) {
        return false;
    }
    let sum: u32 = number
        .bytes()
        .rev()
        .enumerate()
        .map(|(index, byte)| {
            let digit = u32::from(byte - b'0') * if index % 2 == 0 { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    check.parse() == Ok((10 - sum % 10) % 10)
}

/// Six to eighteen digits, the last being Verhoeff's check digit.
/// <https://confluence.ihtsdotools.org/display/DOCRELFMT/6.2+Check-digit>
fn is_snomed(code: &str) -> bool {
    const PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    if !(6..=18).contains(&code.len()) || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let check = code.bytes().rev().enumerate().fold(0, |check, (position, byte)| {
        let digit = (0..position % 8).fold(byte - b'0', |digit, _| PERMUTATION[usize::from(digit)]);
        dihedral(check, digit)
    });
    check == 0
}

/// The product of two elements of the dihedral group of order ten.
fn dihedral(left: u8, right: u8) -> u8 {
    match (left < 5, right < 5) {
        (true, true) => (left + right) % 5,
        (true, false) => (left + right - 5) % 5 + 5,
        (false, true) => (left - 5 + 5 - right) % 5 + 5,
        (false, false) => (left + 5 - right) % 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_tell_typing_errors() {
        for good in ["8867-4", "85354-9", "8480-6", "2708-6", "29463-7", "55423-8", "93832-4", "19935-6"] {
            assert!(is_loinc(good), "{good}");
        }
        for bad in ["8867-5", "8876-4", "8867", "-4", "8867-44", "LP8867-4"] {
            assert!(!is_loinc(bad), "{bad}");
        }
        for good in ["364075005", "33586001", "75367002", "40199007", "74400008"] {
            assert!(is_snomed(good), "{good}");
        }
        for bad in ["364075006", "33568001", "12", "36407500x", ""] {
            assert!(!is_snomed(bad), "{bad}");
        }
    }
}
