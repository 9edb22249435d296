//! The code systems that elements of type `code` imply: they state none, theirs are those of the value set that they are
//! bound to. <https://hl7.org/fhir/R4/search.html#token>

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use fhir::json::Json;

use super::elements::{are_all, codes};
use super::{Component, Parameter};
use crate::query::ParamKind;

/// Whether a parameter selects codes alone whose system this may be. False where it selects anything else.
pub(crate) fn may_be_of(parameter: &Parameter, system: &str) -> bool {
    // What the parameter selects is remembered; its expression is read again for codes alone, not in every search of tokens.
    are_all(parameter, "code")
        && are_codes_of(&parameter.expression, &parameter.resource_type, &|systems| systems.contains(system))
}

/// The same whatever the case of its letters.
pub(crate) fn may_be_in_any_case(parameter: &Parameter, system: &str) -> bool {
    let system = system.to_lowercase();
    let is_one = |systems: &BTreeSet<String>| systems.iter().any(|it| it.to_lowercase() == system);
    are_all(parameter, "code") && are_codes_of(&parameter.expression, &parameter.resource_type, &is_one)
}

/// The same of a component of a composite.
pub(crate) fn may_be_of_component(parameter: &Parameter, component: &Component, system: &str) -> bool {
    if component.kind != ParamKind::Token {
        return false;
    }
    let of_component = |branch: &str| format!("{}.{}", branch.trim(), component.expression);
    let expression: Vec<String> = parameter.expression.split('|').map(of_component).collect();
    are_codes_of(&expression.join(" | "), &parameter.resource_type, &|systems| systems.contains(system))
}

/// A code that is bound to no value set, or to one that is not known, may be of any system.
fn are_codes_of(expression: &str, resource_type: &str, has_it: &dyn Fn(&BTreeSet<String>) -> bool) -> bool {
    let Some(codes) = codes(expression, resource_type) else { return false };
    let is_of = |set: &str| systems(set).is_none_or(has_it);
    codes.into_iter().any(|code| code.required.as_deref().is_none_or(is_of))
}

/// The systems that a value set of HL7's takes its codes from; None where that is not known.
fn systems(value_set: &str) -> Option<&'static BTreeSet<String>> {
    static SYSTEMS: OnceLock<HashMap<String, BTreeSet<String>>> = OnceLock::new();
    SYSTEMS.get_or_init(read).get(value_set)
}

fn read() -> HashMap<String, BTreeSet<String>> {
    let text = [profiles::value_sets_r4(), profiles::value_sets_v3()].concat();
    let sets: Vec<Json> = text.lines().filter_map(|line| Json::parse(line.as_bytes()).ok()).collect();
    let by_url: HashMap<&str, &Json> = sets.iter().filter_map(|set| Some((set.str("url")?, set))).collect();
    let named = |url: &&str| Some(((*url).to_owned(), included(url, &by_url, &mut BTreeSet::new())?));
    by_url.keys().filter_map(named).collect()
}

/// The systems of a value set and of those that it includes; None where one of them is not known.
fn included<'a>(
    url: &'a str,
    by_url: &HashMap<&str, &'a Json>,
    seen: &mut BTreeSet<&'a str>,
) -> Option<BTreeSet<String>> {
    let unversioned = url.split('|').next().unwrap_or_default();
    if !seen.insert(unversioned) {
        return Some(BTreeSet::new());
    }
    let mut systems = BTreeSet::new();
    for include in by_url.get(unversioned)?.get("compose")?.list("include") {
        systems.extend(include.str("system").map(str::to_owned));
        for set in include.list("valueSet").iter().filter_map(Json::as_str) {
            systems.extend(included(set, by_url, seen)?);
        }
    }
    Some(systems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::r4;

    #[test]
    fn systems_of_codes() {
        for (resource_type, code, system, expected) in [
            ("Patient", "gender", "http://hl7.org/fhir/administrative-gender", true),
            ("Patient", "gender", "http://loinc.org", false),
            ("Observation", "status", "http://hl7.org/fhir/observation-status", true),
            ("Observation", "status", "http://hl7.org/fhir/administrative-gender", false),
            ("Observation", "code", "http://loinc.org", false),
            ("DocumentReference", "contenttype", "urn:ietf:bcp:13", true),
            ("DocumentReference", "relation", "http://hl7.org/fhir/document-relationship-type", true),
            ("ValueSet", "code", "http://loinc.org", true),
            ("CodeSystem", "language", "urn:ietf:bcp:47", true),
            ("Appointment", "part-status", "http://hl7.org/fhir/participationstatus", true),
        ] {
            let parameter = r4().find(resource_type, code).expect("HL7 has it");
            assert_eq!(may_be_of(parameter, system), expected, "{resource_type}.{code} {system}");
            assert_eq!(
                may_be_in_any_case(parameter, &system.to_uppercase()),
                expected,
                "{resource_type}.{code} {system}"
            );
        }
        let relationship = r4().find("DocumentReference", "relationship").expect("HL7 has it");
        let relation = relationship.components.iter().find(|it| it.kind == ParamKind::Token).expect("a code");
        assert!(may_be_of_component(relationship, relation, "http://hl7.org/fhir/document-relationship-type"));
        assert!(!may_be_of_component(relationship, relation, "http://loinc.org"));
    }

    /// Every required binding of codes names systems.
    #[test]
    fn every_binding_is_known() {
        let mut unknown = BTreeSet::new();
        for resource_type in fhir::definitions::resource_types() {
            for parameter in r4().parameters(resource_type) {
                let codes = codes(&parameter.expression, resource_type).unwrap_or_default();
                let sets = codes.into_iter().filter_map(|code| code.required.as_deref());
                unknown.extend(sets.filter(|set| systems(set).is_none_or(BTreeSet::is_empty)));
            }
        }
        assert_eq!(unknown, BTreeSet::new());
    }
}
