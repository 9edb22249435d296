//! Whose a payer's session is: the one patient who has the number that the payer opened it under. (LK-51)
//!
//! Identifiers are their writers' to say: an app may put any session into an Encounter of its patient, and any number
//! into its Patient. So a session counts for a patient only if its number is theirs and, whatever the caller can see,
//! nobody else's here. Everywhere else it is as if there were no such session.

use fhir::json::Json;
use fhir::reference::Reference;
use search::parse::literal;
use store::insurance_sessions::{self, Session};

use super::account::Account;
use super::overview;
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;

/// The system of a kind of a payer's identifiers.
pub(super) fn system(app: &App, payer: &str, kind: &str) -> String {
    format!("{}/{payer}/{kind}", app.config.adapter_namespace)
}

/// The value of the identifier of a system.
pub(super) fn identifier<'a>(resource: &'a Json, system: &str) -> Option<&'a str> {
    resource.list("identifier").iter().find(|it| it.str("system") == Some(system))?.str("value")
}

/// Logical id of the patient of an Encounter.
pub(super) fn subject(app: &App, encounter: &Json) -> Option<String> {
    patient_of(app, encounter.get("subject"))
}

/// Logical id of the patient that a Reference points at.
pub(super) fn patient_of(app: &App, reference: Option<&Json>) -> Option<String> {
    match Reference::parse(reference?.str("reference")?, &app.config.fhir_base()) {
        Reference::Local { resource_type, id, .. } if resource_type == "Patient" => Some(id),
        _ => None,
    }
}

/// A session, if it is that patient's.
pub(super) async fn session(
    app: &App,
    account: &Account,
    session: &str,
    patient: Option<&str>,
) -> Result<Option<Session>, Error> {
    let (Some(patient), false) = (patient, session.is_empty()) else { return Ok(None) };
    let payer = account.payer.vendor;
    let Some(known) = insurance_sessions::find(&app.store, payer, session).await? else { return Ok(None) };
    let owner = owner(app, payer, &known.patient_number).await?;
    Ok(Some(known).filter(|_| owner.as_deref() == Some(patient)))
}

/// The only patient who has a number of a payer's. Where several have it, nobody does: one of them wrote it down.
pub(super) async fn owner(app: &App, payer: &str, number: &str) -> Result<Option<String>, Error> {
    let found = having(app, &Caller::server("insurance"), payer, number).await?;
    Ok(if let [only] = found.as_slice() { Some(only.clone()) } else { None })
}

/// The same, if the caller can see who it is.
pub(super) async fn known(app: &App, caller: &Caller, payer: &str, number: &str) -> Result<Option<String>, Error> {
    let seen = having(app, caller, payer, number).await?;
    Ok(owner(app, payer, number).await?.filter(|owner| seen.contains(owner)))
}

/// Patients with a number, two at most.
async fn having(app: &App, caller: &Caller, payer: &str, number: &str) -> Result<Vec<String>, Error> {
    if number.is_empty() {
        return Ok(Vec::new()); // a system without a value would be everybody with a number
    }
    let value = format!("{}|{}", system(app, payer, "patient-number"), literal(number));
    let found = overview::search(app, caller, "Patient", "identifier", &[value]).await?;
    Ok(found.into_iter().map(|(id, _)| id).collect())
}
