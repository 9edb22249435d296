//! The body of a Medisanté message: `metadata`, `device`, `measurements`.

use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};

use super::ecg::{self, Ecg};
use crate::device::Device;
use crate::reading::Value;
use crate::time::{self, Moment, Unclear};
use crate::{error, warning};

/// Longest correlation id that is taken; those on the wire are UUIDs.
const MAX_ID_LENGTH: usize = 128;

/// Members of `measurements` that are no measures.
const NO_MEASURE: &[&str] = &["timestamp", "annotations", "device", "documents", "ecgSamples"];

/// A sound message.
#[derive(Clone, Debug)]
pub(super) struct Message<'a> {
    /// The vendor's id of this delivery.
    pub(super) correlation_id: &'a str,
    /// What was measured, as the vendor names it.
    pub(super) measurement_type: &'a str,
    /// When the vendor received it, as FHIR `instant`.
    pub(super) received: Option<String>,
    /// When it was measured; nothing if the offset from UTC is not known.
    pub(super) moment: Option<Moment>,
    /// The device that sent it.
    pub(super) device: Device,
    /// The device that measured it, where that is another.
    pub(super) peripheral: Option<Device>,
    /// Numbers, in the order of the message.
    pub(super) measures: Vec<Measure<'a>>,
    /// Remarks, in the order of the message.
    pub(super) annotations: Vec<(&'a str, Value)>,
    /// Report and curves.
    pub(super) ecg: Ecg,
    /// What is odd but does no harm.
    pub(super) warnings: Vec<Issue>,
}

/// One number of a message.
#[derive(Clone, Debug)]
pub(super) struct Measure<'a> {
    /// Name of the member.
    pub(super) key: &'a str,
    /// The number as written.
    pub(super) value: &'a str,
    /// The unit as written.
    pub(super) unit: &'a str,
    /// Whether the meter could measure this value.
    pub(super) in_range: Option<bool>,
}

impl<'a> Message<'a> {
    /// Reads a body, or says everything that is wrong with it.
    pub(super) fn read(json: &'a Json) -> Result<Self, Vec<Issue>> {
        let nothing = &Json::Null;
        let part = |name| json.get(name).unwrap_or(nothing);
        let (metadata, device, measurements) = (part("metadata"), part("device"), part("measurements"));
        let mut errors = Vec::new();
        let mut warnings = Vec::new();
        let correlation_id = required(metadata, "correlationId", "metadata", &mut errors);
        let measurement_type = required(metadata, "measurementType", "metadata", &mut errors);
        let timestamp = required(measurements, "timestamp", "measurements", &mut errors);
        if correlation_id.len() > MAX_ID_LENGTH {
            let text = format!("correlationId is longer than {MAX_ID_LENGTH} characters");
            errors.push(error(IssueCode::Value, text, "metadata.correlationId"));
        }
        let moment = measured_at(timestamp, device.str("timezone"), &mut errors);
        let received = received_at(metadata, &mut warnings);
        let members = measurements.as_object();
        let measures = members.map(|members| measures(members, &mut errors, &mut warnings)).unwrap_or_default();
        let annotations = measurements.get("annotations").map(annotations).unwrap_or_default();
        let ecg = ecg::read(measurements, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        // Peripherals repeat the modem of their gateway, which is not theirs.
        let peripheral = measurements
            .get("device")
            .filter(|peripheral| peripheral.as_object().is_some())
            .map(|peripheral| Device { imei: None, ..described(peripheral) });
        Ok(Message {
            correlation_id,
            measurement_type,
            received,
            moment,
            device: described(device),
            peripheral,
            measures,
            annotations,
            ecg,
            warnings,
        })
    }

    /// Identifiers that may be paired: the device on the patient first, then its gateway.
    pub(super) fn device_keys(&self) -> Vec<String> {
        let devices = self.peripheral.iter().chain([&self.device]);
        devices.filter_map(Device::key).map(str::to_owned).collect()
    }
}

fn required<'a>(part: &'a Json, name: &str, path: &str, errors: &mut Vec<Issue>) -> &'a str {
    match part.get(name) {
        Some(Json::String(text)) if !text.trim().is_empty() => text,
        None | Some(Json::Null | Json::String(_)) => {
            errors.push(error(IssueCode::Required, format!("{path}.{name} is missing"), &format!("{path}.{name}")));
            ""
        }
        Some(_) => {
            errors.push(error(IssueCode::Value, format!("{path}.{name} is not a text"), &format!("{path}.{name}")));
            ""
        }
    }
}

