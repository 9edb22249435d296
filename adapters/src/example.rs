//! Lungo: peak-flow meters. The smallest adapter that is complete; `docs/src/devices/writing-an-adapter.md` walks through it.
//!
//! `{"serial": "LU-0042", "results": [{"no": 17, "taken": "…", "flow": 412}], "cancelled": [16]}`

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use crate::bundle::Source;
use crate::device::{self, Device};
use crate::found::Found;
use crate::observation::{self, Circumstances, Effective, Write};
use crate::reading::{Concept, Quantity, Reading, Value};
use crate::{
    Adapter, Authentication, Context, Delivery, Holder, Mapping, Refusal, Shape, Withdrawal, error, json, quarantined,
    table, time,
};

/// Name in paths and identifiers.
const VENDOR: &str = "lungo";

/// Results and cancellations of one message at most.
const MAX_ITEMS: usize = 10_000;

/// The adapter.
pub(crate) static ADAPTER: Adapter = Adapter {
    vendor: VENDOR,
    name: "Lungo",
    version: "1",
    authentication: Authentication::ApiKey { header: "x-api-key" },
    max_bytes: 1 << 20,
    content_types: &["application/json"],
    shapes: &[Shape {
        name: "results",
        about: "blows into one meter, and which of them are cancelled",
        answers: 200,
        routes: &["/health-data/lungo"],
        recognises: &|bytes| json(bytes).is_ok_and(|json| json.get("results").is_some()),
        receive: &receive,
        map: &map,
    }],
    device_kind: |_| "serial-number",
};

/// What must be known before the message is acknowledged. What is refused here is kept as dead; the rest is for `map`.
fn receive(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let json = json(bytes)?;
    let Some(serial) = json.str("serial") else {
        return Err(Refusal::Unprocessable(vec![error(IssueCode::Required, "serial is missing", "serial")]));
    };
    if json.list("results").len() + json.list("cancelled").len() > MAX_ITEMS {
        let text = format!("Body holds more than {MAX_ITEMS} results");
        return Err(Refusal::Unprocessable(vec![error(IssueCode::TooLong, text, "results")]));
    }
    // No id of the message: the same bytes are the same message. Its device is what a pairing names.
    Ok(Delivery { devices: vec![serial.to_owned()], ..Delivery::default() })
}

fn map(bytes: &[u8], context: &Context<'_>) -> Mapping {
    let json = match json(bytes) {
        Ok(json) => json,
        Err(refusal) => return quarantined(refusal),
    };
    let serial = json.str("serial").unwrap_or_default();
    let mut found = Found::default();
    for (index, result) in json.list("results").iter().enumerate() {
        // One result that cannot be read does not hold up the others: it waits, with the reason.
        if let Err(issue) = blow(result, serial, &format!("results[{index}]"), context, &mut found) {
            found.keep_back(*issue);
        }
    }
    for (index, no) in json.list("cancelled").iter().enumerate() {
        match no.as_number() {
            Some(no) => found.withdrawn.push(withdrawal(serial, no, None, context)),
            None => found.keep_back(error(
                IssueCode::Value,
                "is not the number of a result",
                &format!("cancelled[{index}]"),
            )),
        }
    }
    found.mapping()
}

