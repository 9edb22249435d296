//! What an export is asked for, read once and kept with the job. <https://hl7.org/fhir/uv/bulkdata/STU2/export.html#query-parameters>

use fhir::date::DateTime;
use fhir::definitions::{is_resource_type, resource_types};
use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};
use fhir::reference::Reference;
use search::compartment::{in_patient_compartment, is_shared};
use smart::scope::{Level, Right};

use super::invalid;
use super::narrowed::Narrowed;
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::operation::{Input, Invocation, TABLE, Target};
use crate::rest::request::Pairs;
use crate::rest::{operation, projected};

/// Formats of the files; all mean the same.
const FORMATS: [&str; 3] = ["application/fhir+ndjson", "application/ndjson", "ndjson"];

/// Most patients of the parameter `patient`.
const MAX_PATIENTS: usize = 10_000;

/// Parameters whose plus sign, where it was not encoded, has become a space.
const WITH_PLUS: [&str; 3] = ["_outputFormat", "_since", "_until"];

/// Whose resources are exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    /// All.
    System,
    /// All patients'.
    Patients,
    /// Those of the members of a Group, by its logical id.
    Group(String),
}

/// An export as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The address of the kick-off.
    pub url: String,
    /// Whose resources.
    pub of: Of,
    /// The types, each given whole by a scope when it was asked, sorted. (LK-32)
    pub types: Vec<String>,
    /// Only what changed after this instant, microseconds since 1970.
    pub since: Option<i64>,
    /// The state at this instant, where it is not the present one.
    pub until: Option<i64>,
    /// `_typeFilter` and `_elements`.
    pub narrowed: Narrowed,
    /// Only these patients, logical ids, sorted.
    pub patients: Option<Vec<String>>,
    /// What was left out because the client is lenient.
    pub warnings: Vec<String>,
}

/// The parameters, less those that are not known where the client is lenient; and what is said of those.
pub(super) fn tolerated(pairs: Pairs, body: Option<Json>, lenient: bool) -> (Pairs, Option<Json>, Vec<String>) {
    let pairs = pairs.into_iter().map(|(name, value)| {
        let value = if WITH_PLUS.contains(&name.as_str()) { value.replace(' ', "+") } else { value };
        (name, value)
    });
    if !lenient {
        return (pairs.collect(), body, Vec::new());
    }
    let mut warnings = Vec::new();
    let known = |name: &str| TABLE.iter().any(|row| row.code == "export" && row.parameter(name).is_some());
    let mut keeps = |name: &str| {
        if !known(name) {
            warnings.push(format!("parameter {name} is not supported and was ignored"));
        }
        known(name)
    };
    let pairs = pairs.filter(|(name, _)| keeps(name)).collect();
    let body = body.map(|mut body| {
        if let Some(object) = body.as_object_mut()
            && let Some(Json::Array(parameters)) = object.remove("parameter")
        {
            let kept = parameters.into_iter().filter(|it| it.str("name").is_none_or(&mut keeps));
            object.insert("parameter", kept.collect::<Vec<_>>());
        }
        body
    });
    (pairs, body, warnings)
}

impl Asked {
    /// Reads the parameters; which types there will be is up to the token.
    pub fn read(
        app: &App,
        caller: &Caller,
        invocation: &Invocation,
        (lenient, mut warnings): (bool, Vec<String>),
    ) -> Result<Self, Error> {
        let Invocation { input, target, .. } = invocation;
        let of = of(target);
        refuse_persons(caller)?;
        for (is_needed, name) in [(of != Of::System, "Patient"), (matches!(of, Of::Group(_)), "Group")] {
            if is_needed && !gives_whole(caller, name) {
                return Err(lacking(caller, &[name]));
            }
        }
        if let Some(format) = input.text("_outputFormat").filter(|format| !FORMATS.contains(format)) {
            let text = format!("_outputFormat {format:?} is not supported; known: {}", FORMATS.join(", "));
            return Err(invalid(IssueCode::NotSupported, text));
        }
        let types = types(caller, &of, input, (lenient, &mut warnings))?;
        let narrowed = Narrowed::read(app, input, &types, (lenient, &mut warnings))?;
        let asked = Asked {
            url: String::new(),
            since: instant(input, "_since"),
            until: instant(input, "_until"),
            patients: patients(app, &of, input)?,
            narrowed,
            of,
            types,
            warnings,
        };
        if asked.until.is_some_and(|until| asked.since.is_some_and(|since| since >= until)) {
            return Err(invalid(IssueCode::Value, "_until must be after _since"));
        }
        Ok(asked)
    }

