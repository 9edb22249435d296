//! `$everything`: all of a patient or encounter. <https://hl7.org/fhir/R4/patient-operation-everything.html>,
//! <https://hl7.org/fhir/R4/encounter-operation-everything.html>
//!
//! Matches are what lies in the compartment; included is what they refer to outside of it, one step away: what is
//! shared by all (Practitioner, Organization, Medication, …) and what is of the same patient only, whoever asks. As in
//! every search, what the view hides does not exist.

use std::collections::BTreeSet;

use fhir::date::DateTime;
use fhir::definitions::is_resource_type;
use fhir::json::Json;
use fhir::outcome::IssueCode;
use search::compartment::{PATIENT_ELSEWHERE, filter, is_shared, members, patients_of};
use search::parse::{Options, parse};
use search::query::{Elements, Filter, ParamKind, Query};
use search::registry::{Kind, registry};
use search::view::{Compartment, TypeRule};
use store::{SearchPage, Stored};

use super::{Invocation, Level, invalid};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::read::{self, Read};
use crate::rest::references::{References, references_in};
use crate::rest::response::Answer;
use crate::rest::search::{Searched, options, write};

/// Most patients of one answer.
const MAX_PATIENTS: usize = 50;
/// Most ids of one look-up of what is referred to.
const AT_ONCE: usize = 500;

/// When care took place, of types without the parameter `date`; one of several has to be within.
const DATES: &[(&str, &[&str])] = &[
    ("Claim", &["created"]),
    ("ClaimResponse", &["created"]),
    ("Communication", &["sent", "received"]),
    ("CommunicationRequest", &["authored"]),
    ("Condition", &["onset-date", "recorded-date"]),
    ("CoverageEligibilityRequest", &["created"]),
    ("DeviceRequest", &["event-date", "authored-on"]),
    ("ExplanationOfBenefit", &["created"]),
    ("Goal", &["start-date"]),
    ("ImagingStudy", &["started"]),
    ("Media", &["created"]),
    ("MedicationAdministration", &["effective-time"]),
    ("MedicationDispense", &["whenhandedover", "whenprepared"]),
    ("MedicationRequest", &["date", "authoredon"]),
    ("MedicationStatement", &["effective"]),
    ("NutritionOrder", &["datetime"]),
    ("Provenance", &["recorded"]),
    ("QuestionnaireResponse", &["authored"]),
    ("Schedule", &["date"]),
    ("ServiceRequest", &["occurrence", "authored"]),
    ("Specimen", &["collected"]),
];

/// Whose data is asked for.
struct Subjects {
    /// `Patient` or `Encounter`.
    root: &'static str,
    /// Logical ids of the roots.
    ids: Vec<String>,
    /// The patients whose data it may be.
    patients: Vec<String>,
}

