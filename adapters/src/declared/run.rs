//! Applies a mapping file to a message.

use std::collections::{BTreeMap, BTreeSet};

use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};

use super::document;
use super::path::{Path, Scope};
use super::plan::Plan;
use super::record::{Gadget, Patient, Record};
use super::said::Said;
use super::schema::{List, Schema};
use crate::bundle::{self, Source};
use crate::found::Found;
use crate::observation::{self, Circumstances, Write};
use crate::{Context, Delivery, Holder, Mapping, Refusal, Withdrawal, error, quarantined, warning};

/// Records of one message at most.
const MAX_RECORDS: usize = 10_000;

/// Kind of identifier that all parts of a record share.
const RECORD: &str = "record";

/// Kind of identifier of a reading.
const READING: &str = "reading";

/// An item of a message that a schema describes.
struct Item<'a> {
    scope: Scope<'a>,
    schema: &'a Schema,
    content: &'a Record,
    id: String,
    is_deleted: bool,
}

/// Reads what must be known before a message is acknowledged.
pub(super) fn receive(plan: &Plan, bytes: &[u8]) -> Result<Delivery, Refusal> {
    let document = document(bytes)?;
    let scopes = scopes(plan, &document)?;
    let mut known = BTreeSet::new();
    let devices = scopes.iter().flat_map(|(list, scope)| {
        let record = plan.schema(list, scope).and_then(|schema| schema.record.as_ref());
        match (&plan.patient, record) {
            (Patient::User(user), _) => user.text(scope).into_iter().collect(),
            (Patient::Device, Some(record)) => record.device_keys(scope),
            (Patient::Device, None) | (Patient::Session, _) => Vec::new(),
        }
    });
    let devices = devices.filter(|device| known.insert(device.clone())).collect();
    let id = plan.delivery.as_ref().and_then(|path| path.text(&Scope::whole(&document)));
    Ok(Delivery { id, devices, ..Delivery::default() })
}

/// Translates a message.
pub(super) fn map(plan: &Plan, bytes: &[u8], context: &Context<'_>) -> Mapping {
    let document = match document(bytes) {
        Ok(document) => document,
        Err(refusal) => return quarantined(refusal),
    };
    let scopes = match scopes(plan, &document) {
        Ok(scopes) => scopes,
        Err(refusal) => return quarantined(refusal),
    };
    let mut found = Found::default();
    let mut items: Vec<Item<'_>> = Vec::new();
    let mut settled = BTreeSet::new();
    for (list, scope) in scopes {
        let place = scope.place.clone();
        match item(plan, list, scope) {
            Ok(Some(item)) => items.push(item),
            Ok(None) => {
                settled.insert(place);
            }
            Err(issue) => {
                settled.insert(place);
                found.keep_back(*issue);
            }
        }
    }
    let last = last_states(&items);
    for (index, item) in items.iter().enumerate() {
        if last.get(item.id.as_str()) == Some(&index) {
            record(plan, item, context, &mut found);
        }
    }
    for place in plan.known.unread(&document, &settled) {
        let text = format!("The mapping file says nothing of the list {place}; raw data kept");
        found.keep_back(warning(IssueCode::NotSupported, text, &place));
    }
    found.mapping()
}

/// The items of a document: those of the lists that the plan reads; or those of the list that it is, or the one.
fn scopes<'a, 'p>(plan: &'p Plan, document: &'a Json) -> Result<Vec<(&'p List, Scope<'a>)>, Refusal> {
    let refused = |code: IssueCode, text: String| {
        let place = plan.lists.iter().flatten().next().map_or("", Path::written);
        Err(Refusal::Unprocessable(vec![error(code, text, place)]))
    };
    let (mut scopes, mut is_there) = (Vec::new(), false);
    for list in &plan.lists {
        let found = match (list, document) {
            (Some(path), _) => path.items(document, MAX_RECORDS),
            (None, Json::Object(_)) => Some(vec![Scope::whole(document)]),
            (None, Json::Array(items)) => {
                let items = items.iter().enumerate().take(MAX_RECORDS + 1);
                Some(items.map(|(index, item)| Scope::of_list(document, index, item)).collect())
            }
            (None, _) => None,
        };
        is_there |= found.is_some();
        scopes.extend(found.into_iter().flatten().map(|scope| (list, scope)));
        if scopes.len() > MAX_RECORDS {
            return refused(IssueCode::TooLong, format!("Body holds more than {MAX_RECORDS} records"));
        }
    }
    if is_there {
        return Ok(scopes);
    }
    let text = match plan.written() {
        lists if lists.is_empty() => "Body is neither a record nor a list of records".to_owned(),
        lists => format!("Body has no records where the mapping file looks for them: {lists}"),
    };
    refused(IssueCode::Structure, text)
}