    /// As the job keeps it.
    pub fn to_json(&self) -> Json {
        let mut kept = Object::new();
        kept.insert("url", self.url.as_str());
        kept.insert("types", texts(&self.types));
        kept.insert("warnings", texts(&self.warnings));
        match &self.of {
            Of::System => kept.insert("of", "system"),
            Of::Patients => kept.insert("of", "patients"),
            Of::Group(id) => kept.insert("group", id.as_str()),
        }
        for (name, instant) in [("since", self.since), ("until", self.until)] {
            if let Some(instant) = instant {
                kept.insert(name, instant);
            }
        }
        if let Some(patients) = &self.patients {
            kept.insert("patients", texts(patients));
        }
        kept.insert("filters", texts(&self.narrowed.filters));
        if let Some(elements) = &self.narrowed.elements {
            kept.insert("elements", elements.as_str());
        }
        Json::Object(kept)
    }

    /// Out of a job.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let kept = Json::parse(text.as_bytes()).map_err(Error::internal)?;
        let listed = |name| kept.list(name).iter().filter_map(Json::as_str).map(str::to_owned).collect::<Vec<_>>();
        let number = |name| kept.get(name).and_then(Json::as_number).and_then(|number| number.parse().ok());
        let of = match (kept.str("of"), kept.str("group")) {
            (Some("system"), _) => Of::System,
            (Some("patients"), _) => Of::Patients,
            (_, Some(id)) => Of::Group(id.to_owned()),
            _ => return Err(Error::internal("the job does not say what is exported")),
        };
        Ok(Asked {
            url: kept.str("url").unwrap_or_default().to_owned(),
            of,
            types: listed("types"),
            since: number("since"),
            until: number("until"),
            narrowed: Narrowed { filters: listed("filters"), elements: kept.str("elements").map(str::to_owned) },
            patients: kept.get("patients").map(|_| listed("patients")),
            warnings: listed("warnings"),
        })
    }

    /// What the audit trail keeps of it, as a query.
    pub fn for_the_trail(&self) -> String {
        let mut said = vec![format!("_type={}", self.types.join(","))];
        said.extend(self.since.map(|since| format!("_since={}", fhir::date::format_instant(since))));
        said.extend(self.until.map(|until| format!("_until={}", fhir::date::format_instant(until))));
        said.extend(self.narrowed.filters.iter().map(|filter| format!("_typeFilter={filter}")));
        said.extend(self.patients.iter().flatten().map(|patient| format!("patient=Patient/{patient}")));
        said.join("&")
    }
}

fn of(target: &Target) -> Of {
    match target.level() {
        operation::Level::System => Of::System,
        operation::Level::Type => Of::Patients,
        _ => Of::Group(target.id.clone()),
    }
}

/// Only backend services export. (LK-32)
fn refuse_persons(caller: &Caller) -> Result<(), Error> {
    let mut scopes = caller.scopes.resources();
    if caller.user.is_none() && scopes.all(|scope| scope.level == Level::System) {
        return Ok(());
    }
    let text = "only backend services export in bulk: the access token must have system/ scopes alone, none below \
                patient/ or user/";
    Err(Error::forbidden(text).with_header("WWW-Authenticate", "Bearer error=\"insufficient_scope\""))
}

/// Whether scopes without conditions give all of a type, to read and to search. (LK-32)
fn gives_whole(caller: &Caller, resource_type: &str) -> bool {
    let whole = |right: Right| {
        caller.scopes.resources().any(|scope| {
            scope.level == Level::System
                && scope.constraint.is_empty()
                && scope.types.contains(resource_type)
                && scope.rights.contains(right)
        })
    };
    projected::of(resource_type).is_none() && whole(Right::Read) && whole(Right::Search)
}

fn lacking(caller: &Caller, types: &[&str]) -> Error {
    let scopes: Vec<String> = types.iter().map(|name| format!("system/{name}.rs")).collect();
    let scopes = scopes.join(" ");
    let text = format!(
        "the access token lacks a scope without conditions that this export needs: {scopes}; granted is \"{}\"",
        caller.scopes
    );
    let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scopes}\"");
    Error::forbidden(text).with_header("WWW-Authenticate", challenge)
}

