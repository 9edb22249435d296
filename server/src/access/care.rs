//! Which patients a person may see (LK-40, LK-54).

use fhir::date::DateTime;
use fhir::json::Json;
use fhir::reference::Reference;
use search::parse::{Options, parse};
use search::query::Query;
use search::view::View;
use smart::grant::FhirUser;
use store::Stored;

use crate::app::App;
use crate::error::Error;

/// Most patients of one practitioner; more are not visible through `user/` scopes.
const MAX_PATIENTS: usize = 1000;

/// Most patients that one person cares for.
const MAX_DEPENDANTS: usize = 50;

/// Logical ids, sorted: of a patient their own; of a practitioner the patients who name them as general practitioner,
/// or whose active care team has them as a participant; of a related person those they care for, see [`dependants`].
pub async fn patients_of(app: &App, user: &FhirUser) -> Result<Vec<String>, Error> {
    let practitioner = match user {
        FhirUser::Patient(id) => return Ok(vec![id.clone()]),
        FhirUser::Practitioner(_) => user.to_string(),
        FhirUser::RelatedPerson(id) => return dependants(app, id).await,
    };
    let own = found(app, "Patient", "general-practitioner", &practitioner).await?;
    let mut patients: Vec<String> = own.into_iter().map(|patient| patient.id).collect();
    let base = app.config.fhir_base();
    for team in found(app, "CareTeam", "participant", &practitioner).await? {
        let Ok(team) = Json::parse(team.body.as_bytes()) else { continue };
        patients.extend(patient_of_team(&team, &base));
    }
    patients.sort_unstable();
    patients.dedup();
    patients.truncate(MAX_PATIENTS);
    Ok(patients)
}

/// The patient of the related person's record and, where an active Person record links several records of related
/// persons, the patients of all of them: one parent, two children. A record counts while it is active and within its
/// period. Person records are written by the hospital only, see [`check_write`](super::check_write).
async fn dependants(app: &App, id: &str) -> Result<Vec<String>, Error> {
    let (base, now) = (app.config.fhir_base(), app.clock.now());
    let mut records = vec![id.to_owned()];
    for person in found(app, "Person", "relatedperson", &format!("RelatedPerson/{id}")).await? {
        let Ok(person) = Json::parse(person.body.as_bytes()) else { continue };
        records.extend(linked_records(&person, &base));
    }
    records.sort_unstable();
    records.dedup();
    let mut patients = Vec::new();
    for record in records.iter().take(MAX_DEPENDANTS) {
        let read = app.store.read(&View::system(), "RelatedPerson", record).await?.filter(|stored| !stored.deleted);
        let record = read.and_then(|stored| Json::parse(stored.body.as_bytes()).ok());
        patients.extend(record.and_then(|record| patient_cared_for(&record, &base, now)));
    }
    patients.sort_unstable();
    patients.dedup();
    Ok(patients)
}

/// Ids of the records of related persons that an active Person record links.
fn linked_records(person: &Json, base: &str) -> Vec<String> {
    if person.get("active").and_then(Json::as_bool) == Some(false) {
        return Vec::new();
    }
    let target = |link: &Json| local_id(link.at(&["target", "reference"])?.as_str()?, "RelatedPerson", base);
    person.list("link").iter().filter_map(target).collect()
}

/// The patient of a related person's record, while it is in force.
fn patient_cared_for(record: &Json, base: &str, now: i64) -> Option<String> {
    let bound = |name: &str| record.at(&["period", name]).and_then(Json::as_str);
    // A bound that cannot be read ends it: fail closed.
    let begun = bound("start").is_none_or(|text| DateTime::parse(text).is_some_and(|date| date.start() <= now));
    let lasts = bound("end").is_none_or(|text| DateTime::parse(text).is_some_and(|date| now <= date.interval().1));
    if record.get("active").and_then(Json::as_bool) == Some(false) || !begun || !lasts {
        return None;
    }
    local_id(record.at(&["patient", "reference"])?.as_str()?, "Patient", base)
}

