//! What becomes of a resource that is stored already when a message tells of it again.
//!
//! The same again makes nothing; other content makes a new version, which of an Observation says that it is corrected;
//! what the vendor took back is `entered-in-error`, keeps its value and is never deleted.
//! <https://hl7.org/fhir/R4/valueset-observation-status.html>

use std::collections::BTreeSet;

use fhir::date::DateTime;
use fhir::json::{Json, Object};

use crate::version::{self, Version};
use crate::{Publication, Withdrawal, device};

/// Tag of an Observation whose record the vendor deleted: what still arrives of the record comes too late.
const DELETED: &str = "record-deleted";

/// Tag of an Observation that the vendor's record no longer tells: it may come back. What a person found to be an error
/// has no such tag, and stays one.
const WITHDRAWN: &str = "record-changed";

/// What a stored resource becomes when `told` arrives; nothing if that says nothing new.
pub fn next(stored: &Json, told: &Json) -> Option<Json> {
    if told.str("resourceType") == Some("Device") {
        return device::merged(stored, told);
    }
    if told.str("resourceType") == Some("Flag") && as_of(told) < as_of(stored) {
        return None; // messages come in any order, and this one was overtaken
    }
    if told.str("resourceType") == Some("Observation") && is_older(Version::of(told).as_ref(), stored) {
        return None;
    }
    let in_error = stored.str("status") == Some("entered-in-error");
    if is_tagged(stored, DELETED) || (in_error && !is_tagged(stored, WITHDRAWN)) {
        return None;
    }
    let mut result = told.as_object()?.clone();
    let corrected = told.str("resourceType") == Some("Observation");
    if corrected {
        let was = stored.str("status");
        let same = without_status(stored) == without_status(told);
        if same && matches!(was, Some("final" | "corrected" | "preliminary")) {
            return None;
        }
        if told.str("status") == Some("final") {
            result.insert("status", "corrected");
        }
    } else if content(stored) == content(told) {
        return None;
    }
    if let Some(id) = stored.get("id") {
        result.insert_at(1, "id", id.clone());
    }
    Some(result.into())
}

/// What a stored Observation becomes when its record, or its part of it, was taken back; nothing if it is so already.
pub fn withdrawn(stored: &Json, withdrawal: &Withdrawal) -> Option<Json> {
    let kept = stored.at(&["identifier", "value"]).and_then(Json::as_str)?;
    if withdrawal.keep.iter().any(|value| value == kept) {
        return None;
    }
    let over = stored.str("status") == Some("entered-in-error");
    if over && (!withdrawal.deleted || is_tagged(stored, DELETED)) {
        return None;
    }
    if is_overtaken(stored, withdrawal) {
        return None;
    }
    let mut result = stored.as_object()?.clone();
    if let Some(version) = &withdrawal.version {
        version.write(&mut result);
    }
    result.insert("status", "entered-in-error");
    let mut meta = stored.get("meta").and_then(Json::as_object).cloned().unwrap_or_default();
    meta.remove("versionId");
    meta.remove("lastUpdated");
    let code = if withdrawal.deleted { DELETED } else { WITHDRAWN };
    let tag = fhir::object! { "system": withdrawal.system.as_str(), "code": code };
    meta.insert("tag", fhir::array![tag]);
    result.insert_at(2, "meta", meta);
    Some(result.into())
}

/// Makes of a publication what is left of it when some records are known to be deleted: what it tells of them comes too
/// late, and what is stored of them is taken back.
pub fn without_deleted(publication: &mut Publication, is_deleted: impl Fn(&Withdrawal) -> bool) {
    let mut late: BTreeSet<(&str, &str)> = BTreeSet::new();
    for withdrawal in &mut publication.withdrawn {
        if !withdrawal.deleted && is_deleted(withdrawal) {
            withdrawal.deleted = true;
            withdrawal.keep.clear();
            late.insert((&withdrawal.system, &withdrawal.record));
        }
    }
    publication.bundle = without_records(&publication.bundle, &late);
}

/// Makes of a publication what is left of it when newer states of some records stand already: nothing of those.
pub fn without_overtaken(publication: &mut Publication, is_overtaken: impl Fn(&Withdrawal) -> bool) {
    let (late, left): (Vec<Withdrawal>, Vec<Withdrawal>) =
        std::mem::take(&mut publication.withdrawn).into_iter().partition(|it| !it.deleted && is_overtaken(it));
    let records = late.iter().map(|withdrawal| (withdrawal.system.as_str(), withdrawal.record.as_str())).collect();
    publication.bundle = without_records(&publication.bundle, &records);
    publication.withdrawn = left;
}