/// The types that are asked for, or all, as far as the token gives them.
fn types(
    caller: &Caller,
    of: &Of,
    input: &Input,
    (lenient, warnings): (bool, &mut Vec<String>),
) -> Result<Vec<String>, Error> {
    let can_be = |name: &str| *of == Of::System || in_patient_compartment(name) || is_shared(name);
    let mut asked: Vec<&str> = input.listed("_type").map(str::trim).collect();
    if asked.is_empty() {
        let all = resource_types().iter().map(String::as_str);
        let mut given: Vec<String> =
            all.filter(|it| can_be(it) && gives_whole(caller, it)).map(str::to_owned).collect();
        given.sort_unstable();
        return if given.is_empty() { Err(lacking(caller, &["*"])) } else { Ok(given) };
    }
    asked.sort_unstable();
    asked.dedup();
    let mut given = Vec::new();
    let mut missing = Vec::new();
    for name in asked {
        let why = if !is_resource_type(name) {
            format!("_type: {name:?} is not a resource type of FHIR R4")
        } else if projected::of(name).is_some() {
            format!("_type: {name} is searched by itself and cannot be exported")
        } else if !can_be(name) {
            format!("_type: {name} is no data of patients; it is exported at [base]/$export only")
        } else if !gives_whole(caller, name) {
            missing.push(name);
            format!("_type: the access token does not give all of {name}")
        } else {
            given.push(name.to_owned());
            continue;
        };
        if !lenient && missing.is_empty() {
            return Err(invalid(IssueCode::NotSupported, why));
        }
        warnings.push(format!("{why}; it was left out"));
    }
    if !missing.is_empty() && (!lenient || given.is_empty()) {
        return Err(lacking(caller, &missing));
    }
    if given.is_empty() { Err(invalid(IssueCode::NotSupported, warnings.join("; "))) } else { Ok(given) }
}

/// The beginning of an instant, microseconds since 1970.
fn instant(input: &Input, name: &str) -> Option<i64> {
    input.text(name).and_then(DateTime::parse).map(|instant| instant.interval().0)
}

/// The patients of the parameter.
fn patients(app: &App, of: &Of, input: &Input) -> Result<Option<Vec<String>>, Error> {
    let mut patients = Vec::new();
    for value in input.all("patient") {
        if *of == Of::System {
            return Err(invalid(IssueCode::NotSupported, "patient: at Patient/$export and Group/[id]/$export only"));
        }
        let reference = value.str("reference").unwrap_or_default();
        match Reference::parse(reference, &app.config.fhir_base()) {
            Reference::Local { resource_type, id, .. } if resource_type == "Patient" => patients.push(id),
            _ => {
                let text = format!("patient must be a reference as Patient/[id], not {reference:?}");
                return Err(invalid(IssueCode::Value, text));
            }
        }
    }
    if patients.len() > MAX_PATIENTS {
        return Err(invalid(IssueCode::TooCostly, format!("patient: {MAX_PATIENTS} are the most; make a Group")));
    }
    patients.sort_unstable();
    patients.dedup();
    Ok((!patients.is_empty()).then_some(patients))
}

fn texts(texts: &[String]) -> Vec<Json> {
    texts.iter().map(|text| Json::from(text.as_str())).collect()
}

/// What of a parameter a lenient client does without, with the reason.
pub(super) fn leave_out(issue: Issue, lenient: bool, warnings: &mut Vec<String>) -> Result<(), Error> {
    if !lenient {
        return Err(Error::bad_request(issue));
    }
    warnings.push(format!("{}; it was left out", issue.diagnostics.unwrap_or_default()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::{array, object};

    #[test]
    fn what_was_asked_for_is_kept() {
        let asked = Asked {
            url: "http://s/fhir/Group/a/$export?_type=Patient".into(),
            of: Of::Group("a".into()),
            types: vec!["Observation".into(), "Patient".into()],
            since: Some(1),
            until: None,
            narrowed: Narrowed { filters: vec!["Patient?active=true".into()], elements: Some("id,name".into()) },
            patients: Some(vec!["p".into()]),
            warnings: vec!["left out".into()],
        };
        assert_eq!(Asked::from_json(&asked.to_json().to_string()).unwrap(), asked);
        let narrowed = Narrowed::default();
        for of in [Of::System, Of::Patients] {
            let plain = Asked { of, since: None, patients: None, narrowed: narrowed.clone(), ..asked.clone() };
            assert_eq!(Asked::from_json(&plain.to_json().to_string()).unwrap(), plain);
        }
        assert!(Asked::from_json("{}").is_err());
    }

    #[test]
    fn who_is_lenient_does_without() {
        let body = object! { "resourceType": "Parameters", "parameter": array![
            object! { "name": "_type", "valueString": "Patient" },
            object! { "name": "organizeOutputBy", "valueString": "Patient" },
        ]};
        let pairs = vec![("_since".to_owned(), "2020-01-01T00:00:00 01:00".to_owned()), ("typo".into(), "1".into())];
        let (kept, same, warnings) = tolerated(pairs.clone(), Some(body.clone()), false);
        assert_eq!((kept.len(), same, warnings.len()), (2, Some(body.clone()), 0));
        let (kept, body, warnings) = tolerated(pairs, Some(body), true);
        assert_eq!(kept, [("_since".to_owned(), "2020-01-01T00:00:00+01:00".to_owned())]);
        assert_eq!(body.unwrap().list("parameter").len(), 1);
        assert!(warnings[0].contains("typo") && warnings[1].contains("organizeOutputBy"), "{warnings:?}");
    }
}