/// The id in a reference to a resource of a type on this server.
fn local_id(reference: &str, wanted: &str, base: &str) -> Option<String> {
    match Reference::parse(reference, base) {
        Reference::Local { resource_type, id, .. } if resource_type == wanted => Some(id),
        _ => None,
    }
}

async fn found(app: &App, resource_type: &str, parameter: &str, practitioner: &str) -> Result<Vec<Stored>, Error> {
    let query = query(app, resource_type, parameter, practitioner)?;
    Ok(app.store.search(&View::system(), &query).await?.matches)
}

fn query(app: &App, resource_type: &str, parameter: &str, value: &str) -> Result<Query, Error> {
    let options = Options::at_most(MAX_PATIENTS, app.config.fhir_base(), app.clock.now());
    let parsed = parse(resource_type, &[(parameter.to_owned(), value.to_owned())], &options);
    parsed.map(|parsed| parsed.query).map_err(|issues| Error::internal(format!("{issues:?}")))
}

/// The patient whom an active care team is for.
fn patient_of_team(team: &Json, base: &str) -> Option<String> {
    if !matches!(team.str("status"), None | Some("active")) {
        return None;
    }
    let subject = team.at(&["subject", "reference"]).and_then(Json::as_str)?;
    local_id(subject, "Patient", base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::{array, object};

    const BASE: &str = "https://server.example/fhir";

    #[test]
    fn lk_54_care_begins_and_ends_at_its_instants() {
        let at = |text: &str| DateTime::parse(text).expect("a date").start();
        let mut record = object! { "patient": object! { "reference": "Patient/child" } };
        assert_eq!(patient_cared_for(&record, BASE, at("2026-01-01")), Some("child".to_owned()));
        let members = record.as_object_mut().expect("an object");
        members.insert("period", object! { "start": "2026-01-01", "end": "2026-06-30" });
        for (instant, cared_for) in [
            ("2025-12-31T23:59:59.999999Z", false),
            ("2026-01-01T00:00:00Z", true),
            ("2026-06-30T23:59:59.999999Z", true),
            ("2026-07-01T00:00:00Z", false),
        ] {
            assert_eq!(patient_cared_for(&record, BASE, at(instant)).is_some(), cared_for, "{instant}");
        }
        let members = record.as_object_mut().expect("an object");
        members.insert("period", object! { "end": "someday" });
        assert_eq!(patient_cared_for(&record, BASE, 0), None);
        members_without_period(&mut record);
        assert_eq!(patient_cared_for(&record, BASE, 0), None, "inactive");
    }

    fn members_without_period(record: &mut Json) {
        let members = record.as_object_mut().expect("an object");
        members.remove("period");
        members.insert("active", false);
    }

    #[test]
    fn sm_37_a_person_record_links_the_records_of_one_carer() {
        let link = |target: &str| object! { "target": object! { "reference": target } };
        let links = array![link("RelatedPerson/r1"), link("Patient/p"), link("RelatedPerson/r2")];
        assert_eq!(linked_records(&object! { "link": links.clone() }, BASE), ["r1", "r2"]);
        assert!(linked_records(&object! { "link": links, "active": false }, BASE).is_empty());
    }

    #[test]
    fn lk_40_only_active_teams_of_patients_count() {
        let team = |status: &str, subject: &str| {
            let subject = object! { "reference": subject };
            patient_of_team(&object! { "status": status, "subject": subject }, BASE)
        };
        assert_eq!(team("active", "Patient/p1"), Some("p1".to_owned()));
        assert_eq!(team("active", "https://server.example/fhir/Patient/p1"), Some("p1".to_owned()));
        for (status, subject) in [
            ("inactive", "Patient/p1"),
            ("entered-in-error", "Patient/p1"),
            ("active", "Group/p1"),
            ("active", "https://other.example/fhir/Patient/p1"),
        ] {
            assert_eq!(team(status, subject), None, "{status} {subject}");
        }
    }
}
