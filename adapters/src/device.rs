//! Devices, and which patient uses them. <https://hl7.org/fhir/R4/device.html>, <https://hl7.org/fhir/R4/deviceusestatement.html>

use fhir::json::{Json, Object};

use crate::bundle::{self, Source};
use crate::table;

/// A device as a message describes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Device {
    /// Kind of identifier that `id` is; `device-id` if it is empty.
    pub(crate) kind: String,
    /// Vendor's id of the device; empty if it has none.
    pub(crate) id: String,
    /// Serial number; the key where there is no id.
    pub(crate) serial: Option<String>,
    /// Number of its modem, which a device behind a gateway does not have.
    pub(crate) imei: Option<String>,
    /// Who made it.
    pub(crate) manufacturer: Option<String>,
    /// Its model.
    pub(crate) model: Option<String>,
    /// Version of its firmware.
    pub(crate) version: Option<String>,
    /// How full its battery is, in percent.
    pub(crate) battery: Option<String>,
}

impl Device {
    /// The identifier that pairings name: the vendor's id, else the serial number.
    pub(crate) fn key(&self) -> Option<&str> {
        if self.id.is_empty() { self.serial.as_deref() } else { Some(&self.id) }
    }
}

/// A device given to a patient, or taken back.
#[derive(Clone, Debug)]
pub struct Use<'a> {
    /// Vendor or provider of the device.
    pub provider: &'a str,
    /// Kind of identifier that `device` is, such as `device-id`.
    pub kind: &'a str,
    /// Device identifier as the vendor writes it.
    pub device: &'a str,
    /// Name that people call it by.
    pub name: Option<&'a str>,
    /// What sort of thing it is, in words.
    pub device_type: Option<&'a str>,
    /// Logical id of the patient.
    pub patient: &'a str,
    /// From when, as FHIR `dateTime`.
    pub start: &'a str,
    /// Until when, if it has ended.
    pub end: Option<&'a str>,
    /// When this was recorded.
    pub recorded: &'a str,
}

/// The transaction that writes Device and `DeviceUseStatement` of an assignment.
pub fn assignment(namespace: &str, usage: &Use<'_>) -> Json {
    let device_system = format!("{namespace}/{}/{}", usage.provider, usage.kind);
    let patient = fhir::object! { "reference": format!("Patient/{}", usage.patient) };
    let mut device = Object::new();
    device.insert("resourceType", "Device");
    device.insert("identifier", fhir::array![fhir::object! { "system": device_system.clone(), "value": usage.device }]);
    device.insert("status", "active");
    if let Some(name) = usage.name {
        device.insert("deviceName", fhir::array![fhir::object! { "name": name, "type": "user-friendly-name" }]);
    }
    if let Some(device_type) = usage.device_type {
        device.insert("type", fhir::object! { "text": device_type });
    }
    if usage.end.is_none() {
        device.insert("patient", patient.clone());
    }

    let system = format!("{namespace}/device-assignment");
    let value = format!("{}:{}:{}:{}", usage.provider, usage.device, usage.patient, usage.start);
    let mut period = Object::new();
    period.insert("start", usage.start);
    if let Some(end) = usage.end {
        period.insert("end", end);
    }
    let statement = fhir::object! {
        "resourceType": "DeviceUseStatement",
        "identifier": fhir::array![fhir::object! { "system": system.clone(), "value": value.clone() }],
        "status": if usage.end.is_some() { "completed" } else { "active" },
        "subject": patient,
        "timingPeriod": period,
        "recordedOn": usage.recorded,
        "device": fhir::object! { "reference": bundle::full_url(&device_system, usage.device) },
    };
    // An end changes what is stored; a beginning is an event that happens once.
    let write = if usage.end.is_some() { bundle::put } else { bundle::post };
    bundle::transaction(vec![
        bundle::put("Device", &device_system, usage.device, device.into()),
        write("DeviceUseStatement", &system, &value, statement),
    ])
}

/// What a stored Device becomes when `told` arrives; nothing if it says nothing new.
///
/// Messages repeat the device every time: without this each reading would make a new version of it, and would drop what
/// others said about it, such as whose it is.
pub fn merged(stored: &Json, told: &Json) -> Option<Json> {
    let mut result = stored.as_object()?.clone();
    let mut changed = false;
    for (name, value) in told.as_object()?.iter() {
        let next = match (name, result.get(name)) {
            ("resourceType" | "id" | "meta" | "text", _) => continue,
            ("identifier", Some(known)) => united(known, value, |item| (item.str("system"), item.str("value"))),
            ("deviceName", Some(known)) => united(known, value, |item| item.str("type")),
            _ => value.clone(),
        };
        if result.get(name) != Some(&next) {
            result.insert(name, next);
            changed = true;
        }
    }
    if !changed {
        return None;
    }
    let mut meta = result.get("meta").and_then(Json::as_object).cloned().unwrap_or_default();
    meta.remove("versionId");
    meta.remove("lastUpdated");
    if let Some(source) = told.get("meta").and_then(|meta| meta.get("source")) {
        meta.insert("source", source.clone());
    }
    if meta.is_empty() {
        result.remove("meta");
    } else {
        result.insert_at(2, "meta", meta);
    }
    Some(result.into())
}

