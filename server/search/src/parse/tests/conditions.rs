//! Modifiers, composites, chains, `_has` and the special parameters.

use super::*;
use crate::entry::identifier_type;
use crate::query::{Aspect, Circle, Direction, Elements, ParamKind, Terminology, Words};
use crate::registry::registry;

/// A filter in a line, for tables.
fn shown(filter: &Filter) -> String {
    let all = |filters: &[Filter]| filters.iter().map(shown).collect::<Vec<_>>().join(" & ");
    match filter {
        Filter::Chain { param, target_type, filters } => format!("{}>{target_type}({})", param.code, all(filters)),
        Filter::Has { source_type, param, filters } => format!("{source_type}.{}<({})", param.code, all(filters)),
        Filter::All(filters) => format!("all({})", all(filters)),
        Filter::Or(filters) => format!("or({})", filters.iter().map(shown).collect::<Vec<_>>().join(" | ")),
        Filter::Not(inner) => format!("not({})", shown(inner)),
        Filter::Exact(inner) => format!("exact({})", shown(inner)),
        Filter::Id(ids) => format!("id {}", ids.join(",")),
        Filter::LastUpdated(dates) => format!("updated {:?}", dates[0].prefix),
        Filter::Missing { param, missing } => format!("{} missing {missing}", param.code),
        Filter::Any { param, matches, negated } => {
            let not = if *negated { "!" } else { "" };
            let aspect = if param.aspect == Aspect::Value { String::new() } else { format!("/{:?}", param.aspect) };
            format!("{}{aspect}{not}={}", param.code, matches.len())
        }
        Filter::Composite { param, alternatives } => {
            format!("{}/{:?}*{}", param.code, param.aspect, alternatives.len())
        }
        other => format!("{other:?}"),
    }
}

pub(super) fn read(resource_type: &str, name: &str, value: &str) -> String {
    shown(&query(resource_type, &[(name, value)]).filters[0])
}

#[test]
fn chains() {
    for (resource_type, name, value, expected) in [
        ("Observation", "subject:Patient.name", "x", "subject>Patient(name=1)"),
        ("Observation", "patient.name:exact", "x", "patient>Patient(name=1)"),
        ("Observation", "subject.name", "x", "or(subject>Patient(name=1) | subject>Location(name=1))"),
        ("Observation", "subject:Patient.organization.name", "x", "subject>Patient(organization>Organization(name=1))"),
        ("Observation", "patient._id", "a,b", "patient>Patient(id a,b)"),
        ("Observation", "patient._lastUpdated", "gt2020", "patient>Patient(updated Gt)"),
        ("Observation", "patient.gender:missing", "true", "patient>Patient(gender missing true)"),
        ("Observation", "patient.gender:not", "male", "patient>Patient(gender!=1)"),
        (
            "Encounter",
            "reason-reference:Observation.code-value-quantity",
            "1$5",
            "reason-reference>Observation(code-value-quantity/Value*1)",
        ),
        ("Observation", "patient._has:Condition:patient:code", "x", "patient>Patient(Condition.patient<(code=1))"),
        ("Patient", "_has:Observation:patient:code", "x", "Observation.patient<(code=1)"),
        (
            "Patient",
            "_has:Observation:patient:_has:AuditEvent:entity:agent",
            "Practitioner/1",
            "Observation.patient<(AuditEvent.entity<(agent=1))",
        ),
        (
            "Patient",
            "_has:Observation:patient:performer:Practitioner.name",
            "x",
            "Observation.patient<(performer>Practitioner(name=1))",
        ),
        ("Patient", "_list", "1,List/2", "List.item<(id 1,2)"),
        ("Observation", "patient._list", "1", "patient>Patient(List.item<(id 1))"),
    ] {
        assert_eq!(read(resource_type, name, value), expected, "{name}={value}");
    }
    for (resource_type, name, value) in [
        ("Observation", "subject.nothing", "x"),
        ("Observation", "subject:Medication.code", "x"),
        ("Observation", "subject:Nothing.code", "x"),
        ("Observation", "code.text", "x"),
        ("Observation", "patient.birthdate", "x"),
        ("Observation", "patient.", "x"),
        ("Observation", ".name", "x"),
        ("Patient", "_has", "x"),
        ("Patient", "_has:Observation", "x"),
        ("Patient", "_has:Observation:patient", "x"),
        ("Patient", "_has:Nothing:patient:code", "x"),
        ("Patient", "_has:Observation:code:code", "x"),
        ("Patient", "_has:Observation:encounter:code", "x"),
        ("Patient", "_has:Observation:patient:nothing", "x"),
        ("Patient", "_list", "a b"),
    ] {
        assert_eq!(refused(resource_type, name, value).0, IssueCode::Invalid, "{name}={value}");
    }
}

