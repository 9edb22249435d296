//! Device resources that exist already: messages repeat their device each time, and only news about it are written.

use fhir::json::{Json, Object};
use search::parse::{Options, parse};
use store::Stored;

use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;

/// What else is to be said about the devices of a Bundle.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change<'a> {
    /// The patient, as `Patient/ID`, whose the device is no more.
    pub(super) released_from: Option<&'a str>,
}

/// Replaces conditional writes of known devices by what is new about them, or by nothing, and rewrites references.
///
/// The version that was looked at goes along as `ifMatch`: if it has changed meanwhile, the Bundle fails as a whole and
/// is tried again.
pub(super) async fn settle(app: &App, caller: &Caller, bundle: Json, change: Change<'_>) -> Result<Json, Error> {
    let mut entries = Vec::new();
    let mut known = Vec::new();
    for entry in bundle.list("entry") {
        let stored = match criteria(entry) {
            Some(criteria) => find(app, caller, criteria).await?,
            None => None,
        };
        let Some(stored) = stored else {
            entries.push(entry.clone());
            continue;
        };
        let local = format!("Device/{}", stored.id);
        known.push((entry.str("fullUrl").unwrap_or_default().to_owned(), local.clone()));
        if let Some(next) = next_version(&stored, entry, &known, change) {
            entries.push(fhir::object! {
                "fullUrl": format!("{}/{local}", app.config.fhir_base()),
                "resource": next,
                "request": fhir::object! {
                    "method": "PUT",
                    "url": local,
                    "ifMatch": format!("W/\"{}\"", stored.version),
                },
            });
        }
    }
    for entry in &mut entries {
        redirect(entry, &known);
    }
    Ok(fhir::object! { "resourceType": "Bundle", "type": "transaction", "entry": entries })
}

/// The criteria of a conditional update of a device.
fn criteria(entry: &Json) -> Option<&str> {
    entry.get("request")?.str("url")?.strip_prefix("Device?")
}

/// The only device that the criteria find; where there are several, the Bundle's own conditional write says so.
async fn find(app: &App, caller: &Caller, criteria: &str) -> Result<Option<Stored>, Error> {
    let pairs = crate::rest::request::pairs(criteria)?;
    let options =
        Options { base: app.config.fhir_base(), default_count: 2, max_count: 2, lenient: false, now: app.clock.now() };
    let query = parse("Device", &pairs, &options).map_err(Error::bad_request)?.query;
    let mut matches = app.store.search(&caller.view, &query).await?.matches;
    Ok(if matches.len() == 1 { matches.pop() } else { None })
}

fn next_version(stored: &Stored, entry: &Json, known: &[(String, String)], change: Change<'_>) -> Option<Json> {
    let body = Json::parse(stored.body.as_bytes()).ok()?;
    let mut told = entry.get("resource")?.clone();
    redirect(&mut told, known);
    let merged = adapters::device::merged(&body, &told);
    let holder = body.at(&["patient", "reference"]).and_then(Json::as_str);
    if holder.is_none() || holder != change.released_from {
        return merged;
    }
    let mut released = merged.unwrap_or(body);
    released.as_object_mut()?.remove("patient");
    Some(released)
}

fn redirect(value: &mut Json, known: &[(String, String)]) {
    match value {
        Json::Object(members) => {
            let target = reference(members).and_then(|url| known.iter().find(|(known, _)| known == url));
            if let Some((_, local)) = target {
                members.insert("reference", local.as_str());
            }
            members.iter_mut().for_each(|(_, member)| redirect(member, known));
        }
        Json::Array(items) => items.iter_mut().for_each(|item| redirect(item, known)),
        _ => {}
    }
}

fn reference(members: &Object) -> Option<&str> {
    members.get("reference")?.as_str()
}
