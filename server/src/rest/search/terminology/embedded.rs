//! HL7's own value sets and code systems, found by canonical URL. <https://hl7.org/fhir/R4/terminologies-valuesets.html>
//!
//! They are kept compressed as they are embedded. At the first question their places are noted, some hundred bytes for
//! each; a definition that is asked for is unpacked, and the latest of them are kept.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use fhir::json::Json;
use search::terminology::Need;

/// The files, in the order in which they are looked into: expansions hold the definition and its codes.
const FILES: &[fn() -> String] = &[
    profiles::value_set_expansions,
    profiles::value_sets_r4,
    profiles::value_sets_v2,
    profiles::value_sets_v3,
    profiles::code_systems_r4,
    profiles::code_systems_v2,
    profiles::code_systems_v3,
];

/// How many definitions are kept unpacked.
const KEPT: usize = 32;

/// Where a definition is.
#[derive(Clone, Debug)]
struct Place {
    file: usize,
    bytes: Range<usize>,
}

/// The definition with that URL, of the version if one is named. Takes some milliseconds.
pub(super) fn find(need: &Need) -> Option<Arc<Json>> {
    static LATEST: Mutex<VecDeque<(Need, Arc<Json>)>> = Mutex::new(VecDeque::new());
    let latest = || LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, known)) = latest().iter().find(|(known, _)| known == need) {
        return Some(Arc::clone(known));
    }
    let found = Arc::new(unpacked(need)?);
    let mut latest = latest();
    latest.truncate(KEPT - 1);
    latest.push_front((need.clone(), Arc::clone(&found)));
    Some(found)
}

fn unpacked(need: &Need) -> Option<Json> {
    let resource_type = need.resource_type();
    let (url, version) = need.name().split_once('|').map_or((need.name(), None), |(url, it)| (url, Some(it)));
    let is_wanted = |it: &Json| {
        it.str("resourceType") == Some(resource_type)
            && it.str("url") == Some(url)
            && version.is_none_or(|version| it.str("version") == Some(version))
    };
    let places = places().get(url)?;
    let read = |place: &Place| Json::parse(FILES[place.file]().get(place.bytes.clone())?.as_bytes()).ok();
    places.iter().filter_map(read).find(is_wanted)
}

/// The places by URL.
fn places() -> &'static HashMap<String, Vec<Place>> {
    static PLACES: OnceLock<HashMap<String, Vec<Place>>> = OnceLock::new();
    PLACES.get_or_init(|| {
        let mut places: HashMap<String, Vec<Place>> = HashMap::new();
        for (file, read) in FILES.iter().enumerate() {
            let text = read();
            for line in text.lines() {
                let start = line.as_ptr() as usize - text.as_ptr() as usize;
                let place = Place { file, bytes: start..start + line.len() };
                for url in first_urls(line) {
                    places.entry(url.to_owned()).or_default().push(place.clone());
                }
            }
        }
        places
    })
}

/// The first texts that can be the definition's own `url`: before it there may be those of extensions.
fn first_urls(line: &str) -> impl Iterator<Item = &str> {
    let urls = line.split("\"url\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    urls.filter(|url| !url.contains("/StructureDefinition/")).take(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_is_found_by_its_url() {
        for read in FILES {
            for line in read().lines() {
                let definition = Json::parse(line.as_bytes()).unwrap();
                let url = definition.str("url").unwrap();
                assert!(first_urls(line).any(|it| it == url), "{url}");
            }
        }
    }

    #[test]
    fn definitions_by_url_and_version() {
        let set = |url: &str| find(&Need::ValueSet(url.to_owned()));
        let gender = set("http://hl7.org/fhir/ValueSet/administrative-gender").unwrap();
        assert_eq!(gender.str("resourceType"), Some("ValueSet"));
        assert!(set("http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1").is_some());
        assert!(set("http://hl7.org/fhir/ValueSet/administrative-gender|9").is_none());
        assert!(set("http://hl7.org/fhir/administrative-gender").is_none(), "that is the code system");
        assert!(find(&Need::CodeSystem("http://hl7.org/fhir/administrative-gender".to_owned())).is_some());
        assert!(find(&Need::CodeSystem("http://terminology.hl7.org/CodeSystem/v3-ActCode".to_owned())).is_some());
    }
}
