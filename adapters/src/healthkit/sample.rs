//! One sample: quantity, category, correlation, workout, electrocardiogram, state of mind, clinical record.

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use sha2::{Digest as _, Sha256};

use super::types::{self, Type};
use super::units::{self, Problem};
use super::{Found, VENDOR, device, panel, series, values};
use crate::bundle::{self, Source};
use crate::external;
use crate::observation::{self, Circumstances, Effective, Write};
use crate::reading::{Component, Concept, Quantity, Reading, Value};
use crate::time::{self, Moment};
use crate::{Context, Mapping, error, warning};

/// Metadata that only one type carries.
const TELLING: &[(&str, &str)] = &[("HKMetadataKeyHeartRateMotionContext", "HKQuantityTypeIdentifierHeartRate")];

/// Enumerations of samples that say by being there what their only, or first, value says.
const PRESENT: &[&str] = &["HKCategoryValueNotApplicable", "HKCategoryValuePresence"];

/// Translates a sample, with the other half of a blood pressure if there is one.
///
/// An error is an item that is wrong; a warning is one that waits for a mapping or for a person.
pub(super) fn map(
    sample: &Json,
    partner: Option<&Json>,
    path: &str,
    patient: &str,
    context: &Context<'_>,
    found: &mut Found,
) -> Result<(), Box<Issue>> {
    let at = |name: &str| format!("{path}.{name}");
    if sample.as_object().is_none() {
        return Err(Box::new(error(IssueCode::Structure, "The item is not an object", path)));
    }
    let kind = kind(sample, &at("type"), context, &mut found.issues)?;
    if let Some(done) = aside(kind, sample, path, context, found) {
        return done;
    }
    let (start, end) = period(sample, path)?;
    let id = identity(sample);
    let source = Source { namespace: context.namespace, vendor: VENDOR, of: "", record: &id };
    let measured_by = device::entry(sample, patient, context);
    let around = Circumstances {
        source,
        subject: format!("Patient/{patient}"),
        effective: if start.micros == end.micros {
            Effective::At(&start.text)
        } else {
            Effective::Between(&start.text, &end.text)
        },
        issued: None,
        device: measured_by.as_ref().map(|(url, _)| url.as_str()),
        kind: "sample",
        also: &[],
        write: Write::Once,
    };
    let reading = reading(sample, partner, kind, path, &around.source)?;
    let members = members(sample, kind, path, patient, context, found)?;
    if let Some((_, entry)) = &measured_by {
        found.push(entry.clone());
    }
    let metadata = sample.get("metadata");
    let entered = metadata.and_then(|metadata| metadata.get("HKWasUserEntered")).is_some_and(is_true);
    let mut reading = Reading { method: entered.then_some("Entered by the user"), members, ..reading };
    reading.components.extend(values::metadata(metadata, &around.source));
    let implausible = reading.implausible();
    found.push(of_patient(observation::entry(&reading, &around, !implausible.is_empty()), patient));
    found.issues.extend(implausible);
    Ok(())
}

/// The same entry, but what another patient's phone sent under this name is no reason to leave it out: only this
/// patient's own sample is.
fn of_patient(mut entry: Json, patient: &str) -> Json {
    if let Some(request) = entry.as_object_mut().and_then(|entry| entry.get_mut("request")?.as_object_mut())
        && let Some(criteria) = request.get("ifNoneExist").and_then(Json::as_str)
    {
        let criteria = format!("{criteria}&subject=Patient/{patient}");
        request.insert("ifNoneExist", criteria);
    }
    entry
}

/// The name of a sample: its UUID, else what is left to tell it from others.
pub(super) fn identity(sample: &Json) -> String {
    let own = ["id", "uuid"].into_iter().find_map(|name| sample.str(name)).map(str::trim);
    if let Some(own) = own.filter(|id| !id.is_empty() && id.len() <= 128) {
        return own.to_owned();
    }
    let text = |name: &str| match sample.get(name) {
        Some(Json::String(text) | Json::Number(text)) => text.to_string(),
        _ => String::new(),
    };
    let parts = ["type", "sourceName", "startDate", "endDate", "creationDate", "value", "unit"].map(text);
    fhir::hexadecimal(&Sha256::digest(parts.join("|").as_bytes()))
}

