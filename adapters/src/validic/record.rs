//! One record: measurement, summary, sleep, nutrition, workout, or the log of a sensor under the skin.

use std::collections::{BTreeMap, BTreeSet};

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use super::metric::{self, Metric};
use super::{Found, VENDOR, subject, system};
use crate::bundle::Source;
use crate::device::{self, Device, is_imei};
use crate::observation::{self, Circumstances, Effective, Write};
use crate::reading::{Concept, Reading, Value};
use crate::time::{self, Moment};
use crate::{Context, Holder, Withdrawal, error, table};

/// Longest id that is taken.
const MAX_ID: usize = 128;

/// Which of the messages about each record counts.
pub(super) struct LastStates<'a>(BTreeMap<&'a str, usize>);

impl LastStates<'_> {
    /// Whether the record at this place is what its message says last of it.
    pub(super) fn is(&self, index: usize, record: &Json) -> bool {
        id(record).and_then(|id| self.0.get(id)).is_none_or(|last| *last == index)
    }
}

/// The last state of each record of one message. A deletion is the last, wherever it stands: what else the message says
/// of that record came too late.
pub(super) fn last_states<'a>(records: impl Iterator<Item = &'a Json>) -> LastStates<'a> {
    let (mut last, mut gone) = (BTreeMap::new(), BTreeSet::new());
    for (index, record) in records.enumerate() {
        let Some(id) = id(record) else { continue };
        if is_deletion(record) {
            gone.insert(id);
            last.insert(id, index);
        } else if !gone.contains(id) {
            last.insert(id, index);
        }
    }
    LastStates(last)
}

fn id(record: &Json) -> Option<&str> {
    record.str("id").filter(|id| !id.is_empty() && id.len() <= MAX_ID)
}

fn is_deletion(record: &Json) -> bool {
    record.get("deleted_at").is_some_and(|at| *at != Json::Null)
}

/// Translates a record; what is wrong with it joins the issues, and the record waits.
pub(super) fn map(record: &Json, path: &str, context: &Context<'_>, found: &mut Found) {
    let Some(id) = id(record) else {
        return found.keep_back(error(IssueCode::Required, "record id is required", &format!("{path}id")));
    };
    let source = Source { namespace: context.namespace, vendor: VENDOR, of: "", record: id };
    let Some(uid) = record.at(&["user", "uid"]).and_then(Json::as_str).or(context.user) else {
        return found.keep_back(error(IssueCode::Required, "user.uid is required", &format!("{path}user.uid")));
    };
    let withdrawal = |deleted, keep| Withdrawal {
        system: system(context, "record"),
        record: id.to_owned(),
        deleted,
        keep,
        holder: Holder::user(&system(context, "uid"), uid, context),
        version: None,
    };
    if is_deletion(record) {
        return found.withdrawn.push(withdrawal(true, Vec::new()));
    }
    let made = match readings(record, path, uid, &source, context) {
        Ok(made) => made,
        Err(issue) => return found.keep_back(*issue),
    };
    let keep = made.entries.iter().filter_map(first_identifier).collect();
    found.withdrawn.push(withdrawal(false, keep));
    found.issues.extend(made.issues);
    for entry in made.devices.into_iter().chain(made.entries) {
        found.push(entry);
    }
}

/// What a record is made into.
#[derive(Default)]
struct Made {
    devices: Vec<Json>,
    entries: Vec<Json>,
    issues: Vec<Issue>,
}

