//! Search values made of index values.

use fhir::date::format_instant;

use super::random::SplitMix64;
use crate::entry::{IndexValue, Target};
use crate::query::ParamKind;

/// What is searched for where nothing is known, by kind: odd, but well formed.
const RANDOM: &[(ParamKind, &[&str])] = &[
    (ParamKind::Number, &["0", "1", "100", "-3.50", "1e2", "0.000001"]),
    (ParamKind::Date, &["2015", "2015-02", "2016-02-29", "1900-01-01", "2012-01-04T09:00Z", "2030-12-31T23:59:59Z"]),
    (ParamKind::String, &["a", "Pe", "ß", "É", "x y", r"\,", "zzzz"]),
    (ParamKind::Token, &["active", "final", "|true", "true", "http://loinc.org|", "http://nowhere|x", r"a\|b"]),
    (ParamKind::Reference, &["Patient/example", "example", "http://elsewhere/Patient/1", "urn:uuid:0", "Group/x"]),
    (ParamKind::Quantity, &["5.4", "100||mg", "1|http://unitsofmeasure.org|kg", "-1", "0"]),
    (ParamKind::Uri, &["http://hl7.org/fhir", "urn:oid:1.2.3", "x"]),
];

/// The id that a value points at, if it is of that type.
pub(super) fn local_id<'a>(value: &'a IndexValue, resource_type: &str) -> Option<&'a str> {
    match value {
        IndexValue::Reference(Target::Local { resource_type: found, id }) if found == resource_type => Some(id),
        _ => None,
    }
}

/// A search value of that kind, near the value found or random.
pub(super) fn written(
    kind: ParamKind,
    found: Option<&IndexValue>,
    modifier: &str,
    base: &str,
    random: &mut SplitMix64,
) -> String {
    let found = if random.one_in(8) { None } else { found };
    let written = match found {
        Some(IndexValue::Token { system, code }) => token(system, code, random),
        Some(IndexValue::String { exact, .. }) => string(exact, modifier, random),
        Some(IndexValue::Date { low, high }) => date(*low, *high, random),
        Some(IndexValue::Number(number)) => near(number.as_str(), random),
        Some(IndexValue::Quantity { value, system, code, unit }) => {
            let number = near(value.as_str(), random);
            match random.below(4) {
                0 if !code.is_empty() => format!("{number}|{}|{}", escape(system), escape(code)),
                1 if !code.is_empty() => format!("{number}||{}", escape(code)),
                2 if !unit.is_empty() => format!("{number}||{}", escape(unit)),
                _ => number,
            }
        }
        Some(IndexValue::Reference(target)) => reference(target, base, random),
        Some(IndexValue::Uri(uri)) => escape(uri),
        Some(IndexValue::Composite(_)) => String::new(),
        None => String::new(),
    };
    if !written.is_empty() {
        return written;
    }
    let odd = RANDOM.iter().find(|(it, _)| *it == kind).and_then(|(_, values)| random.pick(values));
    odd.map_or_else(|| "1".to_owned(), |it| (*it).to_owned())
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, ',' | '|' | '$' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

fn token(system: &str, code: &str, random: &mut SplitMix64) -> String {
    let (system, code) = (escape(system), escape(code));
    match random.below(6) {
        0 | 1 if !system.is_empty() => format!("{system}|{code}"),
        2 if !system.is_empty() => format!("{system}|"),
        3 if !code.is_empty() => format!("|{code}"),
        4 if code.len() > 1 => code.to_uppercase(),
        _ => code,
    }
}

fn string(exact: &str, modifier: &str, random: &mut SplitMix64) -> String {
    let letters: Vec<char> = exact.chars().take(40).collect();
    let part: String = match modifier {
        ":exact" if !random.one_in(4) => exact.to_owned(),
        ":contains" => {
            let start = random.below(letters.len());
            letters[start..].iter().take(1 + random.below(6)).collect()
        }
        _ => letters.iter().take(1 + random.below(letters.len())).collect(),
    };
    let varied = if random.one_in(3) { part.to_uppercase() } else { part };
    if crate::fold::fold(&varied).is_empty() { String::new() } else { escape(&varied) }
}

fn date(low: i64, high: i64, random: &mut SplitMix64) -> String {
    const DAY: i64 = 86_400_000_000;
    let end = if random.one_in(2) { low } else { high };
    let instant = match end {
        i64::MIN => high,
        i64::MAX => low,
        known => known,
    };
    if instant == i64::MIN || instant == i64::MAX {
        return String::new();
    }
    let text = format_instant(match random.below(6) {
        0 => instant.saturating_add(DAY),
        1 => instant.saturating_sub(DAY),
        2 => instant.saturating_add(1),
        _ => instant,
    });
    match (random.below(6), text.get(..10)) {
        (0, _) => text[..4].to_owned(),
        (1, _) => text[..7].to_owned(),
        (2 | 3, Some(day)) => day.to_owned(),
        (4, _) => format!("{}Z", &text[..16]),
        _ => text,
    }
}

/// The number, or one that differs in its last digit or its precision.
fn near(number: &str, random: &mut SplitMix64) -> String {
    let plain = !number.contains(['e', 'E']);
    match random.below(5) {
        0 if plain && number.contains('.') => format!("{number}1"),
        1 if plain && number.contains('.') => number.split('.').next().unwrap_or(number).to_owned(),
        2 if plain && !number.contains('.') => format!("{number}.4"),
        3 if plain && !number.contains('.') => format!("{number}.0"),
        _ => number.to_owned(),
    }
}

fn reference(target: &Target, base: &str, random: &mut SplitMix64) -> String {
    match target {
        Target::Url(url) => escape(url),
        Target::Local { resource_type, id } => match random.below(5) {
            0 => id.clone(),
            1 => format!("{base}/{resource_type}/{id}"),
            2 => format!("{resource_type}/{id}x").chars().take(resource_type.len() + 65).collect(),
            _ => format!("{resource_type}/{id}"),
        },
    }
}