fn kind(
    sample: &Json,
    path: &str,
    context: &Context<'_>,
    issues: &mut Vec<Issue>,
) -> Result<&'static Type, Box<Issue>> {
    let query = context.query.split('&').find_map(|pair| pair.strip_prefix("type="));
    let pressure = ["bloodPressureSystolicValue", "bloodPressureDiastolicValue"];
    let is_pressure = pressure.iter().any(|name| sample.get(name).is_some());
    let pressure = is_pressure.then_some("HKCorrelationTypeIdentifierBloodPressure");
    let told = sample.str("type").filter(|text| !text.is_empty()).or(pressure).or(query);
    if let Some(told) = told {
        return types::find(told).ok_or_else(|| {
            let text = format!("{told} has no mapping yet; raw data kept");
            Box::new(warning(IssueCode::NotSupported, text, path))
        });
    }
    let telling = |(key, _): &&(&str, &str)| sample.get("metadata").is_some_and(|it| it.get(key).is_some());
    if let Some((key, identifier)) = TELLING.iter().find(telling) {
        let text = format!("The item has no type; {key} exists only on {identifier}");
        issues.push(warning(IssueCode::Required, text, path));
        return types::find(identifier).ok_or_else(|| Box::new(warning(IssueCode::NotSupported, *identifier, path)));
    }
    let text = "The item has no type, and nothing else tells it; raw data kept";
    Err(Box::new(warning(IssueCode::NotSupported, text, path)))
}

/// What becomes no Observation of ours: handed on as it is, or kept raw only.
fn aside(
    kind: &Type,
    sample: &Json,
    path: &str,
    context: &Context<'_>,
    found: &mut Found,
) -> Option<Result<(), Box<Issue>>> {
    let kept = |reason: &str| {
        let text = format!("{} {reason}; kept raw only", kind.identifier);
        Some(Issue::information(IssueCode::NotSupported, text).at(path))
    };
    let note = match kind.kind.as_str() {
        "clinical" => return Some(clinical(kind, sample, path, context, found)),
        "characteristic" => kept("is about the person: a phone does not change a Patient"),
        "vision" => kept("is a prescription and no measurement"),
        "series" => kept("is a series of places or beats"),
        _ => None,
    };
    note.map(|note| {
        found.issues.push(note);
        Ok(())
    })
}

/// The FHIR resource that a sample carries.
pub(super) fn handed_on(sample: &Json) -> Option<&Json> {
    let resource = ["fhirData", "fhirResource", "resource"].into_iter().find_map(|name| sample.get(name));
    resource.filter(|resource| resource.str("resourceType").is_some())
}

/// A record of another hospital: FHIR R4 is handed on, older versions are kept raw.
fn clinical(
    kind: &Type,
    sample: &Json,
    path: &str,
    context: &Context<'_>,
    found: &mut Found,
) -> Result<(), Box<Issue>> {
    let Some(resource) = handed_on(sample) else {
        let text = format!("{} carries no FHIR resource; raw data kept", kind.identifier);
        return Err(Box::new(warning(IssueCode::Required, text, path)));
    };
    if sample.str("fhirVersion").is_some_and(|version| !version.starts_with('4')) {
        let text = format!("{} is not of FHIR R4; raw data kept", kind.identifier);
        return Err(Box::new(warning(IssueCode::NotSupported, text, path)));
    }
    match external::map(resource, VENDOR, |_| "source", context) {
        Mapping::Publish(publication) => {
            for entry in publication.bundle.list("entry") {
                found.push(entry.clone());
            }
            found.issues.extend(publication.issues);
            Ok(())
        }
        Mapping::Quarantine { issues } | Mapping::Send { issues, .. } | Mapping::Refuse { issues } => {
            let first = issues.into_iter().next();
            Err(Box::new(first.unwrap_or_else(|| warning(IssueCode::NotSupported, "The record is not taken", path))))
        }
    }
}

fn period(sample: &Json, path: &str) -> Result<(Moment, Moment), Box<Issue>> {
    let zone = sample.at(&["metadata", "HKTimeZone"]).and_then(Json::as_str);
    let read = |name: &str| {
        sample.str(name).and_then(|text| time::moment(text, zone).ok()).ok_or_else(|| {
            let text = format!("{name} is not a date with a time and an offset");
            Box::new(error(IssueCode::Value, text, &format!("{path}.{name}")))
        })
    };
    let start = read("startDate")?;
    let end = if sample.get("endDate").is_some() { read("endDate")? } else { start.clone() };
    if end.micros < start.micros {
        return Err(Box::new(error(IssueCode::Value, "the item ends before it starts", &format!("{path}.endDate"))));
    }
    Ok((start, end))
}

fn reading(
    sample: &Json,
    partner: Option<&Json>,
    kind: &Type,
    path: &str,
    source: &Source<'_>,
) -> Result<Reading, Box<Issue>> {
    if let Some(halves) = panel::pressures(sample, partner) {
        return panel::measured(halves, path).map(panel::reading);
    }
    match kind.kind.as_str() {
        "category" => category(sample, kind, path, source),
        "workout" => series::workout(sample, kind, source),
        "electrocardiogram" => series::electrocardiogram(sample, kind, path, source),
        "stateofmind" => series::state_of_mind(sample, kind, path, source),
        "audiogram" => series::audiogram(sample, kind, path, source),
        "correlation" => Ok(named(kind, None, false)),
        _ => quantity(sample, kind, path),
    }
}