#[test]
fn in_17_depth_and_size() {
    let deep = |steps: usize| format!("{}name", "partof.".repeat(steps));
    assert!(parse("Organization", &pairs(&[(&deep(8), "x")]), &options()).is_ok());
    assert_eq!(refused("Organization", &deep(9), "x").0, IssueCode::TooCostly);
    assert_eq!(refused("List", "item.item.item._id", "x").0, IssueCode::TooCostly);
    let text = vec!["gender eq male"; 600].join(" or ");
    assert!(parse("Patient", &pairs(&[("_filter", &text)]), &options()).is_ok());
    let text = vec!["gender eq male"; 1000].join(" or ");
    assert_eq!(refused("Patient", "_filter", &text).0, IssueCode::TooCostly);
}

#[test]
fn modifiers_of_tokens() {
    let terminology = |it| vec![Match::Terminology(it)];
    let set = |it: &str| terminology(Terminology::ValueSet(it.to_owned()));
    let subsumed = |direction| {
        let (system, code) = ("http://x".to_owned(), "a|b".to_owned());
        terminology(Terminology::Subsumed { system, code, direction })
    };
    for (name, value, expected) in [
        ("code:in", "http://v|1", set("http://v|1")),
        ("code:in", "ValueSet/1", set("ValueSet/1")),
        ("code:in", "http://server/fhir/ValueSet/1", set("ValueSet/1")),
        ("code:not-in", "urn:oid:1.2", set("urn:oid:1.2")),
        ("code:above", r"http://x|a\|b", subsumed(Direction::Above)),
        ("code:below", r"http://x|a\|b", subsumed(Direction::Below)),
        ("code:text", "Ä", vec![Match::String { mode: StringMode::StartsWith, text: "a".to_owned() }]),
        ("identifier:of-type", "s|MR|1", vec![token(Some(&identifier_type("s", "MR")), Some("1"))]),
    ] {
        assert_eq!(matches("Observation", name, value), expected, "{name}={value}");
    }
    assert_eq!(read("Observation", "identifier:of-type", "s|MR|1"), "identifier/OfType=1");
    assert_eq!(read("Observation", "code:text", "x"), "code/Text=1");
    assert_eq!(read("Observation", "code:not-in", "http://v"), "code!=1");
    for (name, value) in [
        ("code:in", "x"),
        ("code:below", "x"),
        ("code:below", "|x"),
        ("identifier:of-type", "MR|1"),
        ("identifier:of-type", "s||1"),
        ("code:of-type", "s|MR|1"),
        ("code:exact", "x"),
        ("code:Patient", "x"),
        ("code-value-quantity:missing", "true"),
        ("value-quantity:exact", "5"),
        ("date:contains", "2020"),
        ("_id:exact", "x"),
        ("_lastUpdated:not", "2020"),
    ] {
        assert_eq!(refused("Observation", name, value).0, IssueCode::Invalid, "{name}={value}");
    }
}

#[test]
fn modifiers_of_ids() {
    for (name, value, expected) in [
        ("_id:not", "a", "not(id a)"),
        ("_id:missing", "false", "all()"),
        ("_id:missing", "true", "or()"),
        ("_lastUpdated:missing", "false", "all()"),
    ] {
        assert_eq!(read("Patient", name, value), expected, "{name}={value}");
    }
}

