//! Smart Meter's own service: readings of cellular meters, asked for or pushed.
//!
//! Times have no offset: they are UTC and shown at `time_zone_offset` hours; `date_recorded` is a local time at that
//! offset where the query says `recorded_time=local`. What each field becomes is in
//! `mappings/smart-meter-readings.csv`. Late and repeated readings are common, so an Observation is state.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use crate::bundle::{self, Source};
use crate::device::{self, Device, is_imei};
use crate::number;
use crate::observation::{self, Circumstances, Effective, Write};
use crate::reading::{Component, Concept, Quantity, Reading, Value};
use crate::table::{self, Row, Table};
use crate::time::{self, Moment};
use crate::{
    Adapter, Authentication, Context, Delivery, Mapping, Publication, Refusal, Shape, error, json, quarantined, warning,
};

/// The adapter.
pub(crate) static ADAPTER: Adapter = Adapter {
    vendor: VENDOR,
    name: "Smart Meter",
    version: "1",
    authentication: Authentication::ApiKey { header: "x-api-key" },
    max_bytes: 10 << 20,
    content_types: &[],
    shapes: &[
        Shape {
            name: "readings",
            about: "an answer of the readings service",
            answers: 200,
            routes: &[],
            recognises: &|bytes| json(bytes).map_or(true, |json| !is_reading(&json)),
            receive: &answer,
            map: &map,
        },
        Shape {
            name: "push",
            about: "readings pushed to us: one, an array, or the shape of an answer",
            answers: 200,
            routes: &["/health-data/smart-meter", "/health-data/smart_meter"],
            recognises: &|bytes| json(bytes).is_ok_and(|json| is_reading(&json)),
            receive: &receive,
            map: &map,
        },
    ],
    device_kind: |_| "device-id",
};

const VENDOR: &str = "smart_meter";

/// Readings of one message at most.
const MAX_READINGS: usize = 10_000;

fn is_reading(json: &Json) -> bool {
    json.get("reading_id").is_some()
        || json.items().iter().any(|item| item.get("reading_id").is_some()) && is_list(json)
}

fn is_list(json: &Json) -> bool {
    matches!(json, Json::Array(_))
}

fn answer(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let Ok(json) = json(bytes) else {
        let text = "Smart Meter answered with a body that is not JSON";
        let issues = vec![Issue::error(IssueCode::Transient, text)];
        return Err(Refusal::Vendor { status: 502, issues, retry_after: None });
    };
    let status = json.at(&["status", "status_code"]).and_then(Json::as_number);
    if let Some(status) = status.filter(|status| *status != "200") {
        let code = match status {
            "401" | "403" => IssueCode::Login,
            "429" => IssueCode::Throttled,
            _ => IssueCode::Transient,
        };
        let issues = vec![Issue::error(code, format!("Smart Meter answered with status {status}"))];
        let status = if code == IssueCode::Throttled { 503 } else { 502 };
        return Err(Refusal::Vendor { status, issues, retry_after: None });
    }
    receive(bytes)
}

fn receive(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let json = json(bytes)?;
    let Some(readings) = readings(&json) else {
        let text = "Body is neither a reading nor a list of readings";
        return Err(Refusal::Unprocessable(vec![error(IssueCode::Structure, text, "readings")]));
    };
    if readings.len() > MAX_READINGS {
        let text = format!("Body holds more than {MAX_READINGS} readings");
        return Err(Refusal::Unprocessable(vec![error(IssueCode::TooLong, text, "readings")]));
    }
    let mut known = BTreeSet::new();
    let devices = readings.iter().filter_map(|reading| text(reading, "device_id"));
    let devices = devices.filter(|device| known.insert(device.clone())).collect();
    Ok(Delivery { devices, ..Delivery::default() })
}

fn readings(json: &Json) -> Option<&[Json]> {
    match (json, json.get("readings")) {
        (_, Some(Json::Array(readings))) | (Json::Array(readings), None) => Some(readings),
        (Json::Object(_), None) if json.get("reading_id").is_some() => Some(std::slice::from_ref(json)),
        _ => None,
    }
}

