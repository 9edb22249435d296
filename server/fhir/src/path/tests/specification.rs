//! What the letter of N1 and of R4's page on FHIRPath says where engines differ. <http://hl7.org/fhirpath/N1>

use super::{observation, result};

#[test]
fn conforms_to_wants_a_single_item() {
    let observation = observation();
    for (expression, expected) in [
        (
            "component.conformsTo('http://hl7.org/fhir/StructureDefinition/BackboneElement')",
            "error: conformsTo() wants a single item",
        ),
        (
            "component.first().conformsTo('http://hl7.org/fhir/StructureDefinition/BackboneElement')",
            "System.Boolean true",
        ),
        ("bodySite.conformsTo('http://hl7.org/fhir/StructureDefinition/CodeableConcept')", ""),
    ] {
        assert_eq!(result(expression, &observation), expected, "{expression}");
    }
}
