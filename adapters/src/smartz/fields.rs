//! Where each value stands in a payload: a JSON pointer for each logical field. <https://www.rfc-editor.org/rfc/rfc6901>

use fhir::json::Json;

/// Logical fields and where they stand unless configuration says otherwise.
pub const DEFAULTS: &[(&str, &str)] = &[
    ("alert.id", "/id"),
    ("alert.patient", "/patientId"),
    ("alert.pod", "/podId"),
    ("alert.type", "/type"),
    ("alert.severity", "/severity"),
    ("alert.message", "/message"),
    ("alert.raised", "/raisedAt"),
    ("alert.received", "/receivedAt"),
    ("alert.resolved", "/resolvedAt"),
    ("status.id", "/id"),
    ("status.patient", "/patientId"),
    ("status.pod", "/podId"),
    ("status.time", "/timestamp"),
    ("status.received", "/receivedAt"),
    ("status.state", "/state"),
    ("status.percent", "/saturationPercent"),
    ("manufacturer", "/manufacturer"),
    ("manufacturer.id", "/id"),
    ("manufacturer.name", "/name"),
    ("products", "/products"),
    ("product.id", "/id"),
    ("product.name", "/name"),
    ("product.type", "/type"),
    ("product.size", "/size"),
    ("product.capacity", "/capacityMl"),
    ("organisation", "/organisation"),
    ("organisation.id", "/id"),
    ("organisation.name", "/name"),
    ("nodes", "/nodes"),
    ("pods", "/pods"),
    ("device.id", "/id"),
    ("device.name", "/name"),
    ("device.serial", "/serialNumber"),
    ("device.firmware", "/firmware"),
    ("device.battery", "/batteryPercent"),
    ("device.node", "/nodeId"),
    ("patient", "/patient"),
    ("patient.id", "/id"),
    ("patient.external", "/externalId"),
    ("patient.given", "/firstName"),
    ("patient.family", "/lastName"),
    ("patient.gender", "/gender"),
    ("patient.birth", "/dateOfBirth"),
    ("patient.active", "/active"),
    ("pod", "/pod"),
    ("pod.id", "/id"),
    ("pod.assigned", "/assignedAt"),
    ("pod.unassigned", "/unassignedAt"),
];

/// The names in force: the usual ones, and those that configuration replaces.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    configured: Option<&'a Json>,
}

impl<'a> Fields<'a> {
    /// Names, some of which an object of logical field and pointer may replace.
    pub fn new(configured: Option<&'a Json>) -> Self {
        Fields { configured }
    }

    /// Where a field stands.
    pub fn pointer(&self, field: &str) -> &'a str {
        let configured = self.configured.and_then(|names| names.str(field));
        configured
            .unwrap_or_else(|| DEFAULTS.iter().find(|(name, _)| *name == field).map_or("", |(_, pointer)| *pointer))
    }

    /// The value of a field; nothing if it is not there or null.
    pub fn of<'j>(&self, json: &'j Json, field: &str) -> Option<&'j Json> {
        let pointer = self.pointer(field).strip_prefix('/')?;
        let mut value = json;
        for step in pointer.split('/') {
            let step = step.replace("~1", "/").replace("~0", "~");
            value = match value {
                Json::Array(items) => items.get(step.parse::<usize>().ok()?)?,
                other => other.get(&step)?,
            };
        }
        (*value != Json::Null).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_replaces_single_names() {
        let names = fhir::object! { "alert.id": "/data/0/alert~1id" };
        let fields = Fields::new(Some(&names));
        let json = fhir::object! { "data": fhir::array![fhir::object! { "alert/id": "a" }], "type": "wet" };
        assert_eq!(fields.of(&json, "alert.id"), Some(&"a".into()));
        assert_eq!(fields.of(&json, "alert.type"), Some(&"wet".into()));
        assert_eq!(fields.of(&json, "no.such"), None);
    }
}
