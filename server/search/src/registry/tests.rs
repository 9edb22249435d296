//! HL7's definitions as read, and definitions of a database.

use std::collections::BTreeSet;

use fhir::{array, object};

use super::definition::sample;
use super::parameter::identity;
use super::*;
use crate::entry::ParamId;
use crate::examples::examples;
use crate::query::Leads;

#[test]
fn all_definitions_are_there() {
    let registry = registry();
    let all: Vec<&Arc<Parameter>> = resource_types().iter().flat_map(|name| registry.parameters(name)).collect();
    let urls: BTreeSet<&str> = all.iter().map(|it| it.url.as_str()).collect();
    assert_eq!(urls.len(), 1376, "HL7's and one of ours");
    let ids: BTreeSet<ParamId> = all.iter().map(|it| it.id).collect();
    assert_eq!(ids.len(), all.len(), "identities differ");
    assert!(ids.iter().all(|id| id.0 >= 0));
    for parameter in &all {
        assert_eq!(
            parameter.branches.is_empty(),
            parameter.param().is_none(),
            "{} {}",
            parameter.resource_type,
            parameter.code
        );
    }
}

#[test]
fn identities_are_stable() {
    // A change here makes every index row of a parameter stale: it must come from a changed definition.
    let find = |name: &str, code: &str| Arc::clone(registry().find(name, code).expect(code));
    assert_eq!(find("Observation", "code").id, find("Observation", "code").id);
    assert_ne!(find("Observation", "code").id, find("Condition", "code").id, "one definition, two types");
    assert_eq!(identity(&["a", "b"]), ParamId(0x55a0_6bc1_06a0_403b));
    assert_ne!(identity(&["a", "b"]), identity(&["ab"]));
}

#[test]
fn what_else_leads_to_a_patient_is_known() {
    let others = |name: &str, code: &str| {
        let parameter = registry().find(name, code).expect("defined").clone();
        let codes = parameter.other_compartment_params.as_ref().map(|ids| {
            let of_type = registry();
            let code_of = |id| of_type.parameters(name).find(|it| it.id == id).map(|it| it.code.clone());
            ids.iter().filter_map(|id| code_of(*id)).collect::<Vec<_>>().join(" ")
        });
        codes.unwrap_or_else(|| "unknown".to_owned())
    };
    for (name, code, expected) in [
        ("Observation", "patient", "performer"),
        ("Observation", "subject", "performer"),
        ("Observation", "performer", "subject"),
        ("Encounter", "patient", ""),
        ("Immunization", "patient", ""),
        ("Condition", "subject", "asserter"),
        ("Appointment", "patient", ""),
        ("Patient", "link", "unknown"),
        ("Observation", "encounter", "unknown"),
    ] {
        assert_eq!(others(name, code), expected, "{name} {code}");
    }
}

#[test]
fn compartment_parameters_are_marked() {
    for (name, code, expected) in [
        ("Observation", "subject", true),
        ("Observation", "patient", true),
        ("Observation", "performer", true),
        ("Observation", "focus", false),
        ("Observation", "code", false),
        ("Condition", "subject", true),
        ("Condition", "patient", true),
        ("MedicationRequest", "patient", true),
        ("Device", "patient", true),
        ("Group", "member", false),
        ("AuditEvent", "patient", false),
        ("Task", "patient", false),
    ] {
        assert_eq!(registry().find(name, code).expect(code).compartment, expected, "{name} {code}");
    }
}

#[test]
fn kinds() {
    for (name, code, kind) in [
        ("Patient", "birthdate", "date"),
        ("Location", "near", "special"),
        ("Patient", "_content", "special"),
        ("Observation", "code-value-quantity", "composite"),
        ("Patient", "_tag", "token"),
        ("Patient", "_source", "uri"),
    ] {
        assert_eq!(registry().find(name, code).expect(code).kind.as_str(), kind, "{name} {code}");
    }
    assert!(registry().find("Bundle", "_text").is_none(), "_text is of DomainResource");
}

