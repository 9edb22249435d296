//! Tokens and what they see, made of the data: one patient's, and some types, of which some by what they say.

use std::collections::BTreeMap;

use fhir::json::Json;
use search::entry::IndexValue;
use search::extract::extract;
use search::parse::filters_from_pairs;
use search::registry::registry;
use search::view::{Compartment, TypeRule, View};
use tests::random::Random;

use crate::BASE;

/// Parameters that granular scopes are made of.
const TELLING: [&str; 8] = ["status", "category", "gender", "active", "code", "clinical-status", "class", "type"];

/// Most types that a granular scope names: a token's scope has a greatest length.
const MOST: usize = 24;

/// A token's scope and the view that follows from it.
pub(crate) struct Scoped {
    pub(crate) scope: String,
    pub(crate) patient: Option<String>,
    pub(crate) view: View,
}

/// Everything first; then all of one patient; then parts of everything and of a patient.
pub(crate) fn of(resources: &[Json], patients: &[&str], random: &mut Random) -> Vec<Scoped> {
    let telling = telling(resources);
    let mut views = vec![Scoped { scope: "system/*.cruds".to_owned(), patient: None, view: View::system() }];
    if let Some(first) = patients.first() {
        let types = fhir::definitions::resource_types().iter().map(|name| (name.clone(), TypeRule::Whole));
        let view = View::listed(Compartment::Patients(vec![(*first).to_owned()]), types.collect::<BTreeMap<_, _>>());
        views.push(Scoped { scope: "patient/*.cruds".to_owned(), patient: Some((*first).to_owned()), view });
    }
    views.push(some(&telling, None, random));
    views.extend(patients.iter().map(|patient| some(&telling, Some(patient), random)));
    views
}

/// By type, the parameters and values that occur and can stand in a scope.
fn telling(resources: &[Json]) -> BTreeMap<String, Vec<(String, String)>> {
    let registry = registry();
    let mut found: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for resource in resources {
        let Some(name) = resource.str("resourceType") else { continue };
        let known = found.entry(name.to_owned()).or_default();
        let Ok(extracted) = extract(resource, BASE) else { continue };
        for entry in extracted.entries {
            let IndexValue::Token { system, code } = &entry.value else { continue };
            let parameter = TELLING.iter().find_map(|it| registry.find(name, it).filter(|it| it.id == entry.param));
            let Some(parameter) = parameter else { continue };
            let value = if system.is_empty() { code.clone() } else { format!("{system}|{code}") };
            let is_plain =
                !code.is_empty() && value.chars().all(|it| it.is_ascii_alphanumeric() || ":/|.-".contains(it));
            if is_plain && known.len() < 20 && !known.iter().any(|(_, has)| *has == value) {
                known.push((parameter.code.clone(), value));
            }
        }
    }
    found
}

/// Some types, in whole or in part.
fn some(telling: &BTreeMap<String, Vec<(String, String)>>, patient: Option<&str>, random: &mut Random) -> Scoped {
    let level = if patient.is_some() { "patient" } else { "system" };
    let (mut scopes, mut types) = (Vec::new(), BTreeMap::new());
    for (name, values) in telling {
        let is_common =
            ["Patient", "Observation", "Encounter", "Practitioner", "Organization"].contains(&name.as_str());
        if types.len() >= MOST || !(is_common || random.chance(50)) {
            continue;
        }
        if values.is_empty() || random.chance(40) || name == "Patient" {
            scopes.push(format!("{level}/{name}.rs"));
            types.insert(name.clone(), TypeRule::Whole);
            continue;
        }
        let mut alternatives = Vec::new();
        for _ in 0..=random.below(2) {
            let (code, value) = random.pick(values).clone();
            scopes.push(format!("{level}/{name}.rs?{code}={value}"));
            alternatives.push(filters_from_pairs(name, &[(code, value)], BASE).expect("a scope is made of tokens"));
        }
        types.insert(name.clone(), TypeRule::Granular(alternatives));
    }
    let compartment = match patient {
        Some(patient) => Compartment::Patients(vec![patient.to_owned()]),
        None => Compartment::Everyone,
    };
    Scoped { scope: scopes.join(" "), patient: patient.map(str::to_owned), view: View::listed(compartment, types) }
}