/// An item with what its schema says of it; nothing if that says to ignore it.
fn item<'a>(plan: &'a Plan, list: &List, scope: Scope<'a>) -> Result<Option<Item<'a>>, Box<Issue>> {
    let Some(schema) = plan.schema(list, &scope) else {
        let text = format!("The record is of none of the schemas {}; raw data kept", plan.names(list));
        return Err(Box::new(warning(IssueCode::NotSupported, text, &scope.place)));
    };
    let Some(content) = &schema.record else { return Ok(None) };
    let id = content.id(&scope)?;
    let is_deleted = content.is_deleted(&scope);
    Ok(Some(Item { scope, schema, content, id, is_deleted }))
}

/// Where the last state of each record stands. A deletion is the last, wherever it stands.
fn last_states<'i>(items: &'i [Item<'_>]) -> BTreeMap<&'i str, usize> {
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        let is_over = last.get(item.id.as_str()).is_some_and(|known| items[*known].is_deleted);
        if !is_over || item.is_deleted {
            last.insert(&item.id, index);
        }
    }
    last
}

/// Translates one record; what is wrong with it joins the issues, and the record waits.
fn record(plan: &Plan, item: &Item<'_>, context: &Context<'_>, found: &mut Found) {
    // Ids that a phone gives mean something only for its patient.
    let record = match (&plan.patient, context.session) {
        (Patient::Session, Some(patient)) => format!("{patient}:{}", item.id),
        _ => item.id.clone(),
    };
    let source = Source { namespace: context.namespace, vendor: &plan.vendor, of: "", record: &record };
    let mut made = Made::default();
    let withdrawal = match withdrawal(plan, item, &source, context) {
        Ok(withdrawal) => withdrawal,
        Err(issue) => return found.keep_back(*issue),
    };
    if item.is_deleted {
        return found.withdrawn.push(withdrawal);
    }
    if let Err(issue) = readings(plan, item, &source, context, (found, &mut made)) {
        return found.keep_back(*issue);
    }
    let Made { mut entries, keep } = made;
    let tells = keep.is_empty() && item.content.device.as_ref().is_some_and(|device| device.tells_battery(&item.scope));
    if keep.is_empty() && !tells {
        let text = format!("The record of the schema {} holds no measurement; raw data kept", item.schema.name);
        return found.keep_back(error(IssueCode::Required, text, &item.scope.place));
    }
    if let Some(version) = &withdrawal.version {
        for observation in entries.iter_mut().filter_map(observation) {
            version.write(observation);
        }
    }
    found.withdrawn.push(Withdrawal { keep, ..withdrawal });
    for entry in entries {
        found.push(entry);
    }
}

/// What a record is made into.
#[derive(Default)]
struct Made {
    /// Its device first.
    entries: Vec<Json>,
    /// The identifiers of its readings, also of those that wait.
    keep: Vec<String>,
}

/// The Observation of an entry.
fn observation(entry: &mut Json) -> Option<&mut Object> {
    let resource = entry.as_object_mut()?.get_mut("resource")?;
    (resource.str("resourceType") == Some("Observation")).then_some(())?;
    resource.as_object_mut()
}

/// What is no longer true once a record is told, but for what it keeps.
fn withdrawal(
    plan: &Plan,
    item: &Item<'_>,
    source: &Source<'_>,
    context: &Context<'_>,
) -> Result<Withdrawal, Box<Issue>> {
    Ok(Withdrawal {
        system: source.identifier_system(RECORD),
        record: source.record.to_owned(),
        deleted: item.is_deleted,
        keep: Vec::new(),
        holder: holder(plan, item, source, context)?,
        version: if item.is_deleted { None } else { item.content.version(&item.scope, source)? },
    })
}

