//! Search values made of values that occur.

use fhir::date::format_instant;
use fhir::decimal::Decimal;
use fhir::ucum;

use super::random::SplitMix64;
use crate::filter::values::{Bounds, Value};
use crate::query::ParamKind;

/// The prefixes as written.
pub(super) const PREFIXES: &[&str] = &["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"];

/// What is searched for where nothing is known, by kind: odd, but well formed.
const RANDOM: &[(ParamKind, &[&str])] = &[
    (ParamKind::Number, &["0", "1", "100", "-3.50", "1e2", "0.000001"]),
    (ParamKind::Date, &["2015", "2015-02", "2016-02-29", "1900-01-01", "2012-01-04T09:00Z", "2030-12-31T23:59:59Z"]),
    (ParamKind::String, &["a", "Pe", "ß", "É", "x y", r"a\,b", "zzzz"]),
    (ParamKind::Token, &["active", "final", "|true", "true", "http://loinc.org|", "http://nowhere|x", r"a\|b"]),
    (ParamKind::Reference, &["Patient/example", "example", "http://elsewhere/Patient/1", "urn:uuid:0", "Group/x"]),
    (
        ParamKind::Quantity,
        &["5.4", "100||mg", "1|http://unitsofmeasure.org|kg", "-1", "0", "7|http://unitsofmeasure.org|mm[Hg]"],
    ),
    (ParamKind::Uri, &["http://hl7.org/fhir", "urn:oid:1.2.3", "x", "http://hl7.org/fhir/", "http://hl7.org"]),
];

/// Units that measure the same, so that amounts can be asked for in another unit than they are stored in.
const UNITS: &[&[&str]] = &[
    &["kg", "g", "mg", "ug", "[lb_av]", "[oz_av]"],
    &["m", "cm", "mm", "[in_i]", "[ft_i]"],
    &["mm[Hg]", "kPa", "Pa", "cm[H2O]", "bar"],
    &["L", "mL", "dL", "ul", "cm3"],
    &["mg/dL", "g/L", "ug/mL", "kg/m3"],
    &["mmol/L", "umol/L", "mol/m3", "nmol/mL"],
    &["a", "mo", "wk", "d", "h", "min", "s", "ms"],
    &["/min", "/s", "Hz"],
    &["Cel", "K", "[degF]"],
    &["%", "1", "[ppth]"],
    &["kg/m2", "g/m2"],
    &["10*3/uL", "10*9/L", "/nL"],
];

/// A search value of that kind, with that modifier, near the value found or random.
pub(super) fn written(
    (kind, modifier): (ParamKind, &str),
    found: Option<&Value>,
    base: &str,
    random: &mut SplitMix64,
) -> String {
    let found = if random.one_in(8) { None } else { found };
    let written = match found {
        Some(Value::Token(system, code)) if modifier == ":of-type" => of_type(system, code),
        Some(Value::Token(system, code)) => token(system, code, random),
        Some(Value::Text(exact) | Value::Part(exact)) => string(exact, modifier, random),
        Some(Value::Interval(low, high)) => date(*low, *high, random),
        Some(Value::Number(bounds)) => {
            one_of(bounds, random).map_or_else(String::new, |number| near(number.as_str(), random))
        }
        Some(Value::Amount { value, system, code, unit }) => {
            one_of(value, random).map_or_else(String::new, |number| amount(number, [system, code, unit], random))
        }
        Some(Value::Local(resource_type, id)) => reference(resource_type, id, base, random),
        Some(Value::Url(url)) => escape(url),
        Some(Value::Uri(uri)) => address(uri, modifier, random),
        Some(Value::Composite(_)) | None => String::new(),
    };
    if !written.is_empty() {
        return written;
    }
    let kind = match modifier {
        ":of-type" => return "http://terminology.hl7.org/CodeSystem/v2-0203|MR|12345".to_owned(),
        ":above" | ":below" => return "http://hl7.org/fhir".to_owned(),
        ":identifier" => ParamKind::Token,
        ":text" => ParamKind::String,
        _ => kind,
    };
    let odd = RANDOM.iter().find(|(it, _)| *it == kind).and_then(|(_, values)| random.pick(values));
    odd.map_or_else(|| "1".to_owned(), |it| (*it).to_owned())
}

pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, ',' | '|' | '$' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

fn of_type(system: &str, code: &str) -> String {
    match system.split_once('\u{1f}') {
        Some((system, name)) if !system.is_empty() => format!("{}|{}|{}", escape(system), escape(name), escape(code)),
        _ => String::new(),
    }
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

/// The address, or some segments of it, or more than it.
fn address(uri: &str, modifier: &str, random: &mut SplitMix64) -> String {
    if modifier.is_empty() {
        return escape(uri);
    }
    if uri.starts_with("urn:") {
        return String::new();
    }
    if modifier == ":above" {
        return escape(&format!("{uri}{}", random.pick(&["/more", "/a/b", "more", "/"]).unwrap_or(&"/")));
    }
    let ends: Vec<usize> = uri.match_indices('/').map(|(at, _)| at).filter(|at| *at > 8).collect();
    match random.pick(&ends) {
        Some(end) => escape(&uri[..*end + usize::from(random.one_in(2))]),
        None => escape(uri),
    }
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
    match (random.below(8), text.get(..10)) {
        (0, _) => text[..4].to_owned(),
        (1, _) => text[..7].to_owned(),
        (2 | 3, Some(day)) => day.to_owned(),
        (4, _) => format!("{}Z", &text[..16]),
        (5, _) => format!("{}+05:30", &text[..19]),
        (6, _) => text[..19].to_owned(),
        _ => text,
    }
}

/// One of the bounds that are known.
fn one_of<'a>((least, greatest): &'a Bounds, random: &mut SplitMix64) -> Option<&'a Decimal> {
    let known: Vec<&Decimal> = [least, greatest].into_iter().flatten().collect();
    random.pick(&known).copied()
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

fn amount(value: &Decimal, [system, code, unit]: [&str; 3], random: &mut SplitMix64) -> String {
    let number = near(value.as_str(), random);
    match random.below(7) {
        0 | 1 if !code.is_empty() => match elsewise(value, code, random) {
            Some((number, code)) if random.one_in(3) => format!("{number}||{code}"),
            Some((number, code)) => format!("{number}|http://unitsofmeasure.org|{code}"),
            None => format!("{number}|{}|{}", escape(system), escape(code)),
        },
        2 if !code.is_empty() => format!("{number}|{}|{}", escape(system), escape(code)),
        3 if !code.is_empty() => format!("{number}||{}", escape(code)),
        4 if !unit.is_empty() => format!("{number}||{}", escape(unit)),
        5 if !system.is_empty() => format!("{number}|{}|", escape(system)),
        _ => number,
    }
}

/// The same amount in another unit, sometimes rounded.
fn elsewise(value: &Decimal, code: &str, random: &mut SplitMix64) -> Option<(String, &'static str)> {
    let units = UNITS.iter().find(|units| units.contains(&code))?;
    let other = random.pick(units)?;
    let converted = ucum::convert(value, code, other).ok()?;
    let text = converted.as_str();
    let digits = if random.one_in(3) { 4 } else { 12 };
    let end = text.find('.').map_or(text.len(), |point| text.len().min(point + 1 + digits));
    let rounded = if text.contains(['e', 'E']) { text } else { text[..end].trim_end_matches('.') };
    Some((rounded.to_owned(), other))
}

fn reference(resource_type: &str, id: &str, base: &str, random: &mut SplitMix64) -> String {
    match random.below(5) {
        0 => id.to_owned(),
        1 => format!("{base}/{resource_type}/{id}"),
        2 => format!("{resource_type}/{id}x").chars().take(resource_type.len() + 65).collect(),
        _ => format!("{resource_type}/{id}"),
    }
}