fn measured_at(timestamp: &str, zone: Option<&str>, errors: &mut Vec<Issue>) -> Option<Moment> {
    if timestamp.is_empty() {
        return None;
    }
    match time::moment(timestamp, zone) {
        Ok(moment) => Some(moment),
        Err(Unclear::NoOffset) => None,
        Err(Unclear::Unreadable) => {
            let text = "measurements.timestamp is not a date with a time such as 2024-05-21T17:45:12+02:00";
            errors.push(error(IssueCode::Value, text, "measurements.timestamp"));
            None
        }
    }
}

fn received_at(metadata: &Json, warnings: &mut Vec<Issue>) -> Option<String> {
    let text = metadata.get("receivedTime")?;
    if let Some(Ok(moment)) = text.as_str().map(|text| time::moment(text, None)) {
        Some(moment.text)
    } else {
        let text = "metadata.receivedTime is not an instant; left out";
        warnings.push(warning(IssueCode::Value, text, "metadata.receivedTime"));
        None
    }
}

fn described(device: &Json) -> Device {
    let text = |name| device.str(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let version = device.at(&["additionalAttributes", "deviceVer"]).and_then(Json::as_str);
    Device {
        kind: String::new(),
        id: text("id").unwrap_or_default(),
        serial: text("serialNumber"),
        imei: text("IMEI"),
        manufacturer: text("manufacturer"),
        model: text("model"),
        version: version.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned),
        battery: None,
    }
}

fn measures<'a>(members: &'a Object, errors: &mut Vec<Issue>, warnings: &mut Vec<Issue>) -> Vec<Measure<'a>> {
    let mut measures = Vec::new();
    for (key, member) in members.iter().filter(|(key, _)| !NO_MEASURE.contains(key)) {
        let path = format!("measurements.{key}");
        match (member, member.get("value")) {
            (Json::Null, _) => {}
            (Json::Object(_), Some(Json::Number(value))) => measures.push(Measure {
                key,
                value,
                unit: member.str("unit").unwrap_or_default().trim(),
                in_range: member.get("isInRange").and_then(boolean),
            }),
            (Json::Object(_), Some(_)) => {
                errors.push(error(IssueCode::Value, format!("{path}.value is not a number"), &path));
            }
            _ => warnings.push(warning(IssueCode::NotSupported, format!("{path} is not a measure; left out"), &path)),
        }
    }
    measures
}

fn annotations(annotations: &Json) -> Vec<(&str, Value)> {
    let members = annotations.as_object().into_iter().flat_map(Object::iter);
    members.filter_map(|(key, value)| Some((key, annotation(key, value)?))).collect()
}

fn annotation(key: &str, value: &Json) -> Option<Value> {
    if super::measurement::is_boolean_annotation(key)
        && let Some(value) = boolean(value)
    {
        return Some(Value::Boolean(value));
    }
    match value {
        Json::Null => None,
        Json::String(text) if text.trim().is_empty() => None,
        Json::String(text) => Some(Value::Text(text.to_string())),
        other => Some(Value::Text(other.to_string())),
    }
}

/// Some senders write booleans as strings.
fn boolean(value: &Json) -> Option<bool> {
    match value.as_str() {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => value.as_bool(),
    }
}
