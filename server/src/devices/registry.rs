//! Resources that exist already: messages repeat what they told before, and only news are written.

use std::collections::BTreeMap;

use adapters::{Withdrawal, state};
use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};
use search::parse::{Options, parse};
use store::Stored;

use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;

/// Observations of one record at most: what one transaction can hold.
const MAX_WITHDRAWN: usize = 10_000;

/// Where those resources are that exist already, by `fullUrl`.
type Known = BTreeMap<String, String>;

/// Devices of which messages said nothing new, by the URL under which they were looked for: the next messages of the same
/// batch need not look again. What somebody else changes meanwhile is seen by the next batch.
pub(super) type Seen = BTreeMap<String, Stored>;

/// What else is to be said about the devices of a Bundle.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change<'a> {
    /// The patient, as `Patient/ID`, whose the device is no more.
    pub(super) released_from: Option<&'a str>,
}

/// Replaces conditional writes of known resources by what is new about them, or by nothing, adds what was taken back,
/// and rewrites references.
///
/// The version that was looked at goes along as `ifMatch`: if it has changed meanwhile, the Bundle fails as a whole and
/// is tried again.
pub(super) async fn settle(
    app: &App,
    caller: &Caller,
    bundle: &Json,
    withdrawn: &[Withdrawal],
    change: Change<'_>,
    seen: &mut Seen,
) -> Result<Vec<Json>, Error> {
    let mut entries = Vec::new();
    let mut known = Known::new();
    for entry in bundle.list("entry") {
        let stored = match criteria(entry) {
            Some(_) if seen.contains_key(url(entry)) => seen.get(url(entry)).cloned(),
            Some((resource_type, criteria)) => {
                let mut found = find(app, caller, resource_type, criteria, 2).await?;
                // Where there are several, the Bundle's own conditional write says so.
                if found.len() == 1 { found.pop() } else { None }
            }
            None => None,
        };
        let Some(stored) = stored else {
            entries.push(entry.clone());
            continue;
        };
        let resource_type = entry.get("resource").and_then(|it| it.str("resourceType")).unwrap_or_default();
        let local = format!("{resource_type}/{}", stored.id);
        known.insert(entry.str("fullUrl").unwrap_or_default().to_owned(), local.clone());
        let body = Json::parse(stored.body.as_bytes()).map_err(Error::internal)?;
        same_patient(app, caller, &body, entry.get("resource").unwrap_or(&Json::Null), &local).await?;
        match next_version(body, entry, &known, change) {
            Some(next) => {
                seen.remove(url(entry));
                entries.push(update(app, &local, &stored, next));
            }
            None if resource_type == "Device" => {
                seen.insert(url(entry).to_owned(), stored);
            }
            None => {}
        }
    }
    for withdrawal in withdrawn {
        let found = find(app, caller, "Observation", &state::criteria(withdrawal), MAX_WITHDRAWN + 1).await?;
        if found.len() > MAX_WITHDRAWN {
            let text = format!("record {} has more than {MAX_WITHDRAWN} Observations", withdrawal.record);
            return Err(Error::unprocessable(Issue::error(IssueCode::TooCostly, text)));
        }
        for stored in found {
            let body = Json::parse(stored.body.as_bytes()).map_err(Error::internal)?;
            if let Some(next) = state::withdrawn(&body, withdrawal) {
                entries.push(update(app, &format!("Observation/{}", stored.id), &stored, next));
            }
        }
    }
    for entry in &mut entries {
        redirect(entry, &known);
    }
    Ok(entries)
}

/// A transaction of entries.
pub(super) fn transaction(entries: Vec<Json>) -> Json {
    fhir::object! { "resourceType": "Bundle", "type": "transaction", "entry": entries }
}

fn update(app: &App, local: &str, stored: &Stored, next: Json) -> Json {
    fhir::object! {
        "fullUrl": format!("{}/{local}", app.config.fhir_base()),
        "resource": next,
        "request": fhir::object! {
            "method": "PUT",
            "url": local,
            "ifMatch": format!("W/\"{}\"", stored.version),
        },
    }
}

/// Type and criteria of a conditional update.
fn criteria(entry: &Json) -> Option<(&str, &str)> {
    url(entry).split_once('?')
}

fn url(entry: &Json) -> &str {
    entry.get("request").and_then(|request| request.str("url")).unwrap_or_default()
}

/// What criteria find.
pub(super) async fn find(
    app: &App,
    caller: &Caller,
    resource_type: &str,
    criteria: &str,
    count: usize,
) -> Result<Vec<Stored>, Error> {
    let pairs = crate::rest::request::pairs(criteria)?;
    let options = Options::at_most(count, app.config.fhir_base(), app.clock.now());
    let query = parse(resource_type, &pairs, &options).map_err(Error::bad_request)?.query;
    Ok(app.store.search(&caller.view, &query).await?.matches)
}

/// Refuses to make what is one patient's another's: names of a sender may meet by chance, or on purpose.
async fn same_patient(app: &App, caller: &Caller, stored: &Json, told: &Json, local: &str) -> Result<(), Error> {
    if told.str("resourceType") == Some("Device") {
        return Ok(()); // devices go from one patient to the next
    }
    let (Some(was), Some(is)) = (subject(stored), subject(told)) else { return Ok(()) };
    let found = match is.split_once('?') {
        Some((resource_type, criteria)) => find(app, caller, resource_type, criteria, 2).await?,
        None => Vec::new(),
    };
    // A condition that finds nobody, or several, is for the Bundle to fail on.
    let same = if is.contains('?') {
        found.len() != 1 || found.iter().all(|patient| was == format!("Patient/{}", patient.id))
    } else {
        was == is
    };
    if same {
        return Ok(());
    }
    let text = format!("{local} is about another patient and stays as it is; raw data kept");
    Err(Error::unprocessable(Issue::error(IssueCode::BusinessRule, text)))
}

/// The reference of the patient whom a resource is about.
fn subject(resource: &Json) -> Option<&str> {
    let mut names = ["subject", "patient", "beneficiary"].into_iter();
    names.find_map(|name| resource.at(&[name, "reference"])?.as_str())
}

fn next_version(body: Json, entry: &Json, known: &Known, change: Change<'_>) -> Option<Json> {
    let mut told = entry.get("resource")?.clone();
    redirect(&mut told, known);
    let next = state::next(&body, &told);
    let holder = body.at(&["patient", "reference"]).and_then(Json::as_str);
    if told.str("resourceType") != Some("Device") || holder.is_none() || holder != change.released_from {
        return next;
    }
    let mut released = next.unwrap_or(body);
    released.as_object_mut()?.remove("patient");
    Some(released)
}

fn redirect(value: &mut Json, known: &Known) {
    match value {
        Json::Object(members) => {
            let target = reference(members).and_then(|url| known.get(url));
            if let Some(local) = target {
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
