//! What measured: the device that HealthKit knows by a local id, else the app or phone that wrote the sample.

use fhir::json::{Json, Object};

use crate::Context;
use crate::bundle;

use super::VENDOR;

/// `fullUrl` of the device of a sample and the entry that writes it; nothing if the sample names none.
pub(super) fn entry(sample: &Json, patient: &str, context: &Context<'_>) -> Option<(String, Json)> {
    let text =
        |json: &Json, name: &str| json.str(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let nothing = &Json::Null;
    let hardware = sample.get("device").filter(|json| json.as_object().is_some()).unwrap_or(nothing);
    let source_name = text(sample, "sourceName");
    // Names that people give to their watches say nothing unless it is known whose.
    let value = text(hardware, "localIdentifier").or_else(|| text(sample, "sourceId"));
    let value = value.or_else(|| source_name.as_ref().map(|name| format!("{patient}:{name}")))?;
    let system = format!("{}/{VENDOR}/source", context.namespace);
    let known = text(hardware, "localIdentifier").is_some();
    let name = if known { text(hardware, "name").or(source_name) } else { source_name };

    let mut device = Object::new();
    device.insert("resourceType", "Device");
    let identifier = fhir::object! { "system": system.clone(), "value": value.as_str() };
    device.insert("identifier", fhir::array![identifier]);
    device.insert("status", "active");
    if let Some(manufacturer) = text(hardware, "manufacturer") {
        device.insert("manufacturer", manufacturer);
    }
    if let Some(name) = name {
        device.insert("deviceName", fhir::array![fhir::object! { "name": name, "type": "user-friendly-name" }]);
    }
    if let Some(model) = text(hardware, "model") {
        device.insert("modelNumber", model);
    }
    let versions: Vec<Json> =
        [("hardware", "hardwareVersion"), ("firmware", "firmwareVersion"), ("software", "softwareVersion")]
            .into_iter()
            .filter_map(|(kind, name)| {
                let value = text(hardware, name)?;
                Some(fhir::object! { "type": fhir::object! { "text": kind }, "value": value })
            })
            .collect();
    if !versions.is_empty() {
        device.insert("version", versions);
    }
    Some((bundle::full_url(&system, &value), bundle::put("Device", &system, &value, device.into())))
}