/// `fullUrl` of the device and the entry that writes it; nothing if it has no identifier at all.
pub(crate) fn entry(device: &Device, parent: Option<&str>, source: &Source<'_>) -> Option<(String, Json)> {
    let identifiers = identifiers(device, source);
    let (system, value, _) = identifiers.first().cloned()?;

    let mut resource = Object::new();
    resource.insert("resourceType", "Device");
    resource.insert("meta", fhir::object! { "source": source.uri() });
    resource.insert("identifier", identifiers.into_iter().map(identifier_element).collect::<Vec<_>>());
    resource.insert("status", "active");
    if let Some(manufacturer) = &device.manufacturer {
        resource.insert("manufacturer", manufacturer.as_str());
    }
    if let Some(serial) = &device.serial {
        resource.insert("serialNumber", serial.as_str());
    }
    if let Some(model) = &device.model {
        resource.insert("deviceName", fhir::array![fhir::object! { "name": model.as_str(), "type": "model-name" }]);
        resource.insert("modelNumber", model.as_str());
    }
    if let Some(version) = &device.version {
        resource.insert("version", fhir::array![fhir::object! { "value": version.as_str() }]);
    }
    if let Some(charge) = &device.battery {
        resource.insert("property", fhir::array![battery(charge)]);
    }
    if let Some(parent) = parent {
        resource.insert("parent", fhir::object! { "reference": parent });
    }
    Some((bundle::full_url(&system, &value), bundle::put("Device", &system, &value, resource.into())))
}

/// System and value of the identifier by which a device is known.
pub(crate) fn identifier(device: &Device, source: &Source<'_>) -> Option<(String, String)> {
    identifiers(device, source).into_iter().next().map(|(system, value, _)| (system, value))
}

/// How full a battery is, in percent, as a property of its device.
pub(crate) fn battery(charge: &str) -> Json {
    let coding = table::coding("urn:iso:std:iso:11073:10101", "67996");
    let quantity = fhir::object! {
        "value": Json::Number(charge.into()),
        "unit": "%",
        "system": fhir::ucum::SYSTEM,
        "code": "%",
    };
    fhir::object! {
        "type": fhir::object! { "coding": fhir::array![coding], "text": "Battery charge" },
        "valueQuantity": fhir::array![quantity],
    }
}

/// System, value and type of all identifiers of a device, the one by which it is known first.
fn identifiers(device: &Device, source: &Source<'_>) -> Vec<(String, String, Option<Json>)> {
    let mut identifiers = Vec::new();
    if !device.id.is_empty() {
        let kind = if device.kind.is_empty() { "device-id" } else { device.kind.as_str() };
        identifiers.push((source.identifier_system(kind), device.id.clone(), None));
    }
    if let Some(serial) = &device.serial {
        identifiers.push((source.identifier_system("serial-number"), serial.clone(), Some(serial_number_type())));
    }
    if let Some(imei) = device.imei.as_deref().filter(|imei| is_imei(imei)) {
        identifiers.push((format!("{}/sid/imei", source.namespace), imei.to_owned(), None));
    }
    identifiers
}

fn identifier_element((system, value, kind): (String, String, Option<Json>)) -> Json {
    let mut identifier = Object::new();
    if let Some(kind) = kind {
        identifier.insert("type", kind);
    }
    identifier.insert("system", system);
    identifier.insert("value", value);
    identifier.into()
}

fn serial_number_type() -> Json {
    let coding = fhir::object! {
        "system": "http://terminology.hl7.org/CodeSystem/v2-0203",
        "code": "SNO",
        "display": "Serial Number",
    };
    fhir::object! { "coding": fhir::array![coding] }
}

/// 15 digits; the check digit is not tested, since vendors' own examples fail it.
pub fn is_imei(text: &str) -> bool {
    text.len() == 15 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The items of both lists; where two have the same key, the one told last.
fn united<'a, K: PartialEq>(known: &'a Json, told: &'a Json, key: impl Fn(&'a Json) -> K) -> Json {
    let mut items: Vec<&Json> = known.items().iter().collect();
    for item in told.items() {
        match items.iter().position(|other| key(other) == key(item)) {
            Some(index) => items[index] = item,
            None => items.push(item),
        }
    }
    Json::Array(items.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Json {
        fhir::object! {
            "resourceType": "Device",
            "id": "d1",
            "meta": fhir::object! { "versionId": "3", "source": "first" },
            "identifier": fhir::array![fhir::object! { "system": "s", "value": "1" }],
            "status": "active",
            "deviceName": fhir::array![fhir::object! { "name": "Bathroom scale", "type": "user-friendly-name" }],
            "patient": fhir::object! { "reference": "Patient/p" },
        }
    }

    #[test]
    fn nothing_new_is_no_version() {
        let told = fhir::object! {
            "resourceType": "Device",
            "meta": fhir::object! { "source": "second" },
            "identifier": fhir::array![fhir::object! { "system": "s", "value": "1" }],
            "status": "active",
        };
        assert_eq!(merged(&stored(), &told), None);
    }

    #[test]
    fn new_facts_are_added_and_the_patient_stays() {
        let told = fhir::object! {
            "resourceType": "Device",
            "meta": fhir::object! { "source": "second" },
            "identifier": fhir::array![fhir::object! { "system": "imei", "value": "2" }],
            "deviceName": fhir::array![fhir::object! { "name": "BC800", "type": "model-name" }],
        };
        let merged = merged(&stored(), &told).expect("it changed");
        assert_eq!(merged.list("identifier").len(), 2);
        assert_eq!(merged.list("deviceName").len(), 2);
        assert_eq!(merged.at(&["patient", "reference"]).and_then(Json::as_str), Some("Patient/p"));
        assert_eq!(merged.get("meta"), Some(&fhir::object! { "source": "second" }));
    }
}
