//! Whether a Bundle and its entries are what FHIR says they are, apart from the resources, which are checked as such.
//! A misspelt or mistyped precondition would be none, and an update be lost. <https://hl7.org/fhir/R4/bundle.html>

use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode, Severity};
use fhir::{array, object};

use crate::error::Error;

/// What stands before a place in the one entry of the Bundle that [`check_entry`] makes.
const ONE: &str = "Bundle.entry[0]";

/// Refuses a Bundle, whose entries were taken out, with members that it does not have, or values of other types.
pub(super) fn check_bundle(bundle: Object) -> Result<(), Error> {
    refuse(validation::validate(&Json::Object(bundle)))
}

/// The same for an entry, whose resource was taken out; places are below the entry.
pub(super) fn check_entry(entry: &Object) -> Result<(), Error> {
    let mut entry = entry.clone();
    // The base itself is asked by an empty URL, as a request that is carried out later does, and FHIR has no empty values.
    if let Some(Json::Object(request)) = entry.get_mut("request")
        && request.get("url").and_then(Json::as_str) == Some("")
    {
        request.insert("url", "?");
    }
    let one = object! { "resourceType": "Bundle", "type": "batch", "entry": array![Json::Object(entry)] };
    let mut issues = validation::validate(&one);
    for place in issues.iter_mut().flat_map(|issue| &mut issue.expression) {
        if let Some(below) = place.strip_prefix(ONE) {
            *place = below.trim_start_matches('.').to_owned();
        }
    }
    refuse(issues)
}

/// Refuses a resource that a request by itself could not carry, unless any size will do (`usize::MAX`).
pub(super) fn check_size(resource: &Json, largest: usize) -> Result<(), Error> {
    if largest < usize::MAX && resource.to_string().len() > largest {
        let text = format!("the resource of the entry is larger than {largest} bytes");
        return Err(Error::payload_too_large(Issue::error(IssueCode::TooLong, text).at("resource")));
    }
    Ok(())
}

fn refuse(issues: Vec<Issue>) -> Result<(), Error> {
    let is_wrong = issues.iter().any(|issue| issue.severity >= Severity::Error);
    if is_wrong { Err(Error::bad_request(issues)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(request: Json) -> Option<String> {
        let entry = object! { "request": request };
        let error = check_entry(entry.as_object()?).err()?;
        Some(error.issues()[0].expression.join(" "))
    }

    #[test]
    fn members_and_their_types() {
        let get = || object! { "method": "GET", "url": "Patient" };
        assert_eq!(refused(get()), None);
        assert_eq!(refused(object! { "method": "GET", "url": "" }), None);
        for (name, value, place) in [
            ("ifMatch", Json::from(1_i64), "request.ifMatch"),
            ("ifNoneExist", array!["identifier=x"], "request.ifNoneExist"),
            ("ifNoneExists", "identifier=x".into(), "request"),
        ] {
            let mut request = get();
            request.as_object_mut().unwrap().insert(name, value);
            assert_eq!(refused(request).as_deref(), Some(place), "{name}");
        }
    }

    #[test]
    fn sizes() {
        let resource = object! { "resourceType": "Patient" };
        assert!(check_size(&resource, 26).is_ok());
        assert_eq!(check_size(&resource, 25).unwrap_err().status(), 413);
    }
}