/// Whether a stored Observation is of a newer state of its record than a message tells.
pub fn is_overtaken(stored: &Json, withdrawal: &Withdrawal) -> bool {
    !withdrawal.deleted && is_older(withdrawal.version.as_ref(), stored)
}

fn is_older(version: Option<&Version>, stored: &Json) -> bool {
    version.zip(Version::of(stored)).is_some_and(|(version, known)| version.is_before(&known))
}

/// A Bundle without the entries that have one of these identifiers.
fn without_records(bundle: &Json, records: &BTreeSet<(&str, &str)>) -> Json {
    if records.is_empty() {
        return bundle.clone();
    }
    let is_one = |entry: &&Json| {
        let identifiers = entry.get("resource").map_or(&[][..], |resource| resource.list("identifier"));
        identifiers.iter().any(|it| it.str("system").zip(it.str("value")).is_some_and(|name| records.contains(&name)))
    };
    crate::bundle::transaction(bundle.list("entry").iter().filter(|entry| !is_one(entry)).cloned().collect())
}

/// Search criteria that find what a withdrawal is about, behind `Observation?`.
pub fn criteria(withdrawal: &Withdrawal) -> String {
    crate::bundle::criteria(&withdrawal.system, &withdrawal.record)
}

/// Up to when a Flag is told: its end, if it has one. Of two at the same instant the one that ends says more.
fn as_of(flag: &Json) -> (Option<i64>, bool) {
    let bound = |name: &str| flag.at(&["period", name]).and_then(Json::as_str).and_then(DateTime::parse);
    let (start, end) = (bound("start"), bound("end"));
    let is_over = end.is_some();
    (start.into_iter().chain(end).map(|instant| instant.start()).max(), is_over)
}

fn is_tagged(stored: &Json, code: &str) -> bool {
    let tags = stored.get("meta").map_or(&[][..], |meta| meta.list("tag"));
    tags.iter().any(|tag| tag.str("code") == Some(code))
}

/// What the vendor told: all but what the server gives every version, and but references, which a transaction rewrites.
fn content(resource: &Json) -> Option<Object> {
    let mut content = resource.as_object()?.clone();
    content.remove("id");
    if resource.str("resourceType") == Some("Observation") {
        // When the vendor told it, and as which state, is no other reading.
        content.remove("issued");
        let others = resource.list("extension").iter().filter(|it| !version::is_it(it)).cloned();
        let others: Vec<Json> = others.collect();
        if others.is_empty() {
            content.remove("extension");
        } else {
            content.insert("extension", others);
        }
    }
    content.remove("text");
    let meta = content.remove("meta");
    if let Some(profile) = meta.as_ref().and_then(|meta| meta.get("profile")) {
        content.insert("meta", profile.clone());
    }
    let mut names: Vec<(String, Json)> =
        content.iter().map(|(name, value)| (name.to_owned(), without_references(value))).collect();
    names.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut sorted = Object::new();
    for (name, value) in names {
        sorted.insert(&name, value);
    }
    Some(sorted)
}

fn without_status(resource: &Json) -> Option<Object> {
    let mut content = content(resource)?;
    content.remove("status");
    Some(content)
}

