//! Resources that exist already: messages repeat what they told before, and only news are written.

use std::collections::BTreeMap;

use adapters::{Withdrawal, is_of, state};
use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};
use search::parse::{Options, parse};
use search::query::Query;
use store::Stored;

use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;

/// Observations of one record at most: what one transaction can hold.
const MAX_WITHDRAWN: usize = 10_000;

/// Patients or devices of one identifier that are looked at.
const MAX_HOLDERS: usize = 10;

/// Where those resources are that exist already, by `fullUrl`.
type Known = BTreeMap<String, String>;

/// Devices as they stand, and read, by the URL under which they were looked for: the messages of one batch need not look
/// again. What somebody else changes meanwhile fails the batch or is seen by the next.
pub(super) type Seen = BTreeMap<String, (Stored, Json)>;

/// Type of the resources that nearly every message repeats.
const DEVICE: &str = "Device";

/// What else is to be said about the devices of a Bundle.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change<'a> {
    /// The patient, as `Patient/ID`, whose the device is no more.
    pub(super) released_from: Option<&'a str>,
}

/// Replaces conditional writes of known resources by what is new about them, or by nothing, and rewrites references.
///
/// The version that was looked at goes along as `ifMatch`: if it has changed meanwhile, the Bundle fails as a whole and
/// is tried again.
pub(super) async fn settle(
    app: &App,
    caller: &Caller,
    bundle: &Json,
    change: Change<'_>,
    seen: &mut Seen,
) -> Result<Vec<Json>, Error> {
    let mut entries = Vec::new();
    let mut known = Known::new();
    for entry in bundle.list("entry") {
        let found;
        let standing = match (seen.get(url(entry)), criteria(entry)) {
            (Some(standing), _) => Some(standing),
            (None, Some(criteria)) => {
                found = standing_alone(app, caller, criteria).await?;
                found.as_ref()
            }
            (None, None) => None,
        };
        let Some((stored, body)) = standing else {
            entries.push(entry.clone());
            continue;
        };
        let resource_type = entry.get("resource").and_then(|it| it.str("resourceType")).unwrap_or_default();
        let local = format!("{resource_type}/{}", stored.id);
        known.insert(entry.str("fullUrl").unwrap_or_default().to_owned(), local.clone());
        same_patient(app, caller, body, entry.get("resource").unwrap_or(&Json::Null), &local).await?;
        match next_version(body, entry, &known, change) {
            Some(next) => {
                entries.push(update(app, &local, stored, next));
                seen.remove(url(entry));
            }
            None if resource_type == DEVICE && !seen.contains_key(url(entry)) => {
                seen.insert(url(entry).to_owned(), (stored.clone(), body.clone()));
            }
            None => {}
        }
    }
    for entry in &mut entries {
        redirect(entry, &known);
    }
    Ok(entries)
}

/// What is taken back of what is stored; and what is not, because it is somebody else's.
pub(super) async fn take_back(
    app: &App,
    caller: &Caller,
    withdrawn: &[Withdrawal],
) -> Result<(Vec<Json>, Vec<Issue>), Error> {
    let (mut entries, mut refused) = (Vec::new(), Vec::new());
    for withdrawal in withdrawn {
        let Standing { own, others } = standing(app, caller, withdrawal).await?;
        // Somebody else's record of the same id is none of this message's, unless that is all that it can mean.
        let refused_of = others.first().filter(|_| withdrawal.deleted && own.is_empty());
        if let Some(first) = refused_of {
            let text = format!(
                "Record {} is of another patient or device than this message: {} reading(s), such as Observation/{}, stay \
                 as they are; raw data kept",
                withdrawal.record,
                others.len(),
                first.id
            );
            refused.push(Issue::error(IssueCode::BusinessRule, text));
        }
        for (stored, body) in own {
            if let Some(next) = state::withdrawn(&body, withdrawal) {
                entries.push(update(app, &format!("Observation/{}", stored.id), &stored, next));
            }
        }
    }
    Ok((entries, refused))
}

/// Whether something newer than what a message tells of a record stands already.
pub(super) async fn is_overtaken(app: &App, caller: &Caller, withdrawal: &Withdrawal) -> Result<bool, Error> {
    if withdrawal.deleted || withdrawal.version.is_none() {
        return Ok(false);
    }
    let standing = standing(app, caller, withdrawal).await?;
    Ok(standing.own.iter().any(|(_, body)| state::is_overtaken(body, withdrawal)))
}

/// The Observations that stand under the id of a record.
struct Standing {
    /// Those of whoever the message is of.
    own: Vec<(Stored, Json)>,
    /// Those of anybody else that it would change.
    others: Vec<Stored>,
}

