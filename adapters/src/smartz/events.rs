//! What happens: the status of a pad, and alerts.

use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};

use super::{Kind, Payload, mapped, missing};
use crate::observation::{self, Circumstances, Effective, Write};
use crate::reading::{Concept, Quantity, Reading, Value};
use crate::{Delivery, Publication, Refusal, bundle, error, json, time};

/// An alert.
pub(super) const ALERT: Kind = Kind {
    recognises: &|bytes| json(bytes).is_ok_and(|json| json.get("raisedAt").is_some() || json.get("severity").is_some()),
    receive: &receive,
    map: &|bytes, context| mapped(bytes, context, alert),
};

/// A status.
pub(super) const STATUS: Kind = Kind {
    recognises: &|bytes| json(bytes).is_ok_and(|json| json.get("state").is_some()),
    receive: &receive,
    map: &|bytes, context| mapped(bytes, context, status),
};

/// The configured names are not known here: whatever is an object is kept and looked at when it is mapped.
fn receive(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let json = json(bytes)?;
    if json.as_object().is_none() {
        let text = "Body must be an object";
        return Err(Refusal::Unprocessable(vec![error(IssueCode::Structure, text, "")]));
    }
    let devices = json.str("podId").map(str::to_owned).into_iter().collect();
    Ok(Delivery { devices, ..Delivery::default() })
}

fn status(payload: &Payload<'_>) -> Result<Publication, Vec<Issue>> {
    let required = |field| payload.text(field).ok_or_else(|| missing(payload, field));
    let (id, pod) = (required("status.id")?, required("status.pod")?);
    let moment = moment(payload, "status.time")?;
    let subject = whose(payload, "status.patient", &pod, moment.micros)?;
    let received = payload.text("status.received").and_then(|text| time::moment(&text, None).ok());
    let device = bundle::conditional("Device", &payload.system("pod"), &pod);
    let around = Circumstances {
        source: payload.source("status/", &id),
        subject,
        effective: Effective::At(&moment.text),
        issued: received.as_ref().map(|moment| moment.text.as_str()),
        device: Some(&device),
        kind: "status",
        also: &[],
        write: Write::Once,
    };
    let mut entries = Vec::new();
    if let Some(state) = payload.text("status.state") {
        let coding = fhir::object! {
            "system": around.source.code_system("saturation-state"),
            "code": state.as_str(),
            "display": capitalised(&state),
        };
        let value = Value::Concept(fhir::object! { "coding": fhir::array![coding] });
        let concept = ("saturation-state", "Absorbent product saturation state", "Saturation state");
        entries.push(observation::entry(&reading("saturation", concept, value, &around), &around, false));
    }
    let percent = payload.fields.of(payload.json, "status.percent").and_then(Json::as_number);
    if let Some(percent) = percent {
        let value =
            Value::Quantity(Quantity { value: percent.into(), unit: "%".to_owned(), ucum: Some("%".to_owned()) });
        let concept = ("saturation-percent", "Absorbent product saturation", "Saturation");
        entries.push(observation::entry(&reading("saturation-percent", concept, value, &around), &around, false));
    }
    if entries.is_empty() {
        return Err(missing(payload, "status.state"));
    }
    Ok(Publication::of(bundle::transaction(entries), Vec::new()))
}

fn reading(
    suffix: &str,
    (code, display, text): (&str, &str, &str),
    value: Value,
    around: &Circumstances<'_>,
) -> Reading {
    let coding = fhir::object! { "system": around.source.code_system("measurement"), "code": code, "display": display };
    Reading {
        suffix: suffix.to_owned(),
        category: "exam".to_owned(),
        concept: Concept { codings: vec![coding], text: Some(text.to_owned()) },
        value: Some(value),
        ..Reading::default()
    }
}