fn without_references(value: &Json) -> Json {
    match value {
        Json::Object(members) => {
            let mut rest = Object::new();
            for (name, member) in members.iter().filter(|(name, _)| *name != "reference") {
                rest.insert(name, without_references(member));
            }
            Json::Object(rest)
        }
        Json::Array(items) => Json::Array(items.iter().map(without_references).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(value: i64, status: &str) -> Json {
        fhir::object! {
            "resourceType": "Observation",
            "identifier": fhir::array![fhir::object! { "system": "s", "value": "r:pulse" }],
            "status": status,
            "subject": fhir::object! { "reference": "Patient?identifier=a" },
            "valueQuantity": fhir::object! { "value": value },
        }
    }

    fn stored(value: i64, status: &str) -> Json {
        let mut stored = observation(value, status);
        let members = stored.as_object_mut().expect("an object");
        members.insert("subject", fhir::object! { "reference": "Patient/1" });
        members.insert("id", "o1");
        members.insert("meta", fhir::object! { "versionId": "1", "lastUpdated": "2025-01-01T00:00:00Z" });
        stored
    }

    fn withdrawal(deleted: bool, keep: &[&str]) -> Withdrawal {
        let keep = keep.iter().map(|value| (*value).to_owned()).collect();
        let holder = crate::Holder::session("1");
        Withdrawal { system: "sys".to_owned(), record: "r".to_owned(), deleted, keep, holder, version: None }
    }

    #[test]
    fn the_same_again_makes_nothing_and_another_value_is_a_correction() {
        assert_eq!(next(&stored(60, "final"), &observation(60, "final")), None);
        assert_eq!(next(&stored(60, "corrected"), &observation(60, "final")), None);
        let corrected = next(&stored(60, "final"), &observation(61, "final")).expect("a version");
        assert_eq!((corrected.str("status"), corrected.str("id")), (Some("corrected"), Some("o1")));
    }

    #[test]
    fn what_is_told_anew_with_another_time_of_telling_is_the_same() {
        let mut again = observation(60, "final");
        again.as_object_mut().expect("an object").insert("issued", "2026-01-01T00:00:00Z");
        assert_eq!(next(&stored(60, "final"), &again), None);
    }

    #[test]
    fn an_older_state_of_a_record_changes_nothing() {
        let source = crate::bundle::Source { namespace: "n", vendor: "v", of: "", record: "r" };
        let of = |number: &str, mut resource: Json| {
            let version = Version::number(number, &source).expect("a number");
            version.write(resource.as_object_mut().expect("an object"));
            resource
        };
        let standing = of("10", stored(60, "final"));
        assert_eq!(next(&standing, &of("9", observation(61, "final"))), None, "by number, not by letters");
        assert_eq!(next(&standing, &of("11", observation(60, "final"))), None, "the same again");
        let newer = next(&standing, &of("11", observation(61, "final"))).expect("a version");
        assert_eq!(Version::of(&newer), Version::number("11", &source));
        let at = |number: &str| Withdrawal { version: Version::number(number, &source), ..withdrawal(false, &[]) };
        assert_eq!(withdrawn(&standing, &at("9")), None);
        let vanished = withdrawn(&standing, &at("12")).expect("a version");
        assert_eq!(next(&vanished, &of("11", observation(60, "final"))), None, "it vanished after that");
        let deleted = Withdrawal { deleted: true, ..at("9") };
        assert!(withdrawn(&standing, &deleted).is_some(), "a deletion is the last");
    }

    #[test]
    fn an_overtaken_alert_does_not_open_again_what_was_resolved() {
        let flag = |start: &str, end: Option<&str>| {
            let mut period = fhir::object! { "start": start };
            if let (Some(end), Some(members)) = (end, period.as_object_mut()) {
                members.insert("end", end);
            }
            let status = if end.is_some() { "inactive" } else { "active" };
            fhir::object! { "resourceType": "Flag", "status": status, "period": period }
        };
        let (raised, at) = (flag("2025-01-01T10:00:00+02:00", None), "2025-01-01T08:30:00Z");
        let resolved = flag("2025-01-01T10:00:00+02:00", Some(at));
        assert_eq!(next(&resolved, &raised), None, "raised, and late");
        assert!(next(&raised, &resolved).is_some());
        assert!(next(&resolved, &flag("2025-01-01T09:00:00Z", None)).is_some(), "raised again");
        let at_once = flag("2025-01-01T08:30:00Z", Some(at));
        assert_eq!(next(&at_once, &flag(at, None)), None);
    }

    #[test]
    fn what_a_person_found_to_be_an_error_is_not_revived_by_the_same_again() {
        let in_error = stored(60, "entered-in-error");
        assert_eq!(next(&in_error, &observation(60, "final")), None);
        assert_eq!(next(&in_error, &observation(61, "final")), None);
        assert_eq!(withdrawn(&in_error, &withdrawal(false, &[])), None, "it is not made the vendor's error either");
    }

    #[test]
    fn a_metric_that_vanished_may_come_back_but_a_deleted_record_may_not() {
        let vanished = withdrawn(&stored(60, "final"), &withdrawal(false, &[])).expect("a version");
        assert_eq!(vanished.str("status"), Some("entered-in-error"));
        assert!(next(&vanished, &observation(60, "final")).is_some());
        let deleted = withdrawn(&stored(60, "final"), &withdrawal(true, &[])).expect("a version");
        assert_eq!(next(&deleted, &observation(61, "final")), None);
        assert_eq!(withdrawn(&deleted, &withdrawal(true, &[])), None, "deleted once");
        assert_eq!(withdrawn(&stored(60, "final"), &withdrawal(false, &["r:pulse"])), None, "it remains");
    }
}