async fn standing(app: &App, caller: &Caller, withdrawal: &Withdrawal) -> Result<Standing, Error> {
    let found = find(app, caller, "Observation", &state::criteria(withdrawal), MAX_WITHDRAWN + 1).await?;
    if found.len() > MAX_WITHDRAWN {
        let text = format!("record {} has more than {MAX_WITHDRAWN} Observations", withdrawal.record);
        return Err(Error::unprocessable(Issue::error(IssueCode::TooCostly, text)));
    }
    let mut standing = Standing { own: Vec::new(), others: Vec::new() };
    if found.is_empty() {
        return Ok(standing);
    }
    let holders = holders(app, caller, withdrawal).await?;
    for stored in found {
        let body = Json::parse(stored.body.as_bytes()).map_err(Error::internal)?;
        if is_of(&body, &holders) {
            standing.own.push((stored, body));
        } else if state::withdrawn(&body, withdrawal).is_some() {
            standing.others.push(stored);
        }
    }
    Ok(standing)
}

/// Where those stand whose a record is.
async fn holders(app: &App, caller: &Caller, withdrawal: &Withdrawal) -> Result<Vec<String>, Error> {
    let mut holders = Vec::new();
    for reference in withdrawal.holder.references() {
        match reference.split_once('?') {
            None => holders.push(reference.to_owned()),
            Some((resource_type, criteria)) => {
                let found = find(app, caller, resource_type, criteria, MAX_HOLDERS).await?;
                holders.extend(found.iter().map(|stored| format!("{resource_type}/{}", stored.id)));
            }
        }
    }
    Ok(holders)
}

/// Looks for the devices that Bundles name, all at once, and notes those that stand alone under their criteria.
pub(super) async fn look_ahead<'a>(
    app: &App,
    caller: &Caller,
    bundles: impl Iterator<Item = &'a Json>,
    seen: &mut Seen,
) -> Result<(), Error> {
    let mut urls = Vec::new();
    let mut queries = Vec::new();
    for entry in bundles.flat_map(|bundle| bundle.list("entry")) {
        let url = url(entry);
        let Some((DEVICE, criteria)) = criteria(entry) else { continue };
        if !seen.contains_key(url) && !urls.contains(&url) {
            queries.push(query(app, DEVICE, criteria, 2)?);
            urls.push(url);
        }
    }
    let found = app.store.standing_alone(&caller.view, &queries).await?;
    for (url, stored) in urls.into_iter().zip(found) {
        if let Some(stored) = stored {
            let body = Json::parse(stored.body.as_bytes()).map_err(Error::internal)?;
            seen.insert(url.to_owned(), (stored, body));
        }
    }
    Ok(())
}

/// What alone meets criteria, and what it says.
async fn standing_alone(
    app: &App,
    caller: &Caller,
    (resource_type, criteria): (&str, &str),
) -> Result<Option<(Stored, Json)>, Error> {
    let mut found = find(app, caller, resource_type, criteria, 2).await?;
    // Where there are several, the Bundle's own conditional write says so.
    let Some(stored) = found.pop().filter(|_| found.is_empty()) else { return Ok(None) };
    let body = Json::parse(stored.body.as_bytes()).map_err(Error::internal)?;
    Ok(Some((stored, body)))
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
    let query = query(app, resource_type, criteria, count)?;
    Ok(app.store.search(&caller.view, &query).await?.matches)
}

fn query(app: &App, resource_type: &str, criteria: &str, count: usize) -> Result<Query, Error> {
    let pairs = crate::rest::request::pairs(criteria)?;
    let options = Options::at_most(count, app.config.fhir_base(), app.clock.now());
    Ok(parse(resource_type, &pairs, &options).map_err(Error::bad_request)?.query)
}

/// Refuses to make what is one patient's another's: names of a sender may meet by chance, or on purpose.
async fn same_patient(app: &App, caller: &Caller, stored: &Json, told: &Json, local: &str) -> Result<(), Error> {
    if told.str("resourceType") == Some(DEVICE) {
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

fn next_version(body: &Json, entry: &Json, known: &Known, change: Change<'_>) -> Option<Json> {
    let mut told = entry.get("resource")?.clone();
    redirect(&mut told, known);
    let next = state::next(body, &told);
    let holder = body.at(&["patient", "reference"]).and_then(Json::as_str);
    if told.str("resourceType") != Some(DEVICE) || holder.is_none() || holder != change.released_from {
        return next;
    }
    let mut released = next.unwrap_or_else(|| body.clone());
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