#[test]
fn modifiers_of_references_and_uris() {
    assert_eq!(read("Observation", "subject:identifier", "s|1"), "subject/Identifier=1");
    assert_eq!(read("Observation", "subject:text", "x"), "subject/Text=1");
    for (name, value, types) in [
        ("location:below", "1", vec!["Location"]),
        ("location:above", "Location/1", vec!["Location"]),
        ("part-of:below", "Encounter/1", vec!["Encounter"]),
    ] {
        let found = matches("Encounter", name, value);
        let seen: Vec<&str> = found
            .iter()
            .map(|it| match it {
                Match::Hierarchy { target: Target::Local { resource_type, .. }, parent, .. } => {
                    assert_eq!(parent.kind, ParamKind::Reference);
                    resource_type.as_str()
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(seen, types, "{name}={value}");
    }
    for (name, value) in [("location:below", "Patient/1"), ("location:below", "http://x/Location/1")] {
        assert_eq!(refused("Encounter", name, value).0, IssueCode::Invalid, "{name}={value}");
    }
    let below = Match::UriHierarchy { uri: "http://x/a".to_owned(), direction: Direction::Below };
    assert_eq!(matches("ValueSet", "url:below", "http://x/a"), [below]);
    assert_eq!(refused("ValueSet", "url:below", "urn:oid:1.2").0, IssueCode::Invalid);
    let canonical = matches("QuestionnaireResponse", "questionnaire", "http://x/q|1.0");
    assert_eq!(canonical, [Match::Reference(Target::Url("http://x/q|1.0".to_owned()))]);
}

#[test]
fn quantities_in_canonical_units() {
    let of = |value: &str| read("Observation", "value-quantity", value);
    assert_eq!(of("5.4|http://unitsofmeasure.org|mg"), "value-quantity/Canonical=1");
    assert_eq!(of("5.4||mg"), "or(value-quantity=1 | value-quantity/Canonical=1)");
    assert_eq!(of("5.4|mg"), "or(value-quantity=1 | value-quantity/Canonical=1)");
    assert_eq!(of("5.4,5.4|http://unitsofmeasure.org|mg"), "or(value-quantity=1 | value-quantity/Canonical=1)");
    let number = |value: &str| match matches("Observation", "value-quantity", value).remove(0) {
        Match::Quantity { number, unit: Some(UnitMatch::Canonical(code)) } => (number, code),
        other => panic!("{other:?}"),
    };
    let (grams, milligrams) =
        (number("gt1|http://unitsofmeasure.org|g"), number("gt1000|http://unitsofmeasure.org|mg"));
    assert_eq!((grams.0.value, grams.1), (milligrams.0.value, milligrams.1));
}

#[test]
fn composites() {
    for (resource_type, name, value, expected) in [
        (
            "Observation",
            "code-value-quantity",
            "http://loinc.org|1$gt5.4|http://unitsofmeasure.org|mg",
            "code-value-quantity/Canonical*1",
        ),
        ("Observation", "code-value-quantity", "1$5,2$6", "code-value-quantity/Value*2"),
        (
            "Observation",
            "code-value-quantity",
            "1$5||mg",
            "or(code-value-quantity/Value*1 | code-value-quantity/Canonical*1)",
        ),
        ("Observation", "code-value-string", r"a\$b$x\,y", "code-value-string/Value*1"),
        ("Observation", "code-value-date", "1$ge2020", "code-value-date/Value*1"),
        ("DocumentReference", "relationship", "1$replaces", "relationship/Value*1"),
        ("MolecularSequence", "chromosome-variant-coordinate", "1$lt5$gt2", "chromosome-variant-coordinate/Value*1"),
    ] {
        assert_eq!(read(resource_type, name, value), expected, "{name}={value}");
    }
    for (name, value) in [
        ("code-value-quantity", "1"),
        ("code-value-quantity", "1$2$3"),
        ("code-value-quantity", "1$"),
        ("code-value-quantity", "$1"),
        ("code-value-quantity", "1$x"),
        ("code-value-quantity", "1,2$5"),
        ("code-value-date", "1$yesterday"),
    ] {
        assert_eq!(refused("Observation", name, value).0, IssueCode::Invalid, "{name}={value}");
    }
}

#[test]
fn special_parameters() {
    let exact = |filter: &Filter| match filter {
        Filter::Exact(inner) => (**inner).clone(),
        other => panic!("{other:?}"),
    };
    for (value, radius) in [
        ("-83.694810|42.256500|11.20|km", 11_200.0),
        ("-83.694810|42.256500|1", 1000.0),
        ("-83.694810|42.256500", 50_000.0),
        ("-83.694810|42.256500||", 50_000.0),
        ("-83.694810|42.256500|2|m", 2.0),
    ] {
        let found = exact(&query("Location", &[("near", value)]).filters[0]);
        let circle = Circle { latitude: -83.694_810, longitude: 42.256_500, radius };
        assert_eq!(found, Filter::Near { param: "near".to_owned(), circle }, "{value}");
    }
    for bad in ["1", "91|0", "0|181", "x|0", "0|0|-1|km", "0|0|1|kg", "0|0|1|km|x"] {
        assert_eq!(refused("Location", "near", bad).0, IssueCode::Invalid, "{bad}");
    }
    let found = exact(&query("Patient", &[("_text", "Übel  krank")]).filters[0]);
    let words = vec!["ubel".to_owned(), "krank".to_owned()];
    assert_eq!(found, Filter::Words { place: Words::Narrative, words });
    assert!(read("Bundle", "_content", "a,b").starts_with("or("));
    assert_eq!(refused("Bundle", "_text", "x").0, IssueCode::Invalid, "a Bundle has no narrative");
    let nearest = |name: &str| refused("Bundle", name, "x").1.split("nearest").nth(1).unwrap_or_default().to_owned();
    assert!(!nearest("_text").contains("_text") && !nearest("_txet").contains("_text"));
    assert_eq!(refused("Patient", "_text:exact", "x").0, IssueCode::Invalid);
}

#[test]
fn elements_and_summaries() {
    let of = |text: &[(&str, &str)]| query("Patient", text).elements;
    assert_eq!(of(&[]), Elements::All);
    assert_eq!(of(&[("_summary", "true")]), Elements::Summary);
    assert_eq!(of(&[("_summary", "text")]), Elements::Text);
    assert_eq!(of(&[("_summary", "data")]), Elements::Data);
    let named = Elements::Named(vec!["name".to_owned(), "Observation.code".to_owned()]);
    assert_eq!(of(&[("_elements", "name,Observation.code")]), named);
    for text in [
        &[("_elements", "nothing")][..],
        &[("_elements", "Nothing.name")],
        &[("_elements", "")],
        &[("_elements", "name"), ("_summary", "true")],
        &[("_summary", "text"), ("_include", "Patient:organization")],
        &[("__explain", "yes")],
    ] {
        assert!(parse("Patient", &pairs(text), &options()).is_err(), "{text:?}");
    }
}

#[test]
fn includes_with_wildcards_and_iteration() {
    let of = |name: &str, value: &str| query("Observation", &[(name, value)]).includes.remove(0);
    let references = registry().parameters("Observation").filter(|it| it.kind.as_str() == "reference").count();
    assert_eq!(of("_include", "Observation:*").params.len(), references);
    assert_eq!(of("_include", "*"), of("_include", "Observation:*"));
    assert!(of("_include", "Observation:*:Patient").params.len() < references);
    let reverse = of("_revinclude", "Provenance:*");
    assert!(reverse.reverse && reverse.params.iter().any(|it| it.code == "target"));
    assert!(reverse.params.iter().all(|it| it.code != "patient"), "that cannot point at an Observation");
    let iterate = of("_include:iterate", "Patient:general-practitioner:Practitioner");
    assert!(iterate.iterate && iterate.target_type.as_deref() == Some("Practitioner"));
    let all = |name: &str, value: &str| query("Observation", &[(name, value)]).includes;
    let back = all("_revinclude", "*");
    assert!(back.iter().all(|it| it.reverse && it.wildcard && !it.iterate && !it.params.is_empty()));
    let sources: Vec<&str> = back.iter().map(|it| it.source_type.as_str()).collect();
    assert!(sources.contains(&"Provenance") && sources.contains(&"Basic") && !sources.contains(&"Location"));
    let any = all("_revinclude:iterate", "*");
    assert!(any.len() > back.len() && any.iter().any(|it| it.source_type == "Location"));
    assert_eq!(any.len(), all("_include:iterate", "*").len(), "what was included may be of any type");
    let back = of("_revinclude:iterate", "Encounter:patient:Patient");
    assert!(back.iterate && back.reverse && back.target_type.as_deref() == Some("Patient"));
    for (name, value) in [
        ("_include:recurse", "Observation:subject"),
        ("_include", "Patient:*"),
        ("_revinclude", "Location:*"),
        ("_include:iterate", "Nothing:*"),
    ] {
        assert_eq!(refused("Observation", name, value).0, IssueCode::Invalid, "{name}={value}");
    }
}

#[test]
fn stated_modifiers_are_those_that_work() {
    for resource_type in ["Observation", "Patient", "ValueSet", "Encounter", "Location"] {
        for parameter in registry().parameters(resource_type) {
            for modifier in modifiers(parameter).into_iter().filter(|it| *it != "[type]") {
                let value = match (modifier, parameter.kind.as_str()) {
                    ("missing", _) => "true",
                    ("of-type", _) => "s|t|v",
                    ("in" | "not-in", _) => "http://v",
                    ("above" | "below", "token") => "s|c",
                    _ => "x",
                };
                let name = format!("{}:{modifier}", parameter.code);
                let parsed = parse(resource_type, &pairs(&[(&name, value)]), &options());
                assert!(parsed.is_ok(), "{resource_type}?{name}={value}: {parsed:?}");
            }
        }
    }
}