fn blow(result: &Json, serial: &str, path: &str, context: &Context<'_>, found: &mut Found) -> Result<(), Box<Issue>> {
    let missing =
        |name: &str| Box::new(error(IssueCode::Required, format!("{name} is missing"), &format!("{path}.{name}")));
    let no = result.get("no").and_then(Json::as_number).ok_or_else(|| missing("no"))?;
    let flow = result.get("flow").and_then(Json::as_number).ok_or_else(|| missing("flow"))?;
    let taken = result.str("taken").and_then(|text| time::moment(text, None).ok()).ok_or_else(|| missing("taken"))?;

    // Whose it is: whoever had the meter then. Never a name in the message.
    let patient = context.patient(&[serial.to_owned()], taken.micros);
    let patient = patient.map_err(|unassigned| Box::new(unassigned.issue(serial, &taken.text, path)))?;

    let record = record(serial, no);
    let source = Source { namespace: context.namespace, vendor: VENDOR, of: "", record: &record };
    let meter = Device { serial: Some(serial.to_owned()), manufacturer: Some("Lungo".to_owned()), ..Device::default() };
    let (device, entry) = device::entry(&meter, None, &source).ok_or_else(|| missing("serial"))?;

    // All Observations of a record share this identifier: by it a withdrawal finds them.
    let shared = [fhir::object! { "system": source.identifier_system("record"), "value": record.as_str() }];
    let around = Circumstances {
        source: source.clone(),
        subject: format!("Patient/{patient}"),
        effective: Effective::At(&taken.text), // or Between(start, end)
        issued: None,
        device: Some(&device),
        kind: "reading", // with the suffix below the first identifier is …/lungo/reading|LU-0042:17:peak-flow
        also: &shared,
        write: Write::State, // the vendor may correct it; Write::Once for what never changes
    };
    let reading = Reading {
        suffix: "peak-flow".to_owned(),
        category: "exam".to_owned(),
        concept: Concept {
            codings: vec![table::coding("http://loinc.org", "19935-6")],
            text: Some("Peak expiratory flow".to_owned()),
        },
        value: Some(Value::Quantity(Quantity {
            value: flow.into(), // digit by digit as it was written
            unit: "L/min".to_owned(),
            ucum: Some("L/min".to_owned()),
        })),
        ..Reading::default()
    };
    // What no body can have is kept as preliminary, with a warning.
    let implausible = reading.implausible();
    found.push(entry);
    found.push(observation::entry(&reading, &around, !implausible.is_empty()));
    found.issues.extend(implausible);

    // A record that lives is told as well: what it no longer holds is taken back, and nothing of it is written if its
    // cancellation came first.
    let kept = around.identifier(&reading.suffix).1;
    found.withdrawn.push(withdrawal(serial, no, Some(kept), context));
    Ok(())
}

/// The vendor's id of a record: meters count for themselves.
fn record(serial: &str, no: &str) -> String {
    format!("{serial}:{no}")
}

/// What is no longer true of a record: all of it, or all but what is kept. It holds for what this meter measured only.
fn withdrawal(serial: &str, no: &str, kept: Option<String>, context: &Context<'_>) -> Withdrawal {
    let record = record(serial, no);
    let source = Source { namespace: context.namespace, vendor: VENDOR, of: "", record: &record };
    Withdrawal {
        system: source.identifier_system("record"),
        deleted: kept.is_none(),
        keep: kept.into_iter().collect(),
        holder: Holder::device(&source.identifier_system("serial-number"), serial),
        version: None, // `Version::number` where the vendor numbers the states of a record
        record,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::{Assignment, Publication};

    fn published(body: &str) -> Publication {
        let bytes = body.as_bytes();
        let delivery = (ADAPTER.shapes[0].receive)(bytes).expect("sound");
        let had =
            |device: &String| Assignment { device: device.clone(), patient: "ada".to_owned(), from: 0, until: None };
        let assignments: Vec<Assignment> = delivery.devices.iter().map(had).collect();
        let context = Context { namespace: "https://example.org", assignments: &assignments, ..Context::default() };
        match (ADAPTER.shapes[0].map)(bytes, &context) {
            Mapping::Publish(publication) => publication,
            other => panic!("not published: {other:?}"),
        }
    }

    #[test]
    fn the_example_publishes_corrects_and_takes_back() {
        let body = |flow: u32| {
            format!(r#"{{"serial":"LU-1","results":[{{"no":17,"taken":"2026-03-02T07:30:00+01:00","flow":{flow}}}]}}"#)
        };
        let mut memory = Memory::default();
        assert_eq!(memory.apply(&published(&body(412))).len(), 2);
        assert_eq!(memory.apply(&published(&body(412))), []);
        let corrected = memory.apply(&published(&body(420)));
        assert_eq!(corrected[0].str("status"), Some("corrected"));
        assert_eq!(memory.apply(&published(r#"{"serial":"LU-2","results":[],"cancelled":[17]}"#)), [], "another meter");
        let gone = memory.apply(&published(r#"{"serial":"LU-1","results":[],"cancelled":[17]}"#));
        assert_eq!(gone[0].str("status"), Some("entered-in-error"));
    }
}