/// The entries of a record.
fn readings(
    plan: &Plan,
    item: &Item<'_>,
    source: &Source<'_>,
    context: &Context<'_>,
    (found, made): (&mut Found, &mut Made),
) -> Result<(), Box<Issue>> {
    let (scope, record) = (&item.scope, item.content);
    let when = record.when(scope)?;
    let subject = subject(plan, item, when.start(), context)?;
    let issued = record.issued(scope);
    let device = match &record.device {
        Some(device) => device.entry(scope, source)?,
        None => None,
    };
    let shared = [fhir::object! { "system": source.identifier_system(RECORD), "value": source.record }];
    let around = Circumstances {
        source: source.clone(),
        subject,
        effective: when.effective(),
        issued: issued.as_deref(),
        device: device.as_ref().map(|(url, _)| url.as_str()),
        kind: READING,
        also: &shared,
        write: Write::State,
    };
    for measurement in &item.schema.measurements {
        match measurement.reading(scope, source, &mut found.issues) {
            Ok(Some(reading)) => {
                made.keep.push(around.identifier(&reading.suffix).1);
                let implausible = reading.implausible();
                made.entries.push(observation::entry(&reading, &around, !implausible.is_empty()));
                found.issues.extend(implausible);
            }
            Ok(None) => {}
            Err(issue) => {
                // What was told before stays as it is until this can be read.
                made.keep.push(around.identifier(&measurement.name).1);
                found.keep_back(*issue);
            }
        }
    }
    // A device alone is no news, unless its battery is.
    let is_news = !made.entries.is_empty() || record.device.as_ref().is_some_and(|device| device.tells_battery(scope));
    if let Some((_, entry)) = device.filter(|_| is_news) {
        made.entries.insert(0, entry);
    }
    Ok(())
}

/// Whose a record is, whenever it was measured.
fn holder(plan: &Plan, item: &Item<'_>, source: &Source<'_>, context: &Context<'_>) -> Result<Holder, Box<Issue>> {
    let scope = &item.scope;
    match &plan.patient {
        Patient::Session => context.session.map(Holder::session).ok_or_else(|| Box::new(nobody(scope))),
        Patient::User(user) => {
            Ok(Holder::user(&source.identifier_system("user"), &named_user(user, scope, context)?, context))
        }
        Patient::Device => {
            let device = item.content.device.as_ref();
            let known = device.and_then(|device| device.identifier(scope, source));
            known
                .map(|(system, value)| Holder::device(&system, &value))
                .ok_or_else(|| Box::new(no_device(device, scope)))
        }
    }
}

fn nobody(scope: &Scope<'_>) -> Issue {
    error(IssueCode::Required, "Nobody is signed in whose record it is", &scope.place)
}

fn no_device(device: Option<&Gadget>, scope: &Scope<'_>) -> Issue {
    let place = device.map_or_else(|| scope.place.clone(), |device| device.place(scope));
    error(IssueCode::Required, "The device is not said; raw data kept", &place)
}

fn named_user(user: &Said, scope: &Scope<'_>, context: &Context<'_>) -> Result<String, Box<Issue>> {
    let named = user.text(scope).or_else(|| context.user.map(str::to_owned));
    let text = "The user whose record it is is not said; raw data kept";
    named.ok_or_else(|| Box::new(error(IssueCode::Required, text, &user.place(scope))))
}

/// Whose a record is that was measured then.
fn subject(
    plan: &Plan,
    item: &Item<'_>,
    at: &crate::time::Moment,
    context: &Context<'_>,
) -> Result<String, Box<Issue>> {
    let scope = &item.scope;
    match &plan.patient {
        Patient::Session => {
            context.session.map(|patient| format!("Patient/{patient}")).ok_or_else(|| Box::new(nobody(scope)))
        }
        Patient::User(user) => {
            let user_id = named_user(user, scope, context)?;
            let system = format!("{}/{}/user", context.namespace, plan.vendor);
            match context.patient(std::slice::from_ref(&user_id), at.micros) {
                Ok(patient) => Ok(format!("Patient/{patient}")),
                Err(crate::Unassigned::None) => Ok(bundle::conditional("Patient", &system, &user_id)),
                Err(many) => Err(Box::new(many.issue(&user_id, &at.text, &user.place(scope)))),
            }
        }
        Patient::Device => {
            let device = item.content.device.as_ref();
            let keys = item.content.device_keys(scope);
            let first = keys.first().ok_or_else(|| Box::new(no_device(device, scope)))?;
            let place = device.map_or_else(|| scope.place.clone(), |device| device.place(scope));
            let patient = context.patient(&keys, at.micros);
            let patient = patient.map_err(|unassigned| Box::new(unassigned.issue(first, &at.text, &place)));
            patient.map(|patient| format!("Patient/{patient}"))
        }
    }
}