/// A reading of a type that has no value yet.
pub(super) fn named(kind: &Type, ucum: Option<&str>, metered: bool) -> Reading {
    Reading {
        category: kind.category.clone(),
        concept: Concept { codings: kind.codings(ucum, metered), text: Some(kind.text.clone()) },
        ..Reading::default()
    }
}

fn quantity(sample: &Json, kind: &Type, path: &str) -> Result<Reading, Box<Issue>> {
    let at = format!("{path}.value");
    let value = sample.get("value").and_then(number).ok_or_else(|| {
        Box::new(error(IssueCode::Value, format!("The value of {} is not a number", kind.identifier), &at))
    })?;
    let fraction = sample.get("percentAsWhole").is_none();
    let quantity = measured(kind, &value, sample.str("unit"), fraction, path)?;
    let ucum = quantity.ucum.clone();
    let profile = kind.profile.clone().filter(|profile| {
        ucum.as_deref().is_some_and(|ucum| units::taken_by(profile, ucum)) && !profile.starts_with("bp")
    });
    let metered = sample.get("device").is_some();
    Ok(Reading { profile, value: Some(Value::Quantity(quantity)), ..named(kind, ucum.as_deref(), metered) })
}

/// A quantity of a type, or what is wrong with it.
pub(super) fn measured(
    kind: &Type,
    value: &str,
    unit: Option<&str>,
    fraction: bool,
    path: &str,
) -> Result<Quantity, Box<Issue>> {
    units::quantity(kind, value, unit, fraction).map_err(|problem| {
        Box::new(match problem {
            Problem::Unit => {
                let text = format!("{} is no unit of {}", unit.unwrap_or_default(), kind.identifier);
                error(IssueCode::Value, text, &format!("{path}.unit"))
            }
            Problem::NoFraction => {
                let text =
                    format!("{value} % of {} should be a fraction of one; not guessed, raw data kept", kind.text);
                warning(IssueCode::Value, text, &format!("{path}.value"))
            }
            Problem::Impossible => {
                let text = format!("{value} is no value of {}", kind.identifier);
                error(IssueCode::Value, text, &format!("{path}.value"))
            }
        })
    })
}

fn category(sample: &Json, kind: &Type, path: &str, source: &Source<'_>) -> Result<Reading, Box<Issue>> {
    let value = match sample.get("value") {
        Some(Json::Number(value) | Json::String(value)) if !value.is_empty() => value.to_string(),
        // These say all by being there; of others the value must be told, since 0 means something.
        None | Some(Json::Null) if PRESENT.contains(&kind.values.as_str()) => "0".to_owned(),
        _ => {
            let text = format!("The value of {} is neither a number nor a symbol", kind.identifier);
            return Err(Box::new(error(IssueCode::Value, text, &format!("{path}.value"))));
        }
    };
    let (concept, known) = values::concept(&kind.values, &value, source);
    if !known {
        let text = format!("{value} is no value of {}", kind.values);
        return Err(Box::new(error(IssueCode::Value, text, &format!("{path}.value"))));
    }
    let reading = named(kind, None, false);
    if kind.values != "HKCategoryValueSleepAnalysis" {
        return Ok(Reading { value: Some(Value::Concept(concept)), ..reading });
    }
    // In bed and awake are segments of the same night, but no sleep.
    let asleep = !matches!(values::raw(&kind.values, &value), "0" | "2");
    let coding = fhir::object! { "system": types::APPLE, "code": "HKCategoryValueSleepAnalysis" };
    let stage = Component {
        concept: Concept { codings: vec![coding], text: None },
        value: Value::Concept(concept),
        in_range: None,
    };
    Ok(Reading { value: Some(Value::Boolean(asleep)), components: vec![stage], ..reading })
}

/// The parts of a meal, each an Observation of its own.
fn members(
    sample: &Json,
    kind: &Type,
    path: &str,
    patient: &str,
    context: &Context<'_>,
    found: &mut Found,
) -> Result<Vec<String>, Box<Issue>> {
    if kind.identifier != "HKCorrelationTypeIdentifierFood" {
        return Ok(Vec::new());
    }
    let mut urls = Vec::new();
    for (index, part) in sample.list("objects").iter().enumerate() {
        if part.str("type").and_then(types::find).is_none_or(|kind| kind.kind != "quantity") {
            continue;
        }
        map(part, None, &format!("{path}.objects[{index}]"), patient, context, found)?;
        let system = format!("{}/{VENDOR}/sample", context.namespace);
        urls.push(bundle::full_url(&system, &identity(part)));
    }
    Ok(urls)
}

/// A number, which XML writes as text.
pub(super) fn number(json: &Json) -> Option<String> {
    let text = json.as_number().or(json.as_str().map(str::trim))?;
    crate::number::is_number(text).then(|| text.to_owned())
}

fn is_true(json: &Json) -> bool {
    matches!((json.as_bool(), json.as_str().or(json.as_number())), (Some(true), _) | (_, Some("1" | "true" | "YES")))
}
