//! The definitions say what the specification's pages say.

use super::*;
use std::time::Instant;

#[test]
fn all_resource_types_are_there() {
    assert_eq!(resource_types().len(), 146);
    assert!(resource_types().is_sorted());
    assert!(is_resource_type("Patient"));
    for name in ["Resource", "DomainResource", "MetadataResource", "HumanName", "string", "patient", ""] {
        assert!(!is_resource_type(name), "{name}");
    }
}

#[test]
fn elements_stand_in_the_order_of_the_specification() {
    let patient = r4().get("Patient").unwrap();
    let names: Vec<&str> = patient.elements.iter().map(|element| element.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "id",
            "meta",
            "implicitRules",
            "language",
            "text",
            "contained",
            "extension",
            "modifierExtension",
            "identifier",
            "active",
            "name",
            "telecom",
            "gender",
            "birthDate",
            "deceased",
            "address",
            "maritalStatus",
            "multipleBirth",
            "photo",
            "contact",
            "communication",
            "generalPractitioner",
            "managingOrganization",
            "link"
        ]
    );
    assert_eq!(patient.base.as_deref(), Some("DomainResource"));
    let id = patient.element("id").unwrap();
    assert_eq!((id.types[0].code.as_str(), id.xml_attribute), ("id", false));
}

#[test]
fn choices_are_found_by_their_member_names() {
    let (element, element_type) = definition_type_of("Observation", "valueQuantity").unwrap();
    assert_eq!((element.name.as_str(), element_type.code.as_str(), element.choice), ("value", "Quantity", true));
    assert_eq!(element.member_name(element_type), "valueQuantity");
    assert!(definition_type_of("Observation", "value").is_none());
    assert!(definition_type_of("Observation", "valueAddress").is_none());
    assert_eq!(element_of("Observation", "value").unwrap().types.len(), 11);
    assert!(element_of("Observation", "valueQuantity").is_none());
    assert_eq!(definition_type_of("Extension", "valueBase64Binary").unwrap().1.code, "base64Binary");
}

#[test]
fn backbone_elements_and_content_references_lead_to_their_types() {
    let component = element_of("Observation", "component").unwrap();
    assert_eq!(component.content.as_deref(), Some("Observation.component"));
    assert_eq!((component.min, component.max, component.repeats()), (0, None, true));
    let range = element_of("Observation.component", "referenceRange").unwrap();
    assert_eq!(range.content.as_deref(), Some("Observation.referenceRange"));
    assert_eq!(range.types[0].code, "BackboneElement");
    assert_eq!(r4().definition(&range.types[0]).unwrap().name, "Observation.referenceRange");
    let nested = element_of("Questionnaire.item", "item").unwrap();
    assert_eq!(r4().definition(&nested.types[0]).unwrap().name, "Questionnaire.item");
    assert!(element_of("Timing.repeat", "bounds").is_some());
}

#[test]
fn every_element_has_a_type_with_a_definition() {
    for definition in r4().types() {
        for element in &definition.elements {
            assert!(!element.types.is_empty(), "{}.{}", definition.name, element.name);
            for element_type in &element.types {
                let system = element_type.code.starts_with("System.");
                assert_eq!(system, r4().definition(element_type).is_none(), "{}.{}", definition.name, element.name);
                let primitive_value = definition.kind == Kind::Primitive && element.name == "value";
                assert_eq!(system, primitive_value, "{}.{}", definition.name, element.name);
            }
        }
        assert!(definition.elements.len() < usize::from(u16::MAX));
        assert_eq!(definition.primitive.is_some(), definition.kind == Kind::Primitive, "{}", definition.name);
    }
}

#[test]
fn attributes_and_targets_are_known() {
    assert!(element_of("Extension", "url").unwrap().xml_attribute);
    assert_eq!(element_of("Extension", "url").unwrap().types[0].code, "uri");
    assert!(element_of("HumanName", "id").unwrap().xml_attribute);
    assert_eq!(element_of("HumanName", "id").unwrap().types[0].code, "string");
    assert_eq!(element_of("Observation", "encounter").unwrap().types[0].target, ["Encounter"]);
    assert!(element_of("Provenance", "target").unwrap().types[0].target.is_empty());
    assert_eq!(element_of("Bundle.entry.response", "outcome").unwrap().types[0].code, "OperationOutcome");
}

#[test]
fn summaries_are_known() {
    for (type_name, name, expected) in [
        ("Patient", "name", true),
        ("Patient", "photo", false),
        ("Patient", "text", false),
        ("Observation", "component", true),
        ("Observation.component", "value", true),
        ("Attachment", "data", false),
        ("Attachment", "url", true),
    ] {
        assert_eq!(element_of(type_name, name).unwrap().summary, expected, "{type_name}.{name}");
    }
}

#[test]
fn subtypes_follow_the_specialisations() {
    assert!(r4().is_subtype("Patient", "DomainResource"));
    assert!(r4().is_subtype("Patient", "Resource"));
    assert!(!r4().is_subtype("Bundle", "DomainResource"));
    assert!(r4().is_subtype("Age", "Quantity"));
    assert!(r4().is_subtype("code", "string"));
    assert!(r4().is_subtype("Patient.contact", "BackboneElement"));
    assert!(!r4().is_subtype("string", "code"));
}

#[test]
fn loading_is_quick() {
    let (types, resources) = (profiles::structure_definitions_types(), profiles::structure_definitions_resources());
    let start = Instant::now();
    let definitions = load::load(&[&types, &resources]);
    let took = start.elapsed();
    assert_eq!(definitions.types().len(), 682);
    // A tenth of this on a quiet machine; the bound catches building documents of it all.
    assert!(took.as_millis() < 400, "{took:?}");
}
