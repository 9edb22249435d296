//! Validic Inform: records of meters and apps, as answers, as an event stream or pushed; and connections of devices.
//!
//! A record is state: its `id` stays, its `checksum` tells a change, `deleted_at` that it is gone. Whose it is says the
//! `uid`, which is ours. What each metric becomes is in `mappings/validic-metrics.csv`.

mod answer;
mod connection;
mod metric;
mod record;
mod stream;

use std::collections::BTreeSet;

use fhir::json::Json;
use fhir::outcome::IssueCode;

use crate::bundle;
use crate::found::Found;
use crate::{
    Adapter, Authentication, Context, Delivery, Mapping, Refusal, Shape, error, first_byte, json, quarantined,
};

/// The adapter.
pub(crate) static ADAPTER: Adapter = Adapter {
    vendor: VENDOR,
    name: "Validic Inform",
    version: "1",
    authentication: Authentication::ApiKey { header: "x-api-key" },
    max_bytes: 10 << 20,
    content_types: &[],
    shapes: &[
        Shape {
            name: "records",
            about: "one record, or an answer of the REST service or a push with several in data[]",
            answers: 200,
            routes: &["/health-data/validic", "/health-data/validic/records"],
            recognises: &|bytes| json(bytes).is_ok_and(|json| records(&json).is_some()),
            receive: &receive_records,
            map: &map_records,
        },
        Shape {
            name: "stream",
            about: "a piece of the event stream: poke, data, connection, rule",
            answers: 200,
            routes: &["/health-data/validic", "/health-data/validic/stream"],
            recognises: &stream::recognises,
            receive: &stream::receive,
            map: &stream::map,
        },
        Shape {
            name: "connection",
            about: "an answer of the direct connection: a device was connected or disconnected",
            answers: 202,
            routes: &[],
            recognises: &|bytes| json(bytes).is_ok_and(|json| connection::recognises(&json)),
            receive: &|bytes| connection::receive(&json(bytes)?),
            map: &|bytes, context| match json(bytes) {
                Ok(json) => connection::map(&json, context),
                Err(refusal) => quarantined(refusal),
            },
        },
        Shape {
            name: "error",
            about: "an error that the service answered with, in any of its envelopes",
            answers: 200,
            routes: &[],
            recognises: &|bytes| json(bytes).is_ok_and(|json| answer::issues(&json).is_some()),
            receive: &|bytes| Err(answer::refusal(&json(bytes)?)),
            map: &|bytes, _| match json(bytes) {
                Ok(json) => quarantined(answer::refusal(&json)),
                Err(refusal) => quarantined(refusal),
            },
        },
    ],
    device_kind: |_| "uid",
};

/// Vendor id in names.
const VENDOR: &str = "validic";

/// Records of one message at most.
const MAX_RECORDS: usize = 10_000;

/// System of an identifier of this vendor.
fn system(context: &Context<'_>, kind: &str) -> String {
    format!("{}/{VENDOR}/{kind}", context.namespace)
}

/// The patient of a user at a moment: who was paired with the uid, else whoever has it among the identifiers.
fn subject(uid: &str, micros: Option<i64>, context: &Context<'_>) -> String {
    let users = [uid.to_owned()];
    let paired = context.patient(&users, micros.unwrap_or(context.now)).ok();
    paired.map_or_else(
        || bundle::conditional("Patient", &system(context, "uid"), uid),
        |patient| format!("Patient/{patient}"),
    )
}

fn receive_records(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let json = json(bytes)?;
    if let Some(issues) = answer::issues(&json) {
        return Err(Refusal::Vendor { status: 502, issues, retry_after: None });
    }
    let Some(records) = records(&json) else {
        let text = "Body is neither a record nor an answer with records in data[]";
        return Err(Refusal::Unprocessable(vec![error(IssueCode::Structure, text, "data")]));
    };
    if records.len() > MAX_RECORDS {
        let text = format!("Body holds more than {MAX_RECORDS} records");
        return Err(Refusal::Unprocessable(vec![error(IssueCode::TooLong, text, "data")]));
    }
    Ok(Delivery { devices: users(records.iter()), ..Delivery::default() })
}

fn map_records(bytes: &[u8], context: &Context<'_>) -> Mapping {
    let json = match json(bytes) {
        Ok(json) => json,
        Err(refusal) => return quarantined(refusal),
    };
    let mut found = Found::default();
    let in_list = json.get("data").is_some();
    let records = records(&json).unwrap_or_default();
    let last = record::last_states(records.iter());
    for (index, record) in records.iter().enumerate().filter(|(index, record)| last.is(*index, record)) {
        let path = if in_list { format!("data[{index}].") } else { String::new() };
        record::map(record, &path, context, &mut found);
    }
    found.mapping()
}

/// The records of an answer, or the one that the body is.
fn records(json: &Json) -> Option<&[Json]> {
    match json.get("data") {
        Some(Json::Array(records)) => Some(records),
        None if json.get("metrics").is_some() => Some(std::slice::from_ref(json)),
        Some(_) | None => None,
    }
}

/// Whose the records are, each user once.
fn users<'a>(records: impl Iterator<Item = &'a Json>) -> Vec<String> {
    let mut known = BTreeSet::new();
    let users = records.filter_map(|record| record.at(&["user", "uid"])?.as_str());
    users.filter(|uid| known.insert(*uid)).map(str::to_owned).collect()
}

/// Whether the body can be one of ours at all.
fn looks_like_text(bytes: &[u8]) -> bool {
    !matches!(first_byte(bytes), None | Some(b'{' | b'[' | b'<' | b'"'))
}