/// One page.
pub(super) async fn execute(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Answer, Error> {
    let subjects = subjects(app, caller, invocation).await?;
    let asked = types(caller, invocation)?;
    let options = options(app, false);
    let bounds = bounds(invocation)?;
    let types = members(subjects.root).filter(|it| match &asked {
        Some(asked) => asked.contains(*it),
        None => {
            (crate::rest::projected::of(it).is_none() && may_find(caller, it))
                || (*it == subjects.root && may_read(caller, it))
        }
    });
    let types: Vec<&str> = types.collect();
    if asked.is_some() && !types.iter().any(|it| within(&subjects, it).is_some()) {
        let text = format!("_type must name a type that lies in the compartment of {}, beside others", subjects.root);
        return Err(invalid(IssueCode::Value, text));
    }
    let held = held(app, caller, &subjects).await?;
    let queries = types.into_iter().filter(|it| held.contains(it)).filter_map(|it| {
        let within = within(&subjects, it)?;
        Some(query(invocation, it, within, &bounds, &options))
    });
    let queries = queries.collect::<Result<Vec<Query>, Error>>()?;
    let mut page = match queries.as_slice() {
        [] => SearchPage::default(),
        [only] => app.store.search(&caller.view, only).await?,
        several => app.store.search_types(&caller.view, several).await?,
    };
    page.included = included(app, caller, &subjects, asked.as_ref(), &page.matches).await?;
    caller.saw_page(&page);
    let applied: Vec<_> = invocation.input.pairs().filter(|(name, _)| name != "_cursor").collect();
    let searched = Searched {
        base: &app.config.fhir_base(),
        path: &format!("{}/$everything", invocation.target.path()),
        applied: &applied,
        cursor: invocation.input.text("_cursor"),
        elements: &Elements::All,
        warnings: &[],
    };
    write(&searched, &page).map(Answer::resource)
}

/// The instance, which must be visible; of a type, all patients of a view that is of patients.
async fn subjects(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Subjects, Error> {
    let target = &invocation.target;
    let root = if target.resource_type == "Encounter" { "Encounter" } else { "Patient" };
    access::decide(caller, Interaction::Read, root)?;
    if target.level() == Level::Type {
        let Compartment::Patients(patients) = caller.view.compartment() else {
            let text = "this token reaches all patients; name one: Patient/[id]/$everything";
            return Err(invalid(IssueCode::TooCostly, text));
        };
        if patients.len() > MAX_PATIENTS {
            let text =
                format!("this token reaches more than {MAX_PATIENTS} patients; name one: Patient/[id]/$everything");
            return Err(invalid(IssueCode::TooCostly, text));
        }
        return Ok(Subjects { root, ids: patients.clone(), patients: patients.clone() });
    }
    let read = Read { resource_type: root, id: &target.id, if_none_match: None, if_modified_since: None };
    let answer = read::answer(app.store.read(&caller.view, root, &target.id).await?, read)?;
    let resource = Json::parse(answer.body.unwrap_or_default().as_bytes()).map_err(Error::internal)?;
    let mut patients = patients_of(&resource, &app.config.fhir_base()).map_err(Error::internal)?;
    patients.retain(|patient| *patient != PATIENT_ELSEWHERE);
    Ok(Subjects { root, ids: vec![target.id.clone()], patients })
}

/// What `_type` names, each of which the caller must be allowed to search.
fn types(caller: &Caller, invocation: &Invocation) -> Result<Option<BTreeSet<String>>, Error> {
    let mut types = BTreeSet::new();
    for name in invocation.input.listed("_type") {
        if !is_resource_type(name) {
            return Err(invalid(IssueCode::Value, format!("_type: {name} is not a resource type of FHIR R4")));
        }
        access::decide(caller, Interaction::Search, name)?;
        crate::rest::projected::refuse_among_others(name)?;
        types.insert(name.to_owned());
    }
    Ok((!types.is_empty()).then_some(types))
}

/// The types of which the store has anything that can be theirs: of most there is nothing.
async fn held(app: &App, caller: &Caller, subjects: &Subjects) -> Result<Vec<&'static str>, Error> {
    let mut view = caller.view.clone();
    if subjects.root == "Patient" {
        view = view.within(&subjects.ids);
    }
    Ok(app.store.types_held(&view).await?)
}

fn may_find(caller: &Caller, resource_type: &str) -> bool {
    access::decide(caller, Interaction::Search, resource_type).is_ok()
        && *caller.view.rule(resource_type) != TypeRule::Denied
}

fn may_read(caller: &Caller, resource_type: &str) -> bool {
    access::decide(caller, Interaction::Read, resource_type).is_ok()
        && *caller.view.rule(resource_type) != TypeRule::Denied
}

/// What lies in one of the compartments.
fn within(subjects: &Subjects, resource_type: &str) -> Option<Filter> {
    let filters: Vec<Filter> = subjects.ids.iter().filter_map(|id| filter(subjects.root, id, resource_type)).collect();
    if filters.is_empty() && !subjects.ids.is_empty() { None } else { Some(Filter::Or(filters)) }
}

/// When care took place, as values of a date parameter.
fn bounds(invocation: &Invocation) -> Result<Vec<String>, Error> {
    let (start, end) = (invocation.input.text("start"), invocation.input.text("end"));
    let interval = |text: Option<&str>| text.and_then(DateTime::parse).map(|date| date.interval());
    if let (Some((begin, _)), Some((_, last))) = (interval(start), interval(end))
        && begin > last
    {
        return Err(invalid(IssueCode::Value, "start is after end: no care lies between them"));
    }
    let bounds = [("ge", start), ("le", end)];
    Ok(bounds.into_iter().filter_map(|(prefix, date)| Some(format!("{prefix}{}", date?))).collect())
}

/// The search of a type.
fn query(
    invocation: &Invocation,
    resource_type: &str,
    within: Filter,
    bounds: &[String],
    options: &Options,
) -> Result<Query, Error> {
    let input = &invocation.input;
    let mut pairs = Vec::new();
    for name in ["_count", "_cursor"] {
        pairs.extend(input.text(name).map(|value| (name.to_owned(), value.to_owned())));
    }
    pairs.extend(input.text("_since").map(|since| ("_lastUpdated".to_owned(), format!("ge{since}"))));
    let mut query = parse(resource_type, &pairs, options).map_err(Error::bad_request)?.query;
    if input.text("_count").is_none() {
        query.count = options.max_count; // all in one Bundle, as far as that is bounded
    }
    query.filters.push(within);
    if !bounds.is_empty() {
        query.filters.extend(clinical(resource_type, bounds, options)?);
    }
    Ok(query)
}

/// Care within the bounds, or without a date; nothing for types that know no date of care.
fn clinical(resource_type: &str, bounds: &[String], options: &Options) -> Result<Option<Filter>, Error> {
    let listed = DATES.iter().find(|(name, _)| *name == resource_type).map(|(_, codes)| *codes);
    let registry = registry();
    let is_date =
        |code: &&&str| registry.find(resource_type, code).is_some_and(|it| it.kind == Kind::Indexed(ParamKind::Date));
    let codes: Vec<&str> = listed.unwrap_or(&["date"]).iter().filter(is_date).copied().collect();
    if codes.is_empty() || resource_type == "Patient" {
        return Ok(None);
    }
    let all = |pairs: Vec<(String, String)>| {
        parse(resource_type, &pairs, options).map(|it| Filter::All(it.query.filters)).map_err(Error::bad_request)
    };
    let mut alternatives = Vec::new();
    for code in &codes {
        alternatives.push(all(bounds.iter().map(|bound| ((*code).to_owned(), bound.clone())).collect())?);
    }
    alternatives.push(all(codes.iter().map(|code| (format!("{code}:missing"), "true".to_owned())).collect())?);
    Ok(Some(Filter::Or(alternatives)))
}

/// What the matches refer to outside the compartment.
async fn included(
    app: &App,
    caller: &Caller,
    subjects: &Subjects,
    asked: Option<&BTreeSet<String>>,
    matches: &[Stored],
) -> Result<Vec<Stored>, Error> {
    let base = app.config.fhir_base();
    let mut references = References::new();
    for stored in matches {
        references_in(&stored.body, &base, &mut references);
    }
    let mut found = Vec::new();
    if let Some(ids) = references.get_mut(subjects.root) {
        ids.retain(|id| !subjects.ids.contains(id)); // themselves are no others
    }
    for (resource_type, ids) in &references {
        let is_asked = asked.is_none_or(|asked| asked.contains(resource_type));
        if !is_asked || !is_resource_type(resource_type) || !may_read(caller, resource_type) {
            continue;
        }
        let ids: Vec<String> = ids.iter().cloned().collect();
        for some in ids.chunks(AT_ONCE) {
            let mut query = Query::of(resource_type, some.len());
            query.filters.push(Filter::Id(some.to_vec()));
            query.filters.extend(within(subjects, resource_type).map(|within| Filter::Not(Box::new(within))));
            let page = app.store.search(&caller.view, &query).await?;
            found.extend(page.matches.into_iter().filter(|stored| is_theirs(stored, subjects, &base)));
        }
    }
    Ok(found)
}

/// Whether it is data of these patients only, or shared by all.
fn is_theirs(stored: &Stored, subjects: &Subjects, base: &str) -> bool {
    let Ok(resource) = Json::parse(stored.body.as_bytes()) else { return false };
    match patients_of(&resource, base) {
        Ok(patients) if patients.is_empty() => is_shared(&stored.resource_type),
        Ok(patients) => patients.iter().all(|patient| subjects.patients.contains(patient)),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_parameters_of_their_types() {
        for (name, codes) in DATES {
            for code in *codes {
                let parameter = registry().find(name, code).cloned();
                assert!(parameter.is_some_and(|it| it.kind == Kind::Indexed(ParamKind::Date)), "{name} {code}");
            }
        }
    }

    #[test]
    fn types_without_a_listed_date_have_one_or_none() {
        let without: Vec<&str> = members("Patient")
            .filter(|it| !DATES.iter().any(|(name, _)| name == it) && registry().find(it, "date").is_none())
            .collect();
        for name in ["Observation", "Procedure", "Encounter", "Immunization", "DiagnosticReport"] {
            assert!(!without.contains(&name), "{name}");
        }
    }
}