#[test]
fn composites_have_their_components() {
    let registry = registry();
    let mut composites = 0;
    for parameter in resource_types().iter().flat_map(|name| registry.parameters(name)) {
        let composite = parameter.kind == Kind::Indexed(ParamKind::Composite);
        assert_eq!(composite, !parameter.components.is_empty(), "{}", parameter.url);
        assert!(!composite || (2..=3).contains(&parameter.components.len()), "{}", parameter.url);
        composites += usize::from(composite);
    }
    assert!(composites > 60, "{composites}");
    let parameter = registry.find("MolecularSequence", "chromosome-variant-coordinate").unwrap();
    let kinds: Vec<(&str, ParamKind)> = parameter.components.iter().map(|it| (it.code.as_str(), it.kind)).collect();
    assert_eq!(
        kinds,
        [("chromosome", ParamKind::Token), ("variant-start", ParamKind::Number), ("variant-end", ParamKind::Number)]
    );
    let parameter = registry.find("DocumentReference", "relationship").unwrap();
    assert_eq!(
        (parameter.components[0].code.as_str(), parameter.components[0].expression.as_str()),
        ("relatesto", "target")
    );
}

#[test]
fn every_component_of_hl7_selects_something_in_the_examples() {
    let Some(examples) = examples("every_component_of_hl7_selects_something_in_the_examples") else { return };
    let registry = registry();
    let (mut all, mut met) = (BTreeSet::new(), BTreeSet::new());
    for parameter in resource_types().iter().flat_map(|name| registry.parameters(name)) {
        all.extend((0..parameter.components.len()).map(|index| (parameter.url.clone(), index)));
    }
    for example in &examples {
        let resource_type = example.str("resourceType").unwrap_or_default();
        for parameter in registry.parameters(resource_type).filter(|it| !it.components.is_empty()) {
            let fast = parameter.select_components(example).unwrap();
            let plain = parameter.composites_plainly(example).unwrap();
            for lists in &plain {
                for (index, _) in lists.iter().enumerate().filter(|(_, elements)| !elements.is_empty()) {
                    met.insert((parameter.url.clone(), index));
                }
            }
            let complete = plain.iter().filter(|lists| lists.iter().all(|elements| !elements.is_empty()));
            assert!(complete.count() <= fast.len(), "{} {:?}", parameter.url, example.str("id"));
        }
    }
    let missed: Vec<_> = all.difference(&met).collect();
    println!("no example has: {missed:?}");
    assert!(missed.len() < 60);
}

fn refusals(resource: &Json) -> Vec<String> {
    refusals_beside(resource, &[])
}

fn refusals_beside(resource: &Json, others: &[Definition]) -> Vec<String> {
    let issues = Definition::of(resource, r4(), others).unwrap_err();
    issues.into_iter().map(|issue| issue.expression[0].trim_start_matches("SearchParameter.").to_owned()).collect()
}

fn with(mut resource: Json, name: &str, value: impl Into<Json>) -> Json {
    resource.as_object_mut().unwrap().insert(name, value);
    resource
}

#[test]
fn a_definition_of_a_database_is_taken_and_kept_as_text() {
    let resource = sample("nickname", "string", "Patient", "Patient.name.where(use='nickname').given");
    let definition = Definition::of(&resource, r4(), &[]).unwrap().unwrap();
    assert_eq!(definition.types(), ["Patient"]);
    assert_eq!(Definition::parse(&definition.to_text()), Some(definition.clone()));
    let composite = object! { "component": array![
        object! { "definition": "http://hl7.org/fhir/SearchParameter/clinical-code|4.0.1", "expression": "code" },
        object! { "definition": "http://example.org/SearchParameter/nickname", "expression": "value.as(string)" },
    ] };
    let composite = with(
        sample("code-nickname", "composite", "Observation", "Observation"),
        "component",
        composite.list("component").to_vec(),
    );
    let composite = Definition::of(&composite, r4(), std::slice::from_ref(&definition)).unwrap().unwrap();
    assert_eq!(composite.components[1].kind, ParamKind::String);
    assert_eq!(Definition::parse(&composite.to_text()), Some(composite.clone()));
    let reference = sample("anything", "reference", "Basic", "Basic.subject");
    let reference = Definition::of(&reference, r4(), &[]).unwrap().unwrap();
    assert_eq!(reference.targets.len(), resource_types().len(), "a reference without targets may point anywhere");
}

