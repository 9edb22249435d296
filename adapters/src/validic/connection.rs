//! Answers of the direct connection: a meter was connected to a user, or taken from them.

use fhir::json::{Json, Object};
use fhir::outcome::IssueCode;

use super::record::word;
use super::{Found, subject, system};
use crate::device::is_imei;
use crate::time;
use crate::{Context, Delivery, Mapping, Refusal, bundle, error};

/// Whether this is such an answer.
pub(super) fn recognises(json: &Json) -> bool {
    json.get("credentials").is_some() || json.get("connections").is_some()
}

/// Says which devices it is about.
pub(super) fn receive(json: &Json) -> Result<Delivery, Refusal> {
    if !recognises(json) {
        let text = "Body has neither credentials nor connections";
        return Err(Refusal::Unprocessable(vec![error(IssueCode::Structure, text, "credentials")]));
    }
    let ids = connections(json).iter().filter_map(|it| it.at(&["credentials", "device_id"])?.as_str());
    Ok(Delivery { devices: ids.map(str::to_owned).collect(), ..Delivery::default() })
}

/// A use of a device for each connection.
pub(super) fn map(json: &Json, context: &Context<'_>) -> Mapping {
    let mut found = Found::default();
    let Some(uid) = context.user else {
        let text = "Whose connection it is must be known from the question; it is not in the answer";
        return Mapping::Quarantine { issues: vec![error(IssueCode::Required, text, "uid")] };
    };
    for connection in connections(json) {
        one(connection, uid, context, &mut found);
    }
    found.mapping()
}

fn connections(json: &Json) -> &[Json] {
    match json.get("connections") {
        Some(Json::Array(connections)) => connections,
        _ => std::slice::from_ref(json),
    }
}

fn one(connection: &Json, uid: &str, context: &Context<'_>, found: &mut Found) {
    let credential = |name| {
        let text = connection.at(&["credentials", name]).and_then(Json::as_str);
        text.map(str::trim).filter(|text| !text.is_empty())
    };
    let moment = |name| connection.str(name).and_then(|text| time::moment(text, None).ok());
    let (Some(device), Some(kind), Some(created)) =
        (credential("device_id"), connection.str("type"), moment("created_at"))
    else {
        let text = "A connection needs credentials.device_id, type and created_at";
        return found.keep_back(error(IssueCode::Required, text, "connections"));
    };
    let device_system = system(context, &format!("device/{}", word(kind)));
    let patient = subject(uid, Some(created.micros), context);
    let ended = moment("deleted_at");
    if ended.is_none() {
        let described =
            described(device, kind, (credential("device_type"), credential("device_name")), &patient, context);
        found.push(bundle::put("Device", &device_system, device, described));
    }
    let connected = system(context, "connection");
    let value = format!("{}:{device}:{}", word(kind), created.text);
    let mut period = Object::new();
    period.insert("start", created.text.as_str());
    let mut statement = Object::new();
    statement.insert("resourceType", "DeviceUseStatement");
    statement.insert("identifier", fhir::array![fhir::object! { "system": connected.clone(), "value": value.clone() }]);
    statement.insert("status", if ended.is_some() { "completed" } else { "active" });
    statement.insert("subject", fhir::object! { "reference": patient });
    if let Some(ended) = &ended {
        period.insert("end", ended.text.as_str());
    }
    statement.insert("timingPeriod", period);
    let reference = match ended {
        Some(_) => bundle::conditional("Device", &device_system, device),
        None => bundle::full_url(&device_system, device),
    };
    statement.insert("device", fhir::object! { "reference": reference });
    if let Some(reason) = connection.str("deleted_reason").filter(|reason| !reason.is_empty()) {
        statement.insert("note", fhir::array![fhir::object! { "text": reason }]);
    }
    // An end changes what is stored; a beginning is an event that happens once.
    let write = if ended.is_some() { bundle::put } else { bundle::post };
    found.push(write("DeviceUseStatement", &connected, &value, statement.into()));
}

fn described(
    device: &str,
    kind: &str,
    (device_type, name): (Option<&str>, Option<&str>),
    patient: &str,
    context: &Context<'_>,
) -> Json {
    let mut identifiers =
        vec![fhir::object! { "system": system(context, &format!("device/{}", word(kind))), "value": device }];
    if is_imei(device) {
        identifiers.push(fhir::object! { "system": format!("{}/sid/imei", context.namespace), "value": device });
    }
    let mut resource = Object::new();
    resource.insert("resourceType", "Device");
    resource.insert("identifier", identifiers);
    resource.insert("status", "active");
    if kind == "smart_meter" {
        resource.insert("manufacturer", "Smart Meter");
    }
    if let Some(name) = name {
        resource.insert("deviceName", fhir::array![fhir::object! { "name": name, "type": "user-friendly-name" }]);
    }
    if let Some(device_type) = device_type {
        let coding = fhir::object! { "system": system(context, "CodeSystem/device-type"), "code": device_type };
        resource.insert("type", fhir::object! { "coding": fhir::array![coding] });
    }
    resource.insert("patient", fhir::object! { "reference": patient });
    resource.into()
}
