//! Rights and conditions, without a database.

use std::collections::BTreeMap;

use super::*;
use fhir::object;

const BASE: &str = "https://server.example/fhir";

fn caller(scopes: &str, compartment: Compartment) -> Caller {
    let scopes = ScopeSet::parse(scopes).expect("valid scopes");
    let reading = [Right::Read, Right::Search];
    let types = named_types(&scopes);
    let rules = types
        .iter()
        .map(|name| ((*name).to_owned(), rule(&scopes, &reading, name, (BASE, false))))
        .collect::<BTreeMap<_, _>>();
    let view = View::listed(compartment, rules);
    let mut caller = Caller::server("test");
    (caller.scopes, caller.view, caller.base) = (scopes, view, BASE.to_owned());
    caller
}

fn of_patients(ids: &[&str]) -> Compartment {
    Compartment::Patients(ids.iter().map(|id| (*id).to_owned()).collect())
}

fn lying_in(patients: &[&str]) -> Extracted {
    Extracted { patients: patients.iter().map(|id| (*id).to_owned()).collect(), ..Extracted::default() }
}

const ALL: [Interaction; 9] = [
    Interaction::Read,
    Interaction::Vread,
    Interaction::History,
    Interaction::Search,
    Interaction::TypeHistory,
    Interaction::Create,
    Interaction::Update,
    Interaction::Patch,
    Interaction::Delete,
];

#[test]
fn sm_22_each_letter_allows_its_interactions_and_no_other() {
    for right in Right::ALL {
        let caller = caller(&format!("patient/Observation.{}", right.letter()), of_patients(&["p1"]));
        for interaction in ALL {
            let allowed = decide(&caller, interaction, "Observation").is_ok();
            assert_eq!(allowed, interaction.right() == right, "{right:?} {interaction:?}");
            assert!(decide(&caller, interaction, "Condition").is_err());
        }
    }
}

#[test]
fn lk_29_a_confined_caller_writes_only_what_lies_wholly_in_its_patients() {
    let caller = caller("patient/*.cruds", of_patients(&["p1"]));
    let resource = object! { "resourceType": "Observation" };
    let may = |patients: &[&str]| check_write(&caller, &resource, &lying_in(patients)).is_ok();
    assert!(may(&["p1"]));
    assert!(!may(&["p2"]));
    assert!(!may(&["p1", "p2"]), "it would be written into the other's record too");
    assert!(!may(&[]), "what is nobody's is shared by all");
}

#[test]
fn lk_29_an_empty_set_of_patients_writes_nothing() {
    let caller = caller("patient/*.cruds", of_patients(&[]));
    let resource = object! { "resourceType": "Observation" };
    assert!(check_write(&caller, &resource, &lying_in(&["p1"])).is_err());
    assert!(check_write(&caller, &resource, &lying_in(&[])).is_err());
}

#[test]
fn sm_24_granular_conditions_bind_writes_too() {
    let caller = caller("system/Observation.cruds?code=http://loinc.org|8867-4", Compartment::Everyone);
    let observation = |code: &str| {
        let coding = object! { "system": "http://loinc.org", "code": code };
        object! { "resourceType": "Observation", "code": object! { "coding": fhir::array![coding] } }
    };
    assert!(check_write(&caller, &observation("8867-4"), &lying_in(&[])).is_ok());
    assert!(check_write(&caller, &observation("718-7"), &lying_in(&[])).is_err());
}

#[test]
fn sm_24_rights_with_different_conditions_are_never_mixed_up() {
    let scopes = ScopeSet::parse("patient/Observation.r?code=a patient/Observation.s?code=b").expect("valid scopes");
    let TypeRule::Granular(alternatives) = rule(&scopes, &[Right::Read, Right::Search], "Observation", (BASE, false))
    else {
        panic!("granular")
    };
    assert_eq!(alternatives.len(), 1);
    assert_eq!(alternatives[0].len(), 2, "both conditions must hold");
}

#[test]
fn sm_24_several_granular_scopes_are_alternatives() {
    let scopes = ScopeSet::parse("patient/Observation.rs?code=a patient/Observation.rs?code=b").expect("valid scopes");
    let TypeRule::Granular(alternatives) = rule(&scopes, &[Right::Read, Right::Search], "Observation", (BASE, false))
    else {
        panic!("granular")
    };
    assert_eq!(alternatives.len(), 2);
}

#[test]
fn sm_25_a_condition_that_cannot_be_honoured_gives_nothing() {
    let scopes = ScopeSet::parse("patient/Observation.rs?no-such-parameter=a").expect("well formed");
    assert_eq!(rule(&scopes, &[Right::Read, Right::Search], "Observation", (BASE, false)), TypeRule::Denied);
    assert!(!scopes.resources().any(|scope| is_honoured(scope, BASE)));
    let wildcard = ScopeSet::parse("patient/*.rs?code=a").expect("well formed");
    assert!(!wildcard.resources().any(|scope| is_honoured(scope, BASE)));
}

#[test]
fn lk_02_a_type_that_no_scope_names_is_denied() {
    let caller = caller("patient/Observation.rs", of_patients(&["p1"]));
    assert_eq!(caller.view.rule("Observation"), &TypeRule::Whole);
    assert_eq!(caller.view.rule("Condition"), &TypeRule::Denied);
}

#[test]
fn lk_45_what_is_labelled_restricted_takes_a_scope_that_names_the_label() {
    let of = |scopes: &str, resource_type: &str| {
        let scopes = ScopeSet::parse(scopes).expect("valid scopes");
        rule(&scopes, &[Right::Read, Right::Search], resource_type, (BASE, true))
    };
    let shows = |rule: &TypeRule, label: Option<&str>| {
        let security = label.map(|code| object! { "system": RESTRICTED.split('|').next().unwrap_or(""), "code": code });
        let observation = object! {
            "resourceType": "Observation", "id": "o", "status": "final",
            "meta": object! { "security": security.into_iter().collect::<Vec<_>>() },
        };
        match rule {
            TypeRule::Granular(any) => {
                any.iter().any(|all| all.iter().all(|it| filter::matches(it, &observation, BASE)))
            }
            TypeRule::Whole => true,
            TypeRule::Denied => false,
        }
    };
    let plain = of("patient/*.rs", "Observation");
    assert!(shows(&plain, None) && shows(&plain, Some("N")) && !shows(&plain, Some("R")) && !shows(&plain, Some("V")));
    let named = format!("patient/Observation.rs?_security={}", RESTRICTED.split(',').next().unwrap_or_default());
    let only = of(&named, "Observation");
    assert!(shows(&only, Some("R")) && !shows(&only, Some("V")) && !shows(&only, None));
    let both = of(&format!("patient/Observation.rs {named}"), "Observation");
    assert!(shows(&both, Some("R")) && shows(&both, None) && !shows(&both, Some("V")));
    assert_eq!(of("patient/AuditEvent.rs", "AuditEvent"), TypeRule::Whole);
}
