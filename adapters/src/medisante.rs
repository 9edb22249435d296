//! Medisanté: readings of cellular blood pressure monitors, scales, meters and gateways, pushed to a webhook.
//!
//! The vendor's word for a delivery is `metadata.correlationId`. What each measurement becomes is in
//! `mappings/medisante-measurements.csv`; [`message`] reads the body, [`measurement`] applies the table, [`ecg`] is
//! what does not fit into a table. FHIR bodies are taken over by [`crate::external`]; the vendor's own XML is kept until
//! its schema is known.

mod ecg;
mod measurement;
mod message;

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use crate::bundle::{self, Source};
use crate::external;
use crate::observation::{self, Circumstances, Effective, Write};
use crate::time::Moment;
use crate::{
    Adapter, Authentication, Context, Delivery, Mapping, Publication, Refusal, Shape, device, error, first_byte, json,
    quarantined, warning,
};
use message::Message;

/// The adapter.
pub(crate) static ADAPTER: Adapter = Adapter {
    vendor: VENDOR,
    name: "Medisanté",
    version: "2",
    authentication: Authentication::ApiKey { header: "x-api-key" },
    // Readings are a kilobyte; an ECG report is a PDF inside the message.
    max_bytes: 10 << 20,
    content_types: &[],
    shapes: &[
        Shape {
            name: "medisantestandard-json",
            about: "the vendor's own JSON: metadata, device, measurements",
            answers: 200,
            routes: &["/health-data/medisante", "/health-data/medisante/medisantestandard-json"],
            recognises: &|bytes| json(bytes).is_ok_and(|json| json.get("resourceType").is_none()),
            receive: &receive,
            map: &map,
        },
        Shape {
            name: "fhir-json",
            about: "a FHIR R4 resource or Bundle as JSON",
            answers: 200,
            routes: &["/health-data/medisante", "/health-data/medisante/fhir-json"],
            recognises: &|bytes| json(bytes).is_ok_and(|json| json.get("resourceType").is_some()),
            receive: &|bytes| external::receive(&json(bytes)?, VENDOR),
            map: &|bytes, context| fhir_body(json(bytes), context),
        },
        Shape {
            name: "fhir-xml",
            about: "a FHIR R4 resource or Bundle as XML",
            answers: 200,
            routes: &["/health-data/medisante", "/health-data/medisante/fhir-xml"],
            recognises: &|bytes| first_byte(bytes) == Some(b'<') && external::xml(bytes).is_ok(),
            receive: &|bytes| external::receive(&external::xml(bytes)?, VENDOR),
            map: &|bytes, context| fhir_body(external::xml(bytes), context),
        },
        Shape {
            name: "medisantestandard-xml",
            about: "the vendor's own XML: kept as it is until its schema is known",
            answers: 200,
            routes: &["/health-data/medisante", "/health-data/medisante/medisantestandard-xml"],
            recognises: &|bytes| first_byte(bytes) == Some(b'<'),
            receive: &|bytes| external::well_formed(bytes).map(|()| Delivery::default()),
            map: &|_, _| Mapping::Quarantine { issues: vec![unknown_xml()] },
        },
    ],
    device_kind,
};

const VENDOR: &str = "medisante";

/// A reading may be this far ahead of our clock before that is worth a warning.
const ALLOWED_SKEW_MICROS: i64 = 5 * 60 * 1_000_000;

fn receive(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let json = json(bytes)?;
    let message = Message::read(&json).map_err(Refusal::Unprocessable)?;
    let id = Some(message.correlation_id.to_owned());
    Ok(Delivery { id, devices: message.device_keys(), ..Delivery::default() })
}

fn map(bytes: &[u8], context: &Context<'_>) -> Mapping {
    let read = match json(bytes) {
        Ok(json) => json,
        Err(refusal) => return quarantined(refusal),
    };
    match Message::read(&read).and_then(|message| publish(&message, context)) {
        Ok((bundle, issues)) => Mapping::Publish(Publication::of(bundle, issues)),
        Err(issues) => Mapping::Quarantine { issues },
    }
}