fn map(bytes: &[u8], context: &Context<'_>) -> Mapping {
    let json = match json(bytes) {
        Ok(json) => json,
        Err(refusal) => return quarantined(refusal),
    };
    let mut entries: Vec<Json> = Vec::new();
    let (mut issues, mut waits) = (Vec::new(), false);
    for (index, item) in readings(&json).unwrap_or_default().iter().enumerate() {
        match one(item, &format!("readings[{index}]"), context, &mut issues) {
            Ok(made) => {
                for entry in made {
                    if entries.iter().all(|known| known.get("fullUrl") != entry.get("fullUrl")) {
                        entries.push(entry);
                    }
                }
            }
            Err(issue) => {
                waits = true;
                issues.push(*issue);
            }
        }
    }
    if entries.is_empty() && !issues.is_empty() {
        return Mapping::Quarantine { issues };
    }
    Mapping::Publish(Publication { waits, ..Publication::of(bundle::transaction(entries), issues) })
}

fn one(item: &Json, path: &str, context: &Context<'_>, issues: &mut Vec<Issue>) -> Result<Vec<Json>, Box<Issue>> {
    let required = |name: &str| {
        let issue = || Box::new(error(IssueCode::Required, format!("{name} is missing"), &format!("{path}.{name}")));
        text(item, name).ok_or_else(issue)
    };
    let (id, device_id, kind) = (required("reading_id")?, required("device_id")?, required("reading_type")?);
    let rows: Vec<Row<'_>> = table().rows().filter(|row| row.get("reading_type") == kind).collect();
    if rows.is_empty() {
        let text = format!("Readings of type {kind} have no mapping yet; raw data kept");
        return Err(Box::new(warning(IssueCode::NotSupported, text, &format!("{path}.reading_type"))));
    }
    let moment = recorded(item, context.query).ok_or_else(|| {
        let text = "date_recorded is not a date with a time such as 2025-05-01T11:30:00";
        Box::new(error(IssueCode::Value, text, &format!("{path}.date_recorded")))
    })?;
    let shown = time::at_offset(&moment, offset_seconds(item));
    let devices = [device_id.clone()];
    let patient = context
        .patient(&devices, moment.micros)
        .map_err(|unassigned| Box::new(unassigned.issue(&device_id, &shown.text, "Bundle.entry")))?;
    let source = Source { namespace: context.namespace, vendor: VENDOR, of: "", record: &id };
    let (device_url, device_entry) = device(item, device_id, &source)
        .ok_or_else(|| Box::new(error(IssueCode::Required, "device_id is missing", &format!("{path}.device_id"))))?;
    let received = self::moment(item, "date_received");
    let around = Circumstances {
        source,
        subject: format!("Patient/{patient}"),
        effective: Effective::At(&shown.text),
        issued: received.as_ref().map(|moment| moment.text.as_str()),
        device: Some(&device_url),
        kind: "reading",
        also: &[],
        write: Write::State,
    };
    let mut entries = vec![device_entry];
    for reading in measured(item, &rows, path, &around.source, issues) {
        let implausible = reading.implausible();
        entries.push(observation::entry(&reading, &around, !implausible.is_empty()));
        issues.extend(implausible);
    }
    if entries.len() == 1 {
        let text = format!("The reading of type {kind} holds no number");
        return Err(Box::new(error(IssueCode::Value, text, path)));
    }
    Ok(entries)
}

