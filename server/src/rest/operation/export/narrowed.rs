//! `_typeFilter` and `_elements`: which resources of the types, and what of them.
//! <https://hl7.org/fhir/uv/bulkdata/STU2/export.html#_typefilter-query-parameter>
//!
//! Filters are searches, read by the one parser of searches. They are asked of each resource as it is exported, so what
//! looks at other resources (chains, `_has`) and what shapes an answer (`_sort`, `_include`) is not taken.

use std::collections::BTreeMap;

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use search::filter::matches_at;
use search::parse::{Options, criteria, elements_of};
use search::query::{Elements, Filter, Match};
use store::Stored;

use super::asked::leave_out;
use crate::app::App;
use crate::error::Error;
use crate::rest::operation::Input;
use crate::rest::request;
use crate::rest::search::options;

/// Most filters of one export.
const MAX_FILTERS: usize = 100;

/// The two parameters as they were written, found to be good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowed {
    /// Searches, as `Type?parameters`.
    pub filters: Vec<String>,
    /// Names of elements with commas between them.
    pub elements: Option<String>,
}

/// The same, ready to be asked.
#[derive(Clone, Debug)]
pub struct Narrowing {
    /// By type: alternatives of conditions.
    filters: BTreeMap<String, Vec<Vec<Filter>>>,
    /// What is kept of each resource.
    pub elements: Elements,
    base: String,
}

impl Narrowed {
    /// Reads and checks the two; filters must be of `types`.
    pub fn read(
        app: &App,
        input: &Input,
        types: &[String],
        (lenient, warnings): (bool, &mut Vec<String>),
    ) -> Result<Self, Error> {
        let mut narrowed = Narrowed::default();
        let given = input.all("_typeFilter").filter_map(Json::as_str).flat_map(split);
        for filter in given {
            match parsed(&filter, types, &options(app, false)) {
                Ok(_) => narrowed.filters.push(filter),
                Err(issues) => {
                    for issue in issues {
                        leave_out(issue, lenient, warnings)?;
                    }
                }
            }
        }
        if narrowed.filters.len() > MAX_FILTERS {
            let text = format!("_typeFilter: {MAX_FILTERS} searches are the most");
            return Err(Error::bad_request(Issue::error(IssueCode::TooCostly, text)));
        }
        let elements: Vec<&str> = input.listed("_elements").map(str::trim).collect();
        narrowed.elements = (!elements.is_empty()).then(|| elements.join(","));
        narrowed.elements()?;
        Ok(narrowed)
    }

    /// Makes it ready for the resources of an export.
    pub fn prepared(&self, app: &App, types: &[String]) -> Result<Narrowing, Error> {
        let mut filters: BTreeMap<String, Vec<Vec<Filter>>> = BTreeMap::new();
        let options = options(app, false);
        for filter in &self.filters {
            let (resource_type, all) = parsed(filter, types, &options).map_err(Error::bad_request)?;
            filters.entry(resource_type).or_default().push(all);
        }
        Ok(Narrowing { filters, elements: self.elements()?, base: options.base })
    }

    fn elements(&self) -> Result<Elements, Error> {
        let pairs: Vec<_> = self.elements.iter().map(|names| ("_elements".to_owned(), names.clone())).collect();
        elements_of(None, &pairs).map_err(Error::bad_request)
    }
}

impl Narrowing {
    /// Whether a resource is asked for, and what it says need not be known to tell.
    pub fn takes_all_of(&self, resource_type: &str) -> bool {
        !self.filters.contains_key(resource_type)
    }

    /// Whether a resource is asked for.
    pub fn takes(&self, stored: &Stored, resource: &Json) -> bool {
        let Some(alternatives) = self.filters.get(&stored.resource_type) else { return true };
        let holds = |filter: &Filter| matches_at(filter, resource, &self.base, Some(stored.last_updated));
        alternatives.iter().any(|all| all.iter().all(holds))
    }
}

/// Searches with commas between them: a comma separates where `Type?` follows, else it is of a search.
fn split(text: &str) -> Vec<String> {
    let mut searches: Vec<String> = Vec::new();
    for piece in text.split(',') {
        let begins = piece.split_once('?').is_some_and(|(name, _)| {
            name.starts_with(|first: char| first.is_ascii_uppercase())
                && name.bytes().all(|it| it.is_ascii_alphabetic())
        });
        match searches.last_mut() {
            Some(last) if !begins => {
                last.push(',');
                last.push_str(piece);
            }
            _ => searches.push(piece.to_owned()),
        }
    }
    searches
}

fn parsed(filter: &str, types: &[String], options: &Options) -> Result<(String, Vec<Filter>), Vec<Issue>> {
    let refused = |code, text: String| vec![Issue::error(code, format!("_typeFilter {filter:?}: {text}"))];
    let Some((resource_type, query)) = filter.split_once('?') else {
        return Err(refused(IssueCode::Value, "a search is written as Type?parameter=value".into()));
    };
    if !types.iter().any(|it| it == resource_type) {
        return Err(refused(IssueCode::NotSupported, format!("{resource_type} is not exported here")));
    }
    let pairs = request::pairs(query).map_err(|error| error.issues().to_vec())?;
    let query = criteria(resource_type, &pairs, options)?;
    if let Some(reason) = query.filters.iter().find_map(looks_elsewhere) {
        return Err(refused(IssueCode::NotSupported, reason.to_owned()));
    }
    Ok((resource_type.to_owned(), query.filters))
}

/// Why it cannot be asked of one resource alone.
fn looks_elsewhere(filter: &Filter) -> Option<&'static str> {
    let climbs = |matched: &Match| {
        let matched = if let Match::Other(inner) = matched { inner } else { matched };
        matches!(matched, Match::Hierarchy { .. } | Match::Terminology(_))
    };
    match filter {
        Filter::Chain { .. } | Filter::Has { .. } => {
            Some("chains and _has look at other resources, which is not supported")
        }
        Filter::Any { matches, .. } if matches.iter().any(climbs) => {
            Some(":above, :below and :in look at other resources, which is not supported")
        }
        other => other.children().iter().find_map(looks_elsewhere),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_are_told_apart() {
        assert_eq!(split("Patient?active=true"), ["Patient?active=true"]);
        assert_eq!(split("Observation?code=a,b,Patient?_id=1,2"), ["Observation?code=a,b", "Patient?_id=1,2"]);
        assert_eq!(split("Observation?code=http://x|a,http://y?z|b"), ["Observation?code=http://x|a,http://y?z|b"]);
        assert_eq!(split(""), [""]);
    }

    #[test]
    fn what_cannot_be_asked_of_one_resource_is_refused() {
        let options = Options::at_most(1, "http://s/fhir".into(), 0);
        let types = ["Observation".to_owned(), "Patient".to_owned()];
        let of = |filter: &str| parsed(filter, &types, &options).map(|(_, filters)| filters.len());
        for (good, filters) in [
            ("Patient?active=true", 1),
            ("Observation?code=http://loinc.org|8480-6,8462-4&date=ge2020", 2),
            ("Observation?code:not=a", 1),
            ("Patient?_lastUpdated=gt2020-01-01T00:00:00Z", 1),
        ] {
            assert_eq!(of(good), Ok(filters), "{good}");
        }
        for bad in [
            "Patient",
            "Patient?",
            "Device?status=active",
            "Patient?typo=1",
            "Patient?_sort=name",
            "Patient?_include=Patient:organization",
            "Patient?_count=1",
            "Observation?patient.name=x",
            "Patient?_has:Observation:patient:code=x",
            "Observation?code:in=http://v",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
