//! Parts of a scope that a person can give instead of all of it: the sub-categories that HTI-1 names. (SM-26)
//! <https://hl7.org/fhir/us/core/STU6.1/scopes.html#us-core-scopes>

use super::{ResourceScope, ResourceTypes, Scope, ScopeSet};

const CONDITION: &str = "http://terminology.hl7.org/CodeSystem/condition-category";
const OBSERVATION: &str = "http://terminology.hl7.org/CodeSystem/observation-category";
const US_CORE_CONDITION: &str = "http://hl7.org/fhir/us/core/CodeSystem/condition-category";
const US_CORE: &str = "http://hl7.org/fhir/us/core/CodeSystem/us-core-category";

/// Type, code system, code, and what people call it.
const CATEGORIES: [(&str, &str, &str, &str); 9] = [
    ("Condition", CONDITION, "problem-list-item", "Ongoing health problems"),
    ("Condition", CONDITION, "encounter-diagnosis", "Diagnoses of visits"),
    ("Condition", US_CORE_CONDITION, "health-concern", "Health concerns"),
    ("Observation", OBSERVATION, "laboratory", "Laboratory results"),
    ("Observation", OBSERVATION, "vital-signs", "Vital signs, such as blood pressure and weight"),
    ("Observation", OBSERVATION, "social-history", "Social history, such as smoking"),
    ("Observation", OBSERVATION, "survey", "Answers to surveys"),
    ("Observation", OBSERVATION, "procedure", "Results of clinical tests and procedures"),
    ("Observation", US_CORE, "sdoh", "Living conditions, such as housing and food"),
];

/// One part of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The granular scope.
    pub scope: Scope,
    /// In plain words.
    pub title: &'static str,
}

/// The parts of a scope; none where it is of another type, of all types, or a part itself. Rights stay as they are;
/// a part is spelled as in v2, because v1 cannot say it.
pub fn parts_of(scope: &Scope) -> Vec<Part> {
    let Scope::Resource(ResourceScope { level, types: ResourceTypes::Named(name), rights, constraint, .. }) = scope
    else {
        return Vec::new();
    };
    if !constraint.is_empty() {
        return Vec::new();
    }
    let letters: String = rights.iter().map(super::Right::letter).collect();
    let part = |(_, system, code, title): &(&str, &str, &str, &'static str)| {
        let text = format!("{}/{name}.{letters}?category={system}|{code}", level.as_str());
        Some(Part { scope: Scope::parse(&text).ok()?, title })
    };
    CATEGORIES.iter().filter(|(resource_type, ..)| resource_type == name).filter_map(part).collect()
}

/// What somebody gives who was asked for `asked` and ticked `ticked`: of each scope its ticked parts or, if none of
/// them is ticked, the whole where that is ticked. What was not asked cannot be given.
pub fn given(asked: &ScopeSet, ticked: &ScopeSet) -> ScopeSet {
    let mut given = Vec::new();
    for scope in asked.iter() {
        let parts: Vec<Scope> =
            parts_of(scope).into_iter().map(|part| part.scope).filter(|part| ticked.contains(part)).collect();
        if parts.is_empty() && ticked.contains(scope) {
            given.push(scope.clone());
        }
        given.extend(parts);
    }
    given.into_iter().collect()
}

/// What people call the category that a condition names.
pub(super) fn title_of(resource_type: &str, value: &str) -> Option<&'static str> {
    let (system, code) = value.split_once('|')?;
    CATEGORIES.iter().find(|it| (it.0, it.1, it.2) == (resource_type, system, code)).map(|it| it.3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(text: &str) -> ScopeSet {
        ScopeSet::parse(text).expect("valid scopes")
    }

    fn parts(text: &str) -> Vec<String> {
        parts_of(&Scope::parse(text).expect("valid")).into_iter().map(|part| part.scope.to_string()).collect()
    }

    #[test]
    fn sm_26_conditions_and_observations_have_parts() {
        let expected = [
            "patient/Condition.rs?category=http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item",
            "patient/Condition.rs?category=http://terminology.hl7.org/CodeSystem/condition-category|encounter-diagnosis",
            "patient/Condition.rs?category=http://hl7.org/fhir/us/core/CodeSystem/condition-category|health-concern",
        ];
        assert_eq!(parts("patient/Condition.rs"), expected);
        assert_eq!(parts("user/Observation.cruds").len(), 6);
        assert!(parts("patient/Observation.read")[0].starts_with("patient/Observation.rs?category="));
        for whole in ["patient/Patient.rs", "patient/*.rs", "openid", "patient/Observation.rs?category=x"] {
            assert_eq!(parts(whole), Vec::<String>::new(), "{whole}");
        }
    }

    #[test]
    fn sm_26_parts_are_given_instead_of_the_whole() {
        let asked = set("patient/Patient.rs patient/Condition.rs patient/Observation.rs offline_access");
        let concern = &parts("patient/Condition.rs")[2];
        let ticked = set(&format!("patient/Patient.rs patient/Condition.rs {concern} patient/Goal.rs"));
        assert_eq!(given(&asked, &ticked), set(&format!("patient/Patient.rs {concern}")));
        assert_eq!(given(&asked, &asked), asked);
        assert_eq!(given(&asked, &set("user/Condition.rs system/*.rs")), ScopeSet::default());
    }

    fn any_scope() -> impl Strategy<Value = Scope> {
        let levels = prop_oneof![Just("patient"), Just("user")];
        let types = prop_oneof![Just("*"), Just("Observation"), Just("Condition"), Just("Patient"), Just("Goal")];
        let rights = prop_oneof![Just("rs"), Just("cruds"), Just("r"), Just("read"), Just("*"), Just("s")];
        let resource = (levels, types, rights, 0..8_usize).prop_map(|(level, name, rights, part)| {
            let whole = Scope::parse(&format!("{level}/{name}.{rights}")).expect("valid");
            parts_of(&whole).into_iter().map(|part| part.scope).nth(part).unwrap_or(whole)
        });
        let plain = prop_oneof![Just("openid"), Just("launch/patient"), Just("offline_access"), Just("launch")];
        prop_oneof![5 => resource, 1 => plain.prop_map(|text| Scope::parse(text).expect("valid"))]
    }

    fn any_set() -> impl Strategy<Value = ScopeSet> {
        prop::collection::vec(any_scope(), 0..8).prop_map(|scopes| scopes.into_iter().collect())
    }

    proptest! {
        #[test]
        fn sm_28_given_within_asked_within_registered(
            registered in any_set(), wanted in any_set(), users in any_set(), ticks in any_set()
        ) {
            let asked = wanted.narrowed_to(&registered);
            let giveable = asked.filtered(|scope| users.contains(scope));
            let given = given(&giveable, &ticks);
            prop_assert!(asked.is_covered_by(&wanted) && asked.is_covered_by(&registered));
            prop_assert!(given.is_covered_by(&giveable) && giveable.is_covered_by(&users));
            prop_assert!(given.is_covered_by(&registered) && given.is_covered_by(&wanted));
            for scope in given.iter().filter(|scope| !asked.contains(scope)) {
                prop_assert!(asked.iter().any(|whole| parts_of(whole).iter().any(|part| part.scope == *scope)));
            }
        }
    }
}