fn measured(item: &Json, rows: &[Row<'_>], path: &str, source: &Source<'_>, issues: &mut Vec<Issue>) -> Vec<Reading> {
    let mut made: Vec<Reading> = Vec::new();
    made.extend(panel(item, rows, path, issues));
    for row in rows.iter().filter(|row| row.get("role") == "observation") {
        let suffix = row.get("suffix");
        if made.iter().any(|reading| reading.suffix == suffix) {
            continue; // the other unit of the same measurement
        }
        if let Some(quantity) = quantity(item, *row, path, issues) {
            made.push(Reading {
                suffix: suffix.to_owned(),
                category: row.get("category").to_owned(),
                profile: Some(row.get("profile").to_owned()).filter(|profile| !profile.is_empty()),
                concept: concept(*row),
                value: Some(Value::Quantity(quantity)),
                ..Reading::default()
            });
        }
    }
    let flags = rows.iter().filter(|row| row.get("role") == "boolean").filter_map(|row| flag(item, *row, source));
    if let Some(first) = made.first_mut() {
        first.components.extend(flags);
    }
    made
}

fn panel(item: &Json, rows: &[Row<'_>], path: &str, issues: &mut Vec<Issue>) -> Option<Reading> {
    let head = rows.iter().find(|row| row.get("role") == "panel")?;
    let parts: Vec<_> = rows
        .iter()
        .filter(|row| row.get("role") == "required")
        .map(|row| (*row, quantity(item, *row, path, issues)))
        .collect();
    if parts.iter().all(|(_, quantity)| quantity.is_none()) {
        return None;
    }
    let mut components = Vec::new();
    for (row, quantity) in parts {
        if quantity.is_none() {
            let text = format!("{} was not measured; the rest of the panel is kept", row.get("text"));
            issues.push(warning(IssueCode::Incomplete, text, &format!("{path}.{}", row.get("field"))));
        }
        let value = quantity.map_or(Value::Unknown, Value::Quantity);
        components.push(Component { concept: concept(row), value, in_range: None });
    }
    Some(Reading {
        suffix: head.get("suffix").to_owned(),
        category: head.get("category").to_owned(),
        profile: Some(head.get("profile").to_owned()),
        concept: concept(*head),
        components,
        ..Reading::default()
    })
}

/// The number of a field; an empty text is nothing, as is a pulse of 0.
fn quantity(item: &Json, row: Row<'_>, path: &str, issues: &mut Vec<Issue>) -> Option<Quantity> {
    let field = row.get("field");
    let value = match item.get(field)? {
        Json::Null => return None,
        Json::String(text) if text.trim().is_empty() => return None,
        Json::Number(value) => value.clone(),
        Json::String(text) if number::is_number(text.trim()) => text.trim().into(),
        _ => {
            let text = format!("{field} is not a number; left out");
            issues.push(error(IssueCode::Value, text, &format!("{path}.{field}")));
            return None;
        }
    };
    if field == "pulse_bpm" && Decimal::parse(&value).is_some_and(|value| value.is_zero()) {
        return None;
    }
    Some(Quantity { value, unit: row.get("unit").to_owned(), ucum: Some(row.get("ucum").to_owned()) })
}

fn flag(item: &Json, row: Row<'_>, source: &Source<'_>) -> Option<Component> {
    let field = row.get("field");
    let json = item.get(field)?;
    let value = match json.as_str().map(|text| text.trim().to_ascii_lowercase()).as_deref() {
        Some("true") => true,
        Some("false") => false,
        _ => json.as_bool()?,
    };
    let coding =
        fhir::object! { "system": source.code_system("reading-field"), "code": field, "display": row.get("text") };
    let concept = Concept { codings: vec![coding], text: None };
    Some(Component { concept, value: Value::Boolean(value), in_range: None })
}

fn concept(row: Row<'_>) -> Concept {
    let codings = row.get("codes").split(';').map(str::trim).filter_map(|code| match code.split_once(' ')? {
        ("LOINC", code) => Some(table::coding("http://loinc.org", code)),
        (_, code) => Some(table::coding("urn:iso:std:iso:11073:10101", code)),
    });
    Concept { codings: codings.collect(), text: Some(row.get("text").to_owned()) }
}

fn device(item: &Json, id: String, source: &Source<'_>) -> Option<(String, Json)> {
    let described = Device {
        imei: is_imei(&id).then(|| id.clone()),
        id,
        manufacturer: Some("Smart Meter".to_owned()),
        model: text(item, "device_model"),
        ..Device::default()
    };
    device::entry(&described, None, source)
}

/// When it was measured.
fn recorded(item: &Json, query: &str) -> Option<Moment> {
    let moment = moment(item, "date_recorded")?;
    let is_local = query.split('&').any(|pair| pair == "recorded_time=local");
    if !is_local {
        return Some(moment);
    }
    let seconds = offset_seconds(item);
    let is_offset = seconds % 60 == 0 && seconds.unsigned_abs() <= 14 * 3600;
    is_offset.then(|| Moment { micros: moment.micros - seconds * 1_000_000, ..moment })
}

fn moment(item: &Json, name: &str) -> Option<Moment> {
    time::moment(item.str(name)?, Some("UTC")).ok()
}

/// Hours, as a number or as text, halves and quarters too.
fn offset_seconds(item: &Json) -> i64 {
    let hours = item.get("time_zone_offset").and_then(|it| it.as_number().or(it.as_str())).map(str::trim);
    let hours = hours.map(|text| text.trim_start_matches('+'));
    hours
        .and_then(|text| number::shifted(text, 2))
        .and_then(|text| text.split('.').next()?.parse::<i64>().ok()?.checked_mul(36))
        .unwrap_or(0)
}

/// A text or number as text; nothing if it is empty.
fn text(item: &Json, name: &str) -> Option<String> {
    let json = item.get(name)?;
    json.as_str().or(json.as_number()).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| Table::embedded(include_str!("../mappings/smart-meter-readings.csv")))
}
