//! Data types as searchable values, read from the tables of the specification a second time, so that a slip in
//! [`extract`](crate::extract) is not repeated here. <https://hl7.org/fhir/R4/search.html#ptypes>

use fhir::date::DateTime;
use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::reference::Reference;
use fhir::ucum;

use crate::entry::identifier_type;
use crate::query::{Aspect, ParamKind};

/// A value that a filter can look at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// System and code; empty where absent.
    Token(String, String),
    /// As written.
    Text(String),
    /// As written, from a further word of a family name on.
    Part(String),
    /// First and last microsecond.
    Interval(i64, i64),
    /// The least and the greatest number that it may be.
    Number(Bounds),
    /// The same with a unit; empty where absent.
    Amount { value: Bounds, system: String, code: String, unit: String },
    /// Type and id of a resource on this server.
    Local(String, String),
    /// Any other target.
    Url(String),
    /// As written.
    Uri(String),
    /// The values of each component of a composite parameter in one element.
    Composite(Vec<Vec<Value>>),
}

/// The least and the greatest of some numbers, which are equal for a single number; None: there is no such bound.
pub(crate) type Bounds = (Option<Decimal>, Option<Decimal>);

/// The values of one element for an aspect of a parameter; `kind` is that of the aspect.
pub(crate) fn of(kind: ParamKind, aspect: Aspect, type_name: &str, json: &Json, base: &str) -> Vec<Value> {
    match aspect {
        Aspect::Value => plain(kind, type_name, json, base),
        Aspect::Text => captions(type_name, json).into_iter().filter(|it| !it.is_empty()).map(Value::Text).collect(),
        Aspect::OfType => typed(type_name, json),
        Aspect::Identifier if type_name == "Reference" => {
            json.get("identifier").map(|identifier| tokens("Identifier", identifier)).unwrap_or_default()
        }
        Aspect::Identifier => Vec::new(),
        Aspect::Canonical => plain(kind, type_name, json, base).into_iter().filter_map(canonical).collect(),
    }
}

fn plain(kind: ParamKind, type_name: &str, json: &Json, base: &str) -> Vec<Value> {
    match kind {
        ParamKind::Token => tokens(type_name, json),
        ParamKind::String => texts(type_name, json).into_iter().filter(|it| !it.is_empty()).map(Value::Text).collect(),
        ParamKind::Date => {
            interval(type_name, json).map(|(low, high)| Value::Interval(low, high)).into_iter().collect()
        }
        ParamKind::Number => numbers(type_name, json).map(Value::Number).into_iter().collect(),
        ParamKind::Quantity => amounts(type_name, json),
        ParamKind::Reference => targets(type_name, json, base),
        ParamKind::Composite => Vec::new(),
        ParamKind::Uri => uris(type_name, json),
    }
}

fn string(json: &Json) -> Option<String> {
    json.as_str().map(ToOwned::to_owned)
}

fn member(json: &Json, name: &str) -> String {
    json.get(name).and_then(string).unwrap_or_default()
}

fn tokens(type_name: &str, json: &Json) -> Vec<Value> {
    let mut pairs = Vec::new();
    if type_name == "CodeableConcept" {
        for coding in json.list("coding") {
            pairs.push((member(coding, "system"), member(coding, "code")));
        }
    } else if type_name == "Coding" {
        pairs.push((member(json, "system"), member(json, "code")));
    } else if type_name == "Identifier" || type_name == "ContactPoint" {
        pairs.push((member(json, "system"), member(json, "value")));
    } else if let Some(flag) = json.as_bool() {
        pairs.push((String::new(), if flag { "true" } else { "false" }.to_owned()));
    } else if let Some(text) = string(json).or_else(|| json.as_number().map(str::to_owned)) {
        pairs.push((String::new(), text));
    }
    pairs.retain(|(system, code)| !(system.is_empty() && code.is_empty()));
    pairs.into_iter().map(|(system, code)| Value::Token(system, code)).collect()
}