#[test]
fn what_is_not_active_or_hl7s_own_is_no_definition_of_a_database() {
    for status in ["draft", "retired", "unknown"] {
        let resource = with(sample("x", "string", "Nothing", "]["), "status", status);
        assert_eq!(Definition::of(&resource, r4(), &[]), Ok(None), "{status}");
    }
    let text = profiles::search_parameters();
    for line in text.lines().filter(|line| line.contains("\"id\":\"Observation-") || line.contains("\"id\":\"Pat")) {
        let resource = with(Json::parse(line.as_bytes()).unwrap(), "status", "active");
        assert_eq!(Definition::of(&resource, r4(), &[]), Ok(None), "{:?}", resource.str("id"));
    }
}

#[test]
fn what_would_not_work_is_refused_with_its_place() {
    let good = || sample("x", "string", "Patient", "Patient.name.text");
    let other = Definition::of(&good(), r4(), &[]).unwrap().unwrap();
    for (resource, expected) in [
        (with(good(), "code", "a.b"), "code"),
        (with(good(), "code", "_a"), "code"),
        (with(good(), "code", "name"), "code"),
        (with(good(), "code", "date"), "code"),
        (with(good(), "base", array!["Nobody"]), "base"),
        (with(good(), "type", "special"), "type"),
        (with(good(), "type", "reference"), "target"),
        (with(good(), "xpathUsage", "phonetic"), "xpathUsage"),
        (with(good(), "expression", "Patient.name["), "expression"),
        (with(good(), "expression", "Observation.code"), "expression"),
        (with(good(), "type", "composite"), "component"),
        (with(good(), "url", "http://hl7.org/fhir/SearchParameter/clinical-code"), "url"),
    ] {
        let resource = if expected == "target" { with(resource, "target", array!["Nobody"]) } else { resource };
        let refused = refusals(&resource);
        assert!(refused.iter().any(|it| it == expected), "{expected}: {refused:?}");
    }
    let second = with(good(), "url", "http://example.org/other");
    assert_eq!(refusals_beside(&second, std::slice::from_ref(&other)), ["code"]);
    let elsewhere = with(with(second, "base", array!["Person"]), "expression", "Person.name.text");
    assert!(Definition::of(&elsewhere, r4(), std::slice::from_ref(&other)).is_ok(), "another type, another parameter");
    assert_eq!(refusals_beside(&with(good(), "code", "y"), &[other]), ["url"]);
    let unknown = array![object! { "definition": "http://x", "expression": "a" }];
    assert_eq!(refusals(&with(with(good(), "type", "composite"), "component", unknown)), ["component[0].definition"]);
}

#[test]
fn a_parameter_of_the_database_comes_becomes_indexed_and_leaves() {
    let definition = Definition::of(&sample("x", "string", "DomainResource", "DomainResource.language"), r4(), &[]);
    let definition = definition.unwrap().unwrap();
    let registry = |standing| Registry::with(&[Custom { definition: definition.clone(), standing }], 7).0;
    let arriving = registry(Standing::Arriving);
    let parameter = arriving.find("Patient", "x").unwrap();
    assert!(parameter.is_custom && !parameter.is_indexed && !parameter.compartment);
    assert!(arriving.find("Binary", "x").is_none());
    let id = parameter.id;
    let indexed = registry(Standing::Indexed);
    assert!(indexed.find("Patient", "x").unwrap().is_indexed);
    assert_eq!(indexed.find("Patient", "x").unwrap().id, id);
    let leaving = registry(Standing::Leaving);
    assert!(leaving.find("Patient", "x").is_none());
    assert!(leaving.written("Patient").any(|it| it.id == id));
    assert_eq!((leaving.generation(), r4().generation()), (7, 0));
    assert_eq!(r4().parameters("Patient").count() + 1, arriving.parameters("Patient").count());
}