fn readings(
    record: &Json,
    path: &str,
    uid: &str,
    source: &Source<'_>,
    context: &Context<'_>,
) -> Result<Made, Box<Issue>> {
    let mut made = Made::default();
    let kind = record.at(&["source", "type"]).and_then(Json::as_str).unwrap_or("unknown");
    let also = identifiers(record, kind, source);
    let device = record.at(&["source", "device"]).and_then(|json| of_source(json, kind, source));
    let device_url = device.as_ref().map(|(url, _)| url.clone());
    made.devices.extend(device.map(|(_, entry)| entry));
    let issued = record.str("created_at").and_then(|text| time::moment(text, None).ok());
    let issued = issued.as_ref().map(|moment| moment.text.as_str());
    if is_log(record) {
        log(record, path, uid, source, (&also, issued), context, &mut made);
        return Ok(made);
    }
    let (start, end) = period(record, path)?;
    let around = Circumstances {
        source: source.clone(),
        subject: subject(uid, Some(start.micros), context),
        effective: effective(&start, &end),
        issued,
        device: device_url.as_deref(),
        kind: "record-metric",
        also: &also,
        write: Write::State,
    };
    let metrics = metric::read(record, path, &mut made.issues);
    if record.get("data_points").is_some() || !record.list("segments").is_empty() {
        let text = "Points and segments within the record are kept raw only";
        made.issues.push(Issue::information(IssueCode::NotSupported, text).at(format!("{path}segments")));
    }
    let readings = if record.str("type") == Some("workout") {
        vec![workout(record, &metrics, source, &mut made.issues)]
    } else {
        let mut readings: Vec<Reading> = metric::panel(&metrics, source, &mut made.issues).into_iter().collect();
        let others = metrics.iter().filter(|metric| !metric::PRESSURES.contains(&metric.name));
        for metric in others {
            let reading = metric::single(metric, metric.name, source, &mut made.issues);
            readings.push(Reading { interpretation: off_scale(record, metric.name), ..reading });
        }
        readings
    };
    for reading in readings {
        push(&reading, &around, &mut made);
    }
    Ok(made)
}

fn push(reading: &Reading, around: &Circumstances<'_>, made: &mut Made) {
    let implausible = reading.implausible();
    made.entries.push(observation::entry(reading, around, !implausible.is_empty()));
    made.issues.extend(implausible);
}

/// Every reading of a sensor under the skin is an Observation of its own.
fn log(
    record: &Json,
    path: &str,
    uid: &str,
    source: &Source<'_>,
    (also, issued): (&[Json], Option<&str>),
    context: &Context<'_>,
    made: &mut Made,
) {
    let kind = record.at(&["source", "type"]).and_then(Json::as_str).unwrap_or("unknown").to_owned();
    for (index, metric) in record.list("metrics").iter().enumerate() {
        for (number, item) in metric.list("reading_log").iter().enumerate() {
            let at = format!("{path}metrics[{index}].reading_log[{number}]");
            let moment = item.str("time").and_then(|text| time::moment(text, None).ok());
            let value = item.get("value").and_then(Json::as_number);
            let (Some(moment), Some(value)) = (moment, value) else {
                made.issues.push(error(IssueCode::Value, "A reading needs a time and a number; left out", &at));
                continue;
            };
            let shown = item.str("display_time").and_then(|text| time::moment(text, None).ok());
            let shown = shown.filter(|shown| shown.micros == moment.micros).unwrap_or_else(|| local(record, &moment));
            let unit = metric.str("unit").unwrap_or_default().trim();
            let read = Metric { name: "blood_glucose", value, unit, method: Some("Recorded by device") };
            let mut reading = metric::single(&read, "cgm_glucose", source, &mut made.issues);
            reading.suffix = format!("blood_glucose:{}", item.str("time").unwrap_or_default());
            let device = item.str("device_id").and_then(|id| {
                let fields = fhir::object! { "id": id };
                of_source(&fields, &kind, source)
            });
            let around = Circumstances {
                source: source.clone(),
                subject: subject(uid, Some(moment.micros), context),
                effective: Effective::At(&shown.text),
                issued,
                device: device.as_ref().map(|(url, _)| url.as_str()),
                kind: "record-metric",
                also,
                write: Write::State,
            };
            push(&reading, &around, made);
            made.devices.extend(device.map(|(_, entry)| entry));
        }
    }
}

