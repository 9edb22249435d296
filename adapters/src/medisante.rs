//! Medisanté: readings of cellular blood pressure monitors, scales, meters and gateways, pushed to a webhook as JSON.
//!
//! The vendor's word for a delivery is `metadata.correlationId`. What each measurement becomes is in
//! `mappings/medisante-measurements.csv`; [`message`] reads the body, [`measurement`] applies the table, [`ecg`] is
//! what does not fit into a table.

mod ecg;
mod measurement;
mod message;

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use crate::bundle::{self, Source};
use crate::observation::{self, Circumstances};
use crate::time::Moment;
use crate::{Adapter, Authentication, Context, Delivery, Mapping, Refusal, Unassigned, device, error, warning};
use message::Message;

/// The adapter.
pub(crate) static ADAPTER: Adapter = Adapter {
    vendor: VENDOR,
    routes: &["/health-data/medisante", "/health-data/medisante/medisantestandard-json"],
    authentication: Authentication::ApiKey { header: "x-api-key" },
    // Readings are a kilobyte; an ECG report is a PDF inside the message.
    max_bytes: 10 << 20,
    receive,
    map,
    device_kind,
};

const VENDOR: &str = "medisante";

/// A reading may be this far ahead of our clock before that is worth a warning.
const ALLOWED_SKEW_MICROS: i64 = 5 * 60 * 1_000_000;

fn receive(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let json = parse(bytes)?;
    let message = Message::read(&json).map_err(Refusal::Unprocessable)?;
    Ok(Delivery { id: message.correlation_id.to_owned(), devices: message.device_keys() })
}

fn map(bytes: &[u8], context: &Context<'_>) -> Mapping {
    let read = parse(bytes).map_err(|refusal| match refusal {
        Refusal::Malformed(issue) => vec![issue],
        Refusal::Unprocessable(issues) => issues,
    });
    let mapped = match &read {
        Ok(json) => Message::read(json).and_then(|message| publish(&message, context)),
        Err(issues) => Err(issues.clone()),
    };
    match mapped {
        Ok((bundle, issues)) => Mapping::Publish { bundle, issues },
        Err(issues) => Mapping::Quarantine { issues },
    }
}

/// `Manufacturer:Model:Serial` is the vendor's id; models that send none are known by the serial number.
fn device_kind(identifier: &str) -> &'static str {
    if identifier.contains(':') { "device-id" } else { "serial-number" }
}

fn parse(bytes: &[u8]) -> Result<Json, Refusal> {
    Json::parse(bytes).map_err(|cause| {
        Refusal::Malformed(Issue::error(IssueCode::Invalid, format!("Body is not well formed JSON: {cause}")))
    })
}

fn publish(message: &Message<'_>, context: &Context<'_>) -> Result<(Json, Vec<Issue>), Vec<Issue>> {
    let moment = moment(message)?;
    let patient = patient(message, moment, context)?;
    let source = Source { namespace: context.namespace, vendor: VENDOR, record: message.correlation_id };
    let mut issues = message.warnings.clone();
    if moment.micros > context.now + ALLOWED_SKEW_MICROS {
        let text = format!("{} is in the future; the clock of the device may be wrong", moment.text);
        issues.push(warning(IssueCode::Value, text, "measurements.timestamp"));
    }

    let (measured_by, mut entries) = devices(message, &source)?;
    let around = Circumstances {
        source,
        patient,
        effective: &moment.text,
        issued: message.received.as_deref(),
        device: &measured_by,
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
    context.patient(&devices, moment.micros).map_err(|unassigned| {
        let (who, code) = match unassigned {
            Unassigned::None => ("No patient is", IssueCode::NotFound),
            Unassigned::Many => ("More than one patient is", IssueCode::MultipleMatches),
        };
        vec![warning(
            code,
            format!("{who} assigned to device {name} at {}; raw data kept", moment.text),
            "Bundle.entry",
        )]
    })
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