/// What `:text` looks at. <https://hl7.org/fhir/R4/search.html#token>
fn captions(type_name: &str, json: &Json) -> Vec<String> {
    match type_name {
        "CodeableConcept" => {
            let displays = json.list("coding").iter().map(|coding| member(coding, "display"));
            displays.chain([member(json, "text")]).collect()
        }
        "Coding" | "Reference" => vec![member(json, "display")],
        "Identifier" => json.get("type").map(|concept| member(concept, "text")).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// `:of-type`: all three parts must be there.
fn typed(type_name: &str, json: &Json) -> Vec<Value> {
    let value = member(json, "value");
    if type_name != "Identifier" || value.is_empty() {
        return Vec::new();
    }
    let codings = json.get("type").map_or(&[][..], |concept| concept.list("coding")).iter();
    let coded = codings.filter(|coding| !member(coding, "code").is_empty());
    let name = |coding: &Json| identifier_type(&member(coding, "system"), &member(coding, "code"));
    coded.map(|coding| Value::Token(name(coding), value.clone())).collect()
}

/// The same amount in canonical units; nothing for units that UCUM does not know.
fn canonical(value: Value) -> Option<Value> {
    let Value::Amount { value, system, code, .. } = value else { return None };
    if system != ucum::SYSTEM {
        return None;
    }
    let mut unit = String::new();
    let mut convert = |bound: Option<Decimal>| match bound {
        None => Some(None),
        Some(number) => {
            let canonical = ucum::canonical(&number, &code).ok()?;
            unit = canonical.code;
            Some(Some(canonical.value))
        }
    };
    let bounds = (convert(value.0)?, convert(value.1)?);
    // A unit may count the other way, as pH does: its upper bound is the lower one of the canonical unit.
    let at = |number: &str| Some(ucum::canonical(&Decimal::parse(number)?, &code).ok()?.value);
    let is_reversed = at("8") < at("7");
    let value = if is_reversed { (bounds.1, bounds.0) } else { bounds };
    Some(Value::Amount { value, system, code: unit, unit: String::new() })
}

/// Of a canonical URL every version has the URL without it, too.
fn uris(type_name: &str, json: &Json) -> Vec<Value> {
    let written = string(json).unwrap_or_default();
    let mut found = vec![written.clone()];
    if let Some(bar) = written.find('|').filter(|_| type_name == "canonical") {
        found.push(written[..bar].to_owned());
    }
    found.into_iter().filter(|it| !it.is_empty()).map(Value::Uri).collect()
}

fn texts(type_name: &str, json: &Json) -> Vec<String> {
    let members: &[&str] = match type_name {
        "HumanName" => &["family", "given", "prefix", "suffix", "text"],
        "Address" => &["line", "city", "district", "state", "country", "postalCode", "text"],
        _ => return string(json).into_iter().collect(),
    };
    let mut found = Vec::new();
    for name in members {
        for part in json.list(name) {
            found.extend(string(part));
        }
    }
    found
}

/// A family name from each word on but the first: what follows a character that separates words.
pub(crate) fn parts(type_name: &str, json: &Json) -> Vec<Value> {
    let name = if type_name == "HumanName" { member(json, "family") } else { string(json).unwrap_or_default() };
    let separates = |letter: char| crate::fold::fold(&format!("a{letter}b")).contains(' ');
    let ends = name.char_indices().filter(|(_, letter)| separates(*letter)).map(|(at, letter)| at + letter.len_utf8());
    ends.map(|at| Value::Part(name[at..].to_owned())).collect()
}

fn interval(type_name: &str, json: &Json) -> Option<(i64, i64)> {
    let read = |json: &Json| DateTime::parse(json.as_str()?).map(|it| it.interval());
    let read_period = |json: &Json| match (json.get("start").and_then(read), json.get("end").and_then(read)) {
        (None, None) => None,
        (Some(start), None) => Some((start.0, i64::MAX)),
        (None, Some(end)) => Some((i64::MIN, end.1)),
        (Some(start), Some(end)) => Some((start.0, end.1)),
    };
    match type_name {
        "Period" => read_period(json),
        "Timing" => {
            let mut limits: Vec<(i64, i64)> = json.list("event").iter().filter_map(read).collect();
            limits.extend(json.at(&["repeat", "boundsPeriod"]).and_then(read_period));
            let first = limits.iter().map(|limit| limit.0).min()?;
            let last = limits.iter().map(|limit| limit.1).max()?;
            Some((first, last))
        }
        _ => read(json),
    }
}

fn decimal(json: Option<&Json>) -> Option<Decimal> {
    Decimal::parse(json?.as_number()?)
}

/// Two bounds, of which one is known, the lesser one first.
fn ordered(bounds: Bounds) -> Option<Bounds> {
    match &bounds {
        (None, None) => None,
        (Some(first), Some(second)) if first > second => Some((bounds.1, bounds.0)),
        _ => Some(bounds),
    }
}

fn numbers(type_name: &str, json: &Json) -> Option<Bounds> {
    if type_name == "Range" {
        return ordered((decimal(json.at(&["low", "value"])), decimal(json.at(&["high", "value"]))));
    }
    decimal(Some(json)).map(|number| (Some(number.clone()), Some(number)))
}

fn amounts(type_name: &str, json: &Json) -> Vec<Value> {
    let nothing = Json::Null;
    let amount = |bounds: Option<Bounds>, of: &Json| {
        let (system, code, unit) = (member(of, "system"), member(of, "code"), member(of, "unit"));
        bounds.map(|value| Value::Amount { value, system, code, unit })
    };
    let stated = |json: &Json| decimal(json.get("value"));
    let exactly = |number: Option<Decimal>| number.map(|it| (Some(it.clone()), Some(it)));
    let found = match type_name {
        "Range" => {
            // A bound without a value is none, whatever its unit.
            let bound = |name: &str| json.get(name).filter(|it| stated(it).is_some()).unwrap_or(&nothing);
            let (low, high) = (bound("low"), bound("high"));
            match unit_of_both(low, high) {
                Some(unit) => vec![amount(ordered((stated(low), stated(high))), unit)],
                None => vec![amount(Some((stated(low), None)), low), amount(Some((None, stated(high))), high)],
            }
        }
        "SampledData" => vec![amount(measured(json), json.get("origin").unwrap_or(&nothing))],
        "Money" => vec![amount(exactly(stated(json)), &nothing).map(|money| match money {
            Value::Amount { value, unit, .. } if json.get("currency").is_some() => {
                Value::Amount { value, system: "urn:iso:std:iso:4217".to_owned(), code: member(json, "currency"), unit }
            }
            other => other,
        })],
        _ => vec![amount(exactly(stated(json)).map(|both| told(both, json.str("comparator"))), json)],
    };
    found.into_iter().flatten().collect()
}

/// A value that is said to lie on one side of what is written has no bound on that side.
fn told((low, high): Bounds, comparator: Option<&str>) -> Bounds {
    match comparator.and_then(|it| it.chars().next()) {
        Some('<') => (None, high),
        Some('>') => (low, None),
        _ => (low, high),
    }
}

/// Which of two bounds says the unit of both; None if they say different ones.
fn unit_of_both<'a>(low: &'a Json, high: &'a Json) -> Option<&'a Json> {
    let units = |json: &Json| (member(json, "system"), member(json, "code"), member(json, "unit"));
    let has_none = |json: &Json| units(json) == (String::new(), String::new(), String::new());
    let (first, second) = (units(low), units(high));
    // What is written for people only counts where there is no code.
    let is_same = (&first.0, &first.1) == (&second.0, &second.1) && (!first.1.is_empty() || first.2 == second.2);
    if has_none(low) {
        Some(high)
    } else if has_none(high) || is_same {
        Some(low)
    } else {
        None
    }
}

/// Between what a series measured: the limits that it states, else all its points as they were measured.
/// <https://hl7.org/fhir/R4/datatypes.html#SampledData>
fn measured(json: &Json) -> Option<Bounds> {
    let scaled = |json: Option<&Json>, otherwise: i128| match decimal(json) {
        Some(number) => number.to_scaled(),
        None => Some((otherwise, 0)),
    };
    let factor = scaled(json.get("factor"), 1);
    let origin = scaled(json.at(&["origin", "value"]), 0);
    let point = |text: &str| {
        let (number, (factor, shift)) = (Decimal::parse(text)?.to_scaled()?, factor?);
        let (product, places) = (number.0.checked_mul(factor)?, number.1 + shift);
        let (origin, origin_places) = origin?;
        let lifted = |it: i128, by: u32| it.checked_mul(10_i128.checked_pow(by)?);
        let total = if places < origin_places {
            lifted(product, origin_places - places)?.checked_add(origin)?
        } else {
            lifted(origin, places - origin_places)?.checked_add(product)?
        };
        Some(Decimal::from_scaled(total, places.max(origin_places)))
    };
    let data = member(json, "data");
    let mut points: Vec<Decimal> = data.split_ascii_whitespace().filter_map(point).collect();
    points.sort();
    let low = decimal(json.get("lowerLimit")).or_else(|| points.first().cloned());
    let high = decimal(json.get("upperLimit")).or_else(|| points.last().cloned());
    ordered((low, high))
}

fn targets(type_name: &str, json: &Json, base: &str) -> Vec<Value> {
    let mut texts = Vec::new();
    match type_name {
        "Reference" => {
            let written = member(json, "reference");
            let is_elsewhere = matches!(Reference::parse(&written, base), Reference::Absolute(_));
            if let Some(version) = written.find("/_history/").filter(|_| is_elsewhere) {
                texts.push(written[..version].to_owned());
            }
            texts.push(written);
        }
        _ if json.as_str().is_some() => {
            let canonical = string(json).unwrap_or_default();
            texts.extend(canonical.split('|').next().map(str::to_owned));
            texts.push(canonical);
        }
        _ if json.get("resourceType").is_some() && json.get("id").is_some() => {
            return vec![Value::Local(member(json, "resourceType"), member(json, "id"))];
        }
        _ => {}
    }
    let mut found = Vec::new();
    for text in texts.into_iter().filter(|it| !it.is_empty()) {
        match Reference::parse(&text, base) {
            Reference::Local { resource_type, id, .. } => found.push(Value::Local(resource_type, id)),
            Reference::Contained(_) => {}
            Reference::Absolute(_) | Reference::Urn(_) | Reference::Other(_) => found.push(Value::Url(text)),
        }
    }
    found
}