fn workout(record: &Json, metrics: &[Metric<'_>], source: &Source<'_>, issues: &mut Vec<Issue>) -> Reading {
    let code = fhir::object! { "system": source.code_system("record-type"), "code": "workout" };
    let activity = record.str("category").filter(|text| !text.is_empty());
    Reading {
        suffix: "workout".to_owned(),
        category: "activity".to_owned(),
        concept: Concept {
            codings: vec![table::coding("http://loinc.org", "73985-4"), code],
            text: Some("Exercise activity".to_owned()),
        },
        value: activity.map(|text| Value::Concept(fhir::object! { "text": text })),
        components: metrics.iter().map(|metric| metric::part(metric, source, issues)).collect(),
        method: metrics.first().and_then(|metric| metric.method),
        ..Reading::default()
    }
}

fn is_log(record: &Json) -> bool {
    record.list("metrics").iter().any(|metric| metric.get("reading_log").is_some())
}

/// What all Observations of a record share: the log entry of the source, and the record itself.
fn identifiers(record: &Json, kind: &str, source: &Source<'_>) -> Vec<Json> {
    let of = |kind: &str, value: &str| fhir::object! { "system": source.identifier_system(kind), "value": value };
    let log = record.str("log_id").filter(|id| !id.is_empty()).map(|id| of(&format!("log/{}", word(kind)), id));
    log.into_iter().chain([of("record", source.record)]).collect()
}

/// The device of a source, if it has an id: its url and the entry that writes it.
pub(super) fn of_source(json: &Json, kind: &str, source: &Source<'_>) -> Option<(String, Json)> {
    let text = |name| json.str(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let id = text("id")?;
    let imei = (kind == "smart_meter" && is_imei(&id)).then(|| id.clone());
    let described = Device {
        kind: format!("device/{}", word(kind)),
        id,
        serial: None,
        imei,
        manufacturer: text("manufacturer"),
        model: text("model"),
        version: None,
        battery: None,
    };
    device::entry(&described, None, source)
}

/// A source's name as a part of a URI.
pub(super) fn word(name: &str) -> String {
    name.chars().map(|it| if it.is_ascii_alphanumeric() || matches!(it, '_' | '-' | '.') { it } else { '-' }).collect()
}

fn period(record: &Json, path: &str) -> Result<(Moment, Moment), Box<Issue>> {
    let read = |name: &str| {
        let moment = record.str(name).and_then(|text| time::moment(text, None).ok());
        moment.map(|moment| local(record, &moment)).ok_or_else(|| {
            let text = format!("{name} is not a date with a time and an offset");
            Box::new(error(IssueCode::Value, text, &format!("{path}{name}")))
        })
    };
    let start = read("start_time")?;
    let end =
        if record.get("end_time").is_some_and(|end| *end != Json::Null) { read("end_time")? } else { start.clone() };
    if end.micros < start.micros {
        return Err(Box::new(error(IssueCode::Value, "the record ends before it starts", &format!("{path}end_time"))));
    }
    Ok((start, end))
}

/// The moment at the offset that the record names.
fn local(record: &Json, moment: &Moment) -> Moment {
    let seconds = record.get("utc_offset").and_then(Json::as_number).and_then(|text| text.parse().ok());
    seconds.map_or_else(|| moment.clone(), |seconds| time::at_offset(moment, seconds))
}

fn effective<'a>(start: &'a Moment, end: &'a Moment) -> Effective<'a> {
    if start.micros == end.micros { Effective::At(&start.text) } else { Effective::Between(&start.text, &end.text) }
}

/// `<` or `>` for a glucose that is beyond what the meter shows. <https://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation>
fn off_scale(record: &Json, metric: &str) -> Option<Json> {
    let wanted = format!("out_of_bounds_{metric}");
    let tag = record.list("tags").iter().find(|tag| tag.str("name") == Some(&wanted))?;
    let (code, display) = match tag.str("value")? {
        "low" => ("<", "Off scale low"),
        "high" => (">", "Off scale high"),
        _ => return None,
    };
    let coding = fhir::object! {
        "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
        "code": code,
        "display": display,
    };
    Some(fhir::object! { "coding": fhir::array![coding] })
}

fn first_identifier(entry: &Json) -> Option<String> {
    Some(entry.at(&["resource", "identifier", "value"])?.as_str()?.to_owned())
}