fn alert(payload: &Payload<'_>) -> Result<Publication, Vec<Issue>> {
    let required = |field| payload.text(field).ok_or_else(|| missing(payload, field));
    let (id, pod, kind) = (required("alert.id")?, required("alert.pod")?, required("alert.type")?);
    let raised = moment(payload, "alert.raised")?;
    let resolved = payload.text("alert.resolved").and_then(|text| time::moment(&text, None).ok());
    let subject = fhir::object! { "reference": whose(payload, "alert.patient", &pod, raised.micros)? };
    let pod = fhir::object! { "reference": bundle::conditional("Device", &payload.system("pod"), &pod) };
    let message = payload.text("alert.message").unwrap_or_else(|| kind.clone());
    let source = payload.source("alert/", &id);
    let mut period = Object::new();
    period.insert("start", raised.text.as_str());
    if let Some(resolved) = &resolved {
        period.insert("end", resolved.text.as_str());
    }
    let category = |system: &str, code: &str, display: &str| {
        let system = format!("http://terminology.hl7.org/CodeSystem/{system}");
        let coding = fhir::object! { "system": system, "code": code, "display": display };
        fhir::array![fhir::object! { "coding": fhir::array![coding] }]
    };
    let code =
        fhir::object! { "system": source.code_system("alert-type"), "code": kind.as_str(), "display": kind.as_str() };
    let flag_system = payload.system("alert");
    let flag = fhir::object! {
        "resourceType": "Flag",
        "meta": fhir::object! { "source": source.uri() },
        "identifier": fhir::array![fhir::object! { "system": flag_system.clone(), "value": id.as_str() }],
        "status": if resolved.is_some() { "inactive" } else { "active" },
        "category": category("flag-category", "clinical", "Clinical"),
        "code": fhir::object! { "coding": fhir::array![code], "text": message.as_str() },
        "subject": subject.clone(),
        "period": period,
        "author": pod.clone(),
    };
    let system = payload.system("alert-communication");
    let mut communication = Object::new();
    communication.insert("resourceType", "Communication");
    communication.insert("meta", fhir::object! { "source": source.uri() });
    let identifier = fhir::object! { "system": system.clone(), "value": id.as_str() };
    communication.insert("identifier", fhir::array![identifier]);
    communication.insert("status", "completed");
    communication.insert("category", category("communication-category", "alert", "Alert"));
    communication.insert("priority", priority(payload.text("alert.severity").as_deref()));
    communication.insert("subject", subject);
    let about = fhir::object! { "reference": bundle::full_url(&flag_system, &id) };
    communication.insert("about", fhir::array![about]);
    communication.insert("sent", raised.text.as_str());
    if let Some(Ok(received)) = payload.text("alert.received").map(|text| time::moment(&text, None)) {
        communication.insert("received", received.text);
    }
    communication.insert("sender", pod);
    communication.insert("payload", fhir::array![fhir::object! { "contentString": message }]);
    let entries = vec![
        bundle::put("Flag", &flag_system, &id, flag),
        bundle::post("Communication", &system, &id, communication.into()),
    ];
    Ok(Publication::of(bundle::transaction(entries), Vec::new()))
}

/// The patient that the pod was paired with at that moment, else the one whom the vendor names.
fn whose(payload: &Payload<'_>, field: &str, pod: &str, micros: i64) -> Result<String, Vec<Issue>> {
    if let Ok(patient) = payload.context.patient(&[pod.to_owned()], micros) {
        return Ok(format!("Patient/{patient}"));
    }
    let id = payload.text(field).ok_or_else(|| missing(payload, field))?;
    Ok(payload.patient(&id))
}

fn moment(payload: &Payload<'_>, field: &str) -> Result<time::Moment, Vec<Issue>> {
    let text = payload.text(field).ok_or_else(|| missing(payload, field))?;
    time::moment(&text, None).map_err(|_| {
        let pointer = payload.fields.pointer(field);
        vec![error(IssueCode::Value, format!("{pointer} is not a date with a time and an offset"), pointer)]
    })
}

/// <https://hl7.org/fhir/R4/valueset-request-priority.html>
fn priority(severity: Option<&str>) -> &'static str {
    match severity.map(str::to_ascii_lowercase).as_deref() {
        Some("critical" | "emergency") => "stat",
        Some("high" | "urgent") => "urgent",
        Some("medium" | "warning") => "asap",
        _ => "routine",
    }
}

fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
