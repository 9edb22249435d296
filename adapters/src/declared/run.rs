//! Applies a mapping file to a message.

use std::collections::{BTreeMap, BTreeSet};

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use super::document;
use super::path::Scope;
use super::plan::{Plan, Schema};
use super::record::Patient;
use crate::bundle::{self, Source};
use crate::found::Found;
use crate::observation::{self, Circumstances, Write};
use crate::{Context, Delivery, Mapping, Refusal, Withdrawal, error, quarantined, warning};

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
    id: String,
    is_deleted: bool,
}

/// Reads what must be known before a message is acknowledged.
pub(super) fn receive(plan: &Plan, bytes: &[u8]) -> Result<Delivery, Refusal> {
    let document = document(bytes)?;
    let scopes = scopes(plan, &document)?;
    let mut known = BTreeSet::new();
    let devices = scopes.iter().flat_map(|scope| match (&plan.patient, plan.schema(scope)) {
        (Patient::User(user), _) => user.text(scope).into_iter().collect(),
        (Patient::Device, Some(schema)) => schema.record.device_keys(scope),
        (Patient::Device, None) | (Patient::Session, _) => Vec::new(),
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
    for scope in scopes {
        match item(plan, scope) {
            Ok(item) => items.push(item),
            Err(issue) => found.keep_back(*issue),
        }
    }
    let last = last_states(&items);
    for (index, item) in items.iter().enumerate() {
        if last.get(item.id.as_str()) == Some(&index) {
            record(plan, item, context, &mut found);
        }
    }
    found.mapping()
}

/// The items of a document: those that the plan says; else those of a list, or the one that it is.
fn scopes<'a>(plan: &Plan, document: &'a Json) -> Result<Vec<Scope<'a>>, Refusal> {
    let scopes = match &plan.items {
        Some(path) => path.items(document, MAX_RECORDS).ok_or_else(|| {
            let text = "Body has no list of records where the mapping file says";
            Refusal::Unprocessable(vec![error(IssueCode::Structure, text, "items")])
        })?,
        None => match document {
            Json::Object(_) => vec![Scope::whole(document)],
            Json::Array(items) => {
                let items = items.iter().enumerate().take(MAX_RECORDS + 1);
                items.map(|(index, item)| Scope::of_list(document, index, item)).collect()
            }
            _ => {
                let text = "Body is neither a record nor a list of records";
                return Err(Refusal::Unprocessable(vec![error(IssueCode::Structure, text, "items")]));
            }
        },
    };
    if scopes.len() > MAX_RECORDS {
        let text = format!("Body holds more than {MAX_RECORDS} records");
        return Err(Refusal::Unprocessable(vec![error(IssueCode::TooLong, text, "items")]));
    }
    Ok(scopes)
}

fn item<'a>(plan: &'a Plan, scope: Scope<'a>) -> Result<Item<'a>, Box<Issue>> {
    let Some(schema) = plan.schema(&scope) else {
        let text = format!("The record is of none of the schemas {}; raw data kept", plan.names());
        return Err(Box::new(warning(IssueCode::NotSupported, text, &scope.at("schema"))));
    };
    let id = schema.record.id(&scope)?;
    let is_deleted = schema.record.is_deleted(&scope);
    Ok(Item { scope, schema, id, is_deleted })
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
    let system = source.identifier_system(RECORD);
    if item.is_deleted {
        let record = record.clone();
        return found.withdrawn.push(Withdrawal { system, record, deleted: true, keep: Vec::new() });
    }
    let mut made = Vec::new();
    let mut keep = Vec::new();
    match readings(plan, item, &source, context, found, &mut keep) {
        Ok(entries) => made.extend(entries),
        Err(issue) => return found.keep_back(*issue),
    }
    if keep.is_empty() {
        let text = format!("The record of the schema {} holds no measurement; raw data kept", item.schema.name);
        return found.keep_back(error(IssueCode::Required, text, &item.scope.at("measurement")));
    }
    found.withdrawn.push(Withdrawal { system, record: record.clone(), deleted: false, keep });
    for entry in made {
        found.push(entry);
    }
}

/// The entries of a record, its device first; `keep` gets the identifiers of its readings, also of those that wait.
fn readings(
    plan: &Plan,
    item: &Item<'_>,
    source: &Source<'_>,
    context: &Context<'_>,
    found: &mut Found,
    keep: &mut Vec<String>,
) -> Result<Vec<Json>, Box<Issue>> {
    let (scope, record) = (&item.scope, &item.schema.record);
    let when = record.time.when(scope)?;
    let subject = subject(plan, item, when.start(), context)?;
    let issued = record.issued(scope);
    let device = record.device.as_ref().and_then(|device| device.entry(scope, source));
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
    let mut entries: Vec<Json> = device.iter().map(|(_, entry)| entry.clone()).collect();
    for measurement in &item.schema.measurements {
        match measurement.reading(scope, source, &mut found.issues) {
            Ok(Some(reading)) => {
                keep.push(around.identifier(&reading.suffix).1);
                let implausible = reading.implausible();
                entries.push(observation::entry(&reading, &around, !implausible.is_empty()));
                found.issues.extend(implausible);
            }
            Ok(None) => {}
            Err(issue) => {
                // What was told before stays as it is until this can be read.
                keep.push(around.identifier(&measurement.name).1);
                found.keep_back(*issue);
            }
        }
    }
    // A device alone is no news.
    Ok(if entries.len() > device.iter().count() { entries } else { Vec::new() })
}

/// Whose a record is.
fn subject(
    plan: &Plan,
    item: &Item<'_>,
    at: &crate::time::Moment,
    context: &Context<'_>,
) -> Result<String, Box<Issue>> {
    let scope = &item.scope;
    let missing = |what: &str, name: &str| Box::new(error(IssueCode::Required, what, &scope.at(name)));
    match &plan.patient {
        Patient::Session => {
            let patient = context.session.ok_or_else(|| missing("Nobody is signed in whose record it is", "patient"));
            patient.map(|patient| format!("Patient/{patient}"))
        }
        Patient::User(user) => {
            let user = user.text(scope).or_else(|| context.user.map(str::to_owned));
            let user = user.ok_or_else(|| missing("The user whose record it is is not said; raw data kept", "user"))?;
            let paired = context.patient(std::slice::from_ref(&user), at.micros);
            let system = format!("{}/{}/user", context.namespace, plan.vendor);
            match paired {
                Ok(patient) => Ok(format!("Patient/{patient}")),
                Err(crate::Unassigned::None) => Ok(bundle::conditional("Patient", &system, &user)),
                Err(many) => Err(Box::new(many.issue(&user, &at.text, &scope.at("user")))),
            }
        }
        Patient::Device => {
            let keys = item.schema.record.device_keys(scope);
            let first = keys.first();
            let first = first.ok_or_else(|| missing("The device is not said; raw data kept", "device"))?;
            let patient = context.patient(&keys, at.micros);
            let patient =
                patient.map_err(|unassigned| Box::new(unassigned.issue(first, &at.text, &scope.at("device"))));
            patient.map(|patient| format!("Patient/{patient}"))
        }
    }
}
