//! Data types as searchable values, read from the tables of the specification a second time, so that a slip in
//! [`extract`](crate::extract) is not repeated here. <https://hl7.org/fhir/R4/search.html#ptypes>

use fhir::date::DateTime;
use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::reference::Reference;

use crate::entry::identifier_type;
use crate::query::{Aspect, ParamKind};

/// The code system of UCUM.
const UCUM: &str = "http://unitsofmeasure.org";

/// A value that a filter can look at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// System and code; empty where absent.
    Token(String, String),
    /// As written.
    Text(String),
    /// First and last microsecond.
    Interval(i64, i64),
    /// A number.
    Number(Decimal),
    /// A number with a unit; empty where absent.
    Amount { value: Decimal, system: String, code: String, unit: String },
    /// Type and id of a resource on this server.
    Local(String, String),
    /// Any other target.
    Url(String),
    /// As written.
    Uri(String),
    /// The values of each component of a composite parameter in one element.
    Composite(Vec<Vec<Value>>),
}

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
        ParamKind::Number => numbers(type_name, json).into_iter().map(Value::Number).collect(),
        ParamKind::Quantity => amounts(type_name, json),
        ParamKind::Reference => targets(type_name, json, base),
        ParamKind::Composite => Vec::new(),
        ParamKind::Uri => string(json).filter(|it| !it.is_empty()).map(Value::Uri).into_iter().collect(),
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
    let canonical = fhir::ucum::canonical(&value, &code).ok().filter(|_| system == UCUM)?;
    Some(Value::Amount { value: canonical.value, system, code: canonical.code, unit: String::new() })
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

fn numbers(type_name: &str, json: &Json) -> Vec<Decimal> {
    let written = if type_name == "Range" {
        vec![json.at(&["low", "value"]), json.at(&["high", "value"])]
    } else {
        vec![Some(json)]
    };
    written.into_iter().flatten().filter_map(|it| Decimal::parse(it.as_number()?)).collect()
}

fn amounts(type_name: &str, json: &Json) -> Vec<Value> {
    let amount = |json: &Json| {
        let value = Decimal::parse(json.get("value")?.as_number()?)?;
        Some(Value::Amount {
            value,
            system: member(json, "system"),
            code: member(json, "code"),
            unit: member(json, "unit"),
        })
    };
    let found = match type_name {
        "Range" => vec![json.get("low").and_then(amount), json.get("high").and_then(amount)],
        "SampledData" => Vec::new(),
        "Money" => vec![amount(json).map(|money| match money {
            Value::Amount { value, unit, .. } if json.get("currency").is_some() => {
                Value::Amount { value, system: "urn:iso:std:iso:4217".to_owned(), code: member(json, "currency"), unit }
            }
            other => other,
        })],
        _ => vec![amount(json)],
    };
    found.into_iter().flatten().collect()
}

fn targets(type_name: &str, json: &Json, base: &str) -> Vec<Value> {
    let mut texts = Vec::new();
    match type_name {
        "Reference" => texts.push(member(json, "reference")),
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