fn fhir_body(body: Result<Json, Refusal>, context: &Context<'_>) -> Mapping {
    match body {
        Ok(body) => external::map(&body, VENDOR, device_kind, context),
        Err(refusal) => quarantined(refusal),
    }
}

fn unknown_xml() -> Issue {
    let text = "The schema of Medisanté's own XML is not known yet; raw data kept";
    Issue::warning(IssueCode::NotSupported, text)
}

/// `Manufacturer:Model:Serial` is the vendor's id; models that send none are known by the serial number.
fn device_kind(identifier: &str) -> &'static str {
    if identifier.contains(':') { "device-id" } else { "serial-number" }
}

fn publish(message: &Message<'_>, context: &Context<'_>) -> Result<(Json, Vec<Issue>), Vec<Issue>> {
    let moment = moment(message)?;
    let patient = patient(message, moment, context)?;
    let source = Source { namespace: context.namespace, vendor: VENDOR, of: "", record: message.correlation_id };
    let mut issues = message.warnings.clone();
    if moment.micros > context.now + ALLOWED_SKEW_MICROS {
        let text = format!("{} is in the future; the clock of the device may be wrong", moment.text);
        issues.push(warning(IssueCode::Value, text, "measurements.timestamp"));
    }

    let (measured_by, mut entries) = devices(message, &source)?;
    let around = Circumstances {
        source,
        subject: format!("Patient/{patient}"),
        effective: Effective::At(&moment.text),
        issued: message.received.as_deref(),
        device: Some(&measured_by),
        kind: "measurement",
        also: &[],
        write: Write::Once,
    };
    let before = entries.len();
    for reading in measurement::readings(message, &around.source, &mut issues)? {
        let implausible = reading.implausible();
        entries.push(observation::entry(&reading, &around, !implausible.is_empty()));
        issues.extend(implausible);
    }
    entries.extend(ecg::report(message, &around));
    if entries.len() == before {
        let text = format!("The message holds no measurement of type {}", message.measurement_type);
        return Err(vec![warning(IssueCode::Required, text, "measurements")]);
    }
    Ok((bundle::transaction(entries), issues))
}

fn moment<'a>(message: &'a Message<'_>) -> Result<&'a Moment, Vec<Issue>> {
    message.moment.as_ref().ok_or_else(|| {
        let text = "The timestamp has no offset from UTC and the time zone of the device does not tell it";
        vec![warning(IssueCode::Value, text, "measurements.timestamp")]
    })
}

fn patient<'a>(message: &Message<'_>, moment: &Moment, context: &'a Context<'_>) -> Result<&'a str, Vec<Issue>> {
    let devices = message.device_keys();
    let name = devices.first().map_or("without id and serial number", String::as_str);
    let unassigned = context.patient(&devices, moment.micros);
    unassigned.map_err(|unassigned| vec![unassigned.issue(name, &moment.text, "Bundle.entry")])
}

/// `fullUrl` of the device that measured, and the entries of it and its gateway.
fn devices(message: &Message<'_>, source: &Source<'_>) -> Result<(String, Vec<Json>), Vec<Issue>> {
    let outer = device::entry(&message.device, None, source);
    let gateway = outer.as_ref().map(|(url, _)| url.clone());
    let inner = message.peripheral.as_ref().and_then(|device| device::entry(device, gateway.as_deref(), source));
    let measured_by = inner.as_ref().or(outer.as_ref()).map(|(url, _)| url.clone());
    let entries = outer.into_iter().chain(inner).map(|(_, entry)| entry).collect();
    let measured_by = measured_by.ok_or_else(|| {
        vec![error(IssueCode::Required, "The device has neither an id nor a serial number", "device")]
    })?;
    Ok((measured_by, entries))
}
