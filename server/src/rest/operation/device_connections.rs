//! `$provision-device-user`, `$connect-device`, `$disconnect-device`, `$disconnect-all-devices`,
//! `$device-connections`: devices of a patient at a vendor that is asked.
//!
//! They need what writing Device and `DeviceUseStatement` of that patient needs. What the vendor answers goes into the
//! inbox, so Device and `DeviceUseStatement` follow within moments.
//!
//! | status | when |
//! |---|---|
//! | 404 | no such patient, or not one of the caller's |
//! | 409 | the device is connected with another patient |
//! | 422 | not an IMEI or type; or the vendor says no, with what it says |
//! | 502, 503, 504 | the vendor answered badly, wants us to wait, or does not answer; or no connection is set up |

use fhir::json::Json;
use fhir::outcome::IssueCode;
use search::view::{Compartment, TypeRule, View};

use super::{Invocation, invalid, parameters};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::connections::validic::devices::{self, Connected};
use crate::devices::webhook;
use crate::error::Error;
use crate::rest::response::Answer;

/// The vendor that is meant where none is named, and the only one that connects devices.
const VENDOR: &str = "validic";

/// `$provision-device-user`.
pub(super) async fn provision(app: &App, caller: &Caller, asked: &Invocation) -> Result<Answer, Error> {
    let patient = patient(app, caller, asked).await?;
    let user = devices::provision(app, caller.actor(), patient).await?;
    let user = fhir::object! { "name": "user", "valueString": user };
    Ok(Answer::resource(parameters(vec![user]).to_string()))
}

/// `$connect-device`.
pub(super) async fn connect(app: &App, caller: &Caller, asked: &Invocation) -> Result<Answer, Error> {
    let patient = patient(app, caller, asked).await?;
    let kind = asked.input.text("device-type").unwrap_or_default();
    Ok(answer(&[devices::connect(app, caller.actor(), patient, (device(asked), kind)).await?]))
}

/// `$disconnect-device`.
pub(super) async fn disconnect(app: &App, caller: &Caller, asked: &Invocation) -> Result<Answer, Error> {
    let patient = patient(app, caller, asked).await?;
    Ok(answer(&[devices::disconnect(app, caller.actor(), patient, device(asked)).await?]))
}

/// `$disconnect-all-devices`.
pub(super) async fn disconnect_all(app: &App, caller: &Caller, asked: &Invocation) -> Result<Answer, Error> {
    let patient = patient(app, caller, asked).await?;
    Ok(answer(&devices::disconnect_all(app, caller.actor(), patient).await?))
}

/// `$device-connections`.
pub(super) async fn list(app: &App, caller: &Caller, asked: &Invocation) -> Result<Answer, Error> {
    let patient = patient(app, caller, asked).await?;
    Ok(answer(&devices::of_patient(app, patient).await?))
}

/// The patient of whom it is asked, once it is clear that the caller may and the vendor can.
async fn patient<'a>(app: &App, caller: &Caller, asked: &'a Invocation) -> Result<&'a str, Error> {
    let patient = asked.target.id.as_str();
    authorize(app, caller, patient, asked.operation.changes).await?;
    if let Some(other) = asked.input.text("vendor").filter(|vendor| *vendor != VENDOR) {
        let text = format!("devices cannot be connected through {other}; they can through {VENDOR}");
        return Err(invalid(IssueCode::NotSupported, text));
    }
    Ok(patient)
}

fn device(asked: &Invocation) -> &str {
    asked.input.text("device").unwrap_or_default()
}

fn answer(connected: &[Connected]) -> Answer {
    let described = connected.iter().map(described).collect();
    Answer::resource(parameters(described).to_string())
}

/// Whoever connects decides whose data a device makes. Conditions of a granular scope cannot be held against what the
/// vendor will answer, so the rights must be for the whole types.
async fn authorize(app: &App, caller: &Caller, patient: &str, changes: bool) -> Result<(), Error> {
    for resource_type in ["Device", "DeviceUseStatement"] {
        if changes {
            webhook::decide(caller, resource_type)?;
        } else {
            access::decide(caller, Interaction::Search, resource_type)?;
            if *caller.view.rule(resource_type) != TypeRule::Whole {
                return Err(Error::forbidden(format!("this needs a scope for all resources of {resource_type}")));
            }
        }
    }
    let theirs = match caller.view.compartment() {
        Compartment::Everyone => true,
        Compartment::Patients(patients) => patients.iter().any(|id| id == patient),
    };
    let unknown = || Error::unknown("Patient", patient);
    let stored = if theirs { app.store.read(&View::system(), "Patient", patient).await? } else { None };
    stored.filter(|stored| !stored.deleted).map(drop).ok_or_else(unknown)
}

fn described(connected: &Connected) -> Json {
    let instant = |micros| jiff::Timestamp::from_microsecond(micros).unwrap_or_default().to_string();
    let mut parts = vec![
        fhir::object! { "name": "vendor", "valueCode": VENDOR },
        fhir::object! { "name": "device", "valueString": connected.device.as_str() },
        fhir::object! { "name": "status", "valueCode": if connected.until.is_some() { "completed" } else { "active" } },
        fhir::object! { "name": "since", "valueInstant": instant(connected.from) },
    ];
    if let Some(until) = connected.until {
        parts.push(fhir::object! { "name": "until", "valueInstant": instant(until) });
    }
    if let Some(receipt) = &connected.receipt {
        parts.push(fhir::object! { "name": "receipt", "valueString": receipt.as_str() });
    }
    fhir::object! { "name": "connection", "part": parts }
}