#[test]
fn an_expression_of_the_database_that_fails_selects_nothing() {
    let definition = Definition::of(&sample("x", "string", "Patient", "Patient.name.given.single()"), r4(), &[]);
    let custom = Custom { definition: definition.unwrap().unwrap(), standing: Standing::Indexed };
    let (registry, broken) = Registry::with(&[custom], 1);
    assert!(broken.is_empty());
    let parameter = registry.find("Patient", "x").unwrap();
    let patient = |given: Json| object! { "resourceType": "Patient", "name": array![object! { "given": given }] };
    assert_eq!(parameter.select(&patient(array!["a"])).unwrap().len(), 1);
    assert_eq!(parameter.select(&patient(array!["a", "b"])).unwrap().len(), 0);
    assert_eq!(parameter.select_plainly(&patient(array!["a", "b"])).unwrap().len(), 0);
}

#[test]
fn names_with_a_type_select_as_implementation_guides_mean_it() {
    let url = "http://hl7.org/fhir/StructureDefinition/condition-assertedDate";
    let of = |last: &str| {
        let expression = format!("Condition.extension.where(url = '{url}').{last}");
        Definition::of(&sample("asserted-date", "date", "Condition", &expression), r4(), &[])
    };
    let extension = array![object! { "url": url, "valueDateTime": "2026-01-02" }];
    let condition = object! { "resourceType": "Condition", "extension": extension };
    for (last, count) in [("valueDateTime", 1), ("value", 1), ("value.ofType(dateTime)", 1), ("valueDate", 0)] {
        let custom = Custom { definition: of(last).unwrap().unwrap(), standing: Standing::Indexed };
        let registry = Registry::with(&[custom], 1).0;
        let parameter = registry.find("Condition", "asserted-date").unwrap();
        assert_eq!(parameter.select(&condition).unwrap().len(), count, "{last}");
        assert_eq!(parameter.select_plainly(&condition).unwrap().len(), count, "{last}");
    }
    let refused = of("valueDatetime").unwrap_err();
    let told = refused[0].diagnostics.as_deref().unwrap();
    assert!(told.contains("no element valueDatetime") && told.contains("at byte"), "{told}");
}

#[test]
fn every_definition_of_hl7_selects_something_in_each_of_its_types() {
    for name in fhir::definitions::resource_types() {
        for parameter in r4().parameters(name).filter(|it| !it.expression.is_empty()) {
            let nothing = definition::nothing_in(&parameter.expression, name);
            assert_eq!(nothing, None, "{name}.{}", parameter.code);
        }
    }
}

#[test]
fn values_that_other_parameters_hold_together_are_not_held_again() {
    let held: Vec<String> = fhir::definitions::resource_types()
        .iter()
        .flat_map(|name| r4().parameters(name))
        .filter(|parameter| !parameter.members.is_empty())
        .map(|parameter| format!("{}.{}: {}", parameter.resource_type, parameter.code, parameter.members.join(", ")))
        .collect();
    assert_eq!(
        held,
        [
            "Observation.combo-code: code, component-code",
            "Observation.combo-code-value-concept: code-value-concept, component-code-value-concept",
            "Observation.combo-code-value-quantity: code-value-quantity, component-code-value-quantity",
            "Observation.combo-data-absent-reason: component-data-absent-reason, data-absent-reason",
            "Observation.combo-value-concept: component-value-concept, value-concept",
            "Observation.combo-value-quantity: component-value-quantity, value-quantity",
        ]
    );
}

/// What is led to in two ways is asked in two ways: no parameter of HL7's is.
#[test]
fn parameters_lead_by_references_or_by_canonical_urls() {
    let leads = |resource_type: &str, code: &str| registry().find(resource_type, code).unwrap().param().unwrap().leads;
    assert_eq!(leads("QuestionnaireResponse", "questionnaire"), Leads::ByCanonical);
    assert_eq!(leads("ServiceRequest", "instantiates-canonical"), Leads::ByCanonical);
    assert_eq!(leads("ConceptMap", "source-uri"), Leads::ByCanonical);
    assert_eq!(leads("Observation", "patient"), Leads::ByReference);
    for parameter in resource_types().iter().flat_map(|name| r4().parameters(name)) {
        let leads = parameter.param().map(|param| param.leads);
        assert_ne!(leads, Some(Leads::Both), "{} {}", parameter.resource_type, parameter.code);
    }
}
