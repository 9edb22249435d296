//! Whose data a resource is: the Patient compartment. <https://hl7.org/fhir/R4/compartmentdefinition-patient.html>
//!
//! Membership comes from HL7's `CompartmentDefinition` with the additions in `profiles/overlay`, less [`WITHHELD`].
//! Everything else is either [shared](is_shared) by an explicit rule or visible to no one whose view is bound to
//! patients (LK-02, LK-39).

use std::collections::BTreeMap;
use std::sync::OnceLock;

use fhir::json::Json;

use crate::entry::Target;
use crate::extract::{ExtractError, extract};
use crate::query::{Filter, Match, ParamKind};
use crate::registry::registry;

/// Types that HL7's definition puts into the compartment and we do not, with the reason.
const WITHHELD: &[(&str, &str)] = &[
    ("AuditEvent", "who looked at what is shown through an accounting of disclosures, never by a generic read (LK-36)"),
    ("Group", "one resource names all its members: each would see the others (LK-20)"),
];

/// Types without data of a patient that everyone with a right on the type may see, with the reason. (LK-39)
///
/// Not here, and therefore hidden unless in a compartment: Person and `RelatedPerson` (demographics of others),
/// `AuditEvent`, Group and List (names of other people's resources), Subscription (endpoints and header secrets),
/// Binary (any content: seen by whom its `securityContext` names, LK-34), Basic, Task, Linkage, `MessageHeader`, Bundle and
/// Parameters (may hold or point at anything), Contract, `EnrollmentResponse`, `PaymentNotice` and
/// `PaymentReconciliation` (money of others), `GuidanceResponse`, `DeviceMetric`, `BiologicallyDerivedProduct`,
/// `ResearchStudy`, `VerificationResult`, `TestReport`, Slot, `OperationOutcome`.
const SHARED: &[(&str, &[&str])] = &[
    (
        "directory: who provides care and where; published by organisations about themselves",
        &[
            "Practitioner",
            "PractitionerRole",
            "Organization",
            "OrganizationAffiliation",
            "Location",
            "HealthcareService",
            "Endpoint",
        ],
    ),
    ("only devices without a patient: one with `Device.patient` lies in that patient's compartment", &["Device"]),
    (
        "products and substances: what exists, not who takes it",
        &[
            "CatalogEntry",
            "DeviceDefinition",
            "InsurancePlan",
            "Medication",
            "MedicationKnowledge",
            "MedicinalProduct",
            "MedicinalProductAuthorization",
            "MedicinalProductContraindication",
            "MedicinalProductIndication",
            "MedicinalProductIngredient",
            "MedicinalProductInteraction",
            "MedicinalProductManufactured",
            "MedicinalProductPackaged",
            "MedicinalProductPharmaceutical",
            "MedicinalProductUndesirableEffect",
            "Substance",
            "SubstanceNucleicAcid",
            "SubstancePolymer",
            "SubstanceProtein",
            "SubstanceReferenceInformation",
            "SubstanceSourceMaterial",
            "SubstanceSpecification",
        ],
    ),
    (
        "definitional: knowledge and protocols about nobody in particular",
        &[
            "ActivityDefinition",
            "ChargeItemDefinition",
            "EffectEvidenceSynthesis",
            "EventDefinition",
            "Evidence",
            "EvidenceVariable",
            "ExampleScenario",
            "Library",
            "Measure",
            "ObservationDefinition",
            "PlanDefinition",
            "Questionnaire",
            "ResearchDefinition",
            "ResearchElementDefinition",
            "RiskEvidenceSynthesis",
            "SpecimenDefinition",
        ],
    ),
    (
        "terminology and conformance: public by nature",
        &[
            "CapabilityStatement",
            "CodeSystem",
            "CompartmentDefinition",
            "ConceptMap",
            "GraphDefinition",
            "ImplementationGuide",
            "MessageDefinition",
            "NamingSystem",
            "OperationDefinition",
            "SearchParameter",
            "StructureDefinition",
            "StructureMap",
            "TerminologyCapabilities",
            "TestScript",
            "ValueSet",
        ],
    ),
];

/// Stands in [`Extracted::patients`](crate::entry::Extracted::patients) for a patient who is named but not by a
/// reference to this server: a [shared](is_shared) type then is not "of no patient", and no view holds this id.
pub const PATIENT_ELSEWHERE: &str = "";

/// Whether resources of this type that are data of no patient may be seen in a view bound to patients.
pub fn is_shared(resource_type: &str) -> bool {
    SHARED.iter().any(|(_, types)| types.contains(&resource_type))
}

/// Whether resources of this type can lie in a patient's compartment.
pub fn in_patient_compartment(resource_type: &str) -> bool {
    resource_type == "Patient" || !parameters(resource_type).is_empty()
}

/// The reference parameters by which resources of this type lie in a patient's compartment. A Patient lies in its
/// own besides.
pub fn parameters(resource_type: &str) -> &'static [String] {
    static PARAMETERS: OnceLock<BTreeMap<String, Vec<String>>> = OnceLock::new();
    PARAMETERS.get_or_init(read).get(resource_type).map_or(&[], Vec::as_slice)
}

/// Logical ids of the patients in whose compartment the resource lies, sorted.
pub fn patients_of(resource: &Json, base: &str) -> Result<Vec<String>, ExtractError> {
    extract(resource, base).map(|extracted| extracted.patients)
}

/// Whether there are compartments of this type: Patient, Encounter, Practitioner, `RelatedPerson`, Device.
pub fn is_compartment(resource_type: &str) -> bool {
    definitions().contains_key(resource_type)
}

/// The types that can lie in compartments of a type, sorted.
pub fn members(compartment_type: &str) -> impl Iterator<Item = &'static str> {
    definitions().get(compartment_type).into_iter().flat_map(|members| members.keys().map(String::as_str))
}

/// What holds of resources of a type that lie in the compartment `compartment_type/id`; None if none can. This is
/// HL7's definition: what a caller may see is up to the view. <https://hl7.org/fhir/R4/compartmentdefinition.html>
pub fn filter(compartment_type: &str, id: &str, resource_type: &str) -> Option<Filter> {
    let codes = definitions().get(compartment_type)?.get(resource_type)?;
    let target = Target::Local { resource_type: compartment_type.to_owned(), id: id.to_owned() };
    let registry = registry();
    let own = (compartment_type == resource_type).then(|| Filter::Id(vec![id.to_owned()]));
    let pointing = codes.iter().filter_map(|code| {
        let parameter = registry.find(resource_type, code)?;
        let param = parameter.param().filter(|it| it.kind == ParamKind::Reference)?;
        let any = Filter::Any { param, matches: vec![Match::Reference(target.clone())], negated: false };
        Some(if parameter.is_indexed { any } else { Filter::Exact(Box::new(any)) })
    });
    let mut filters: Vec<Filter> = own.into_iter().chain(pointing).collect();
    Some(if filters.len() == 1 { filters.remove(0) } else { Filter::Or(filters) })
}

/// The codes of the parameters by which a type lies in compartments, by type of compartment and type of resource.
type Definitions = BTreeMap<String, BTreeMap<String, Vec<String>>>;

fn definitions() -> &'static Definitions {
    static DEFINITIONS: OnceLock<Definitions> = OnceLock::new();
    DEFINITIONS.get_or_init(|| {
        let text = profiles::compartments();
        let definitions =
            text.lines().map(|line| Json::parse(line.as_bytes()).expect("profiles are valid JSON, a test reads each"));
        definitions.filter_map(|it| Some((it.str("code")?.to_owned(), members_of(&it)))).collect()
    })
}

/// The members of a definition that have a parameter; `{def}` is the type itself.
fn members_of(definition: &Json) -> BTreeMap<String, Vec<String>> {
    let names = |member: &Json| -> Vec<String> {
        member.list("param").iter().filter_map(Json::as_str).map(str::to_owned).collect()
    };
    let members = definition.list("resource").iter();
    let own = definition.str("code");
    members
        .filter_map(|member| Some((member.str("code")?.to_owned(), names(member))))
        .filter(|(code, names)| !names.is_empty() || Some(code.as_str()) == own)
        .collect()
}

fn read() -> BTreeMap<String, Vec<String>> {
    let members = definitions().get("Patient").expect("R4 defines the Patient compartment");
    let is_withheld = |code: &str| WITHHELD.iter().any(|(withheld, _)| *withheld == code);
    members.iter().filter(|(code, _)| !is_withheld(code)).map(|(code, names)| (code.clone(), names.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::definitions::{is_resource_type, resource_types};
    use fhir::object;

    #[test]
    fn lk_02_every_type_is_shared_or_a_patients_or_hidden_on_purpose() {
        let hidden: Vec<&str> = resource_types()
            .iter()
            .map(String::as_str)
            .filter(|it| !is_shared(it) && !in_patient_compartment(it))
            .collect();
        assert_eq!(
            hidden,
            [
                "AuditEvent",
                "BiologicallyDerivedProduct",
                "Bundle",
                "Contract",
                "DeviceMetric",
                "EnrollmentResponse",
                "Group",
                "GuidanceResponse",
                "Linkage",
                "MessageHeader",
                "OperationOutcome",
                "Parameters",
                "PaymentNotice",
                "PaymentReconciliation",
                "ResearchStudy",
                "Slot",
                "Subscription",
                "Task",
                "TestReport",
                "VerificationResult",
            ]
        );
        let both: Vec<&str> =
            SHARED.iter().flat_map(|(_, types)| *types).copied().filter(|it| in_patient_compartment(it)).collect();
        assert_eq!(both, ["Device"]);
        assert!(SHARED.iter().flat_map(|(_, types)| *types).all(|it| is_resource_type(it)));
    }

    #[test]
    fn lk_39_a_device_of_somebody_is_nobody_elses() {
        let base = "http://server/fhir";
        let patients = |patient: Json| {
            patients_of(&object! { "resourceType": "Device", "id": "d", "patient": patient }, base).unwrap()
        };
        assert_eq!(patients(object! { "reference": "Patient/1" }), ["1"]);
        assert_eq!(patients(object! { "reference": "http://server/fhir/Patient/1" }), ["1"]);
        assert_eq!(patients(object! { "reference": "http://elsewhere/Patient/1" }), [PATIENT_ELSEWHERE]);
        assert_eq!(patients(object! { "identifier": object! { "value": "7" } }), [PATIENT_ELSEWHERE]);
        let unassigned = object! { "resourceType": "Device", "id": "d" };
        assert_eq!(patients_of(&unassigned, base).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn lk_34_a_binary_is_the_patients_whom_its_security_context_names() {
        let patients = |context: Json| {
            let binary = object! { "resourceType": "Binary", "contentType": "text/plain", "securityContext": context };
            patients_of(&binary, "http://server/fhir").unwrap()
        };
        assert_eq!(patients(object! { "reference": "Patient/1" }), ["1"]);
        assert_eq!(patients(object! { "reference": "http://server/fhir/Patient/1" }), ["1"]);
        for other in ["DocumentReference/1", "http://elsewhere/Patient/1", "Patient"] {
            assert_eq!(patients(object! { "reference": other }), Vec::<String>::new(), "{other}");
        }
        assert!(!is_shared("Binary"));
    }

    #[test]
    fn compartments_of_the_specification() {
        for (compartment, resource_type, parameters) in [
            ("Patient", "Observation", Some(2)),
            ("Patient", "Patient", Some(1)),
            ("Patient", "AuditEvent", Some(1)),
            ("Patient", "Practitioner", None),
            ("Encounter", "Encounter", Some(0)),
            ("Encounter", "Observation", Some(1)),
            ("Device", "Device", Some(0)),
            ("Practitioner", "Encounter", Some(2)),
            ("RelatedPerson", "Appointment", Some(1)),
            ("Group", "Observation", None),
        ] {
            let found = filter(compartment, "1", resource_type);
            let own = usize::from(compartment == resource_type);
            let count = found.map(|it| if let Filter::Or(list) = it { list.len() - own } else { 1 - own });
            assert_eq!(count, parameters, "{compartment} {resource_type}");
        }
        assert!(members("Patient").any(|it| it == "Condition") && !members("Patient").any(|it| it == "Location"));
        for compartment in ["Patient", "Encounter", "Practitioner", "RelatedPerson", "Device"] {
            assert!(is_compartment(compartment));
            for member in members(compartment) {
                let found = filter(compartment, "1", member);
                assert!(found.is_some_and(|it| it != Filter::Or(Vec::new())), "{compartment} {member}");
            }
        }
    }

    #[test]
    fn lk_16_focus_does_not_confer_membership() {
        let observation = object! {
            "resourceType": "Observation",
            "subject": object! { "reference": "Patient/a" },
            "focus": fhir::array![object! { "reference": "Patient/b" }],
            "performer": fhir::array![object! { "reference": "Practitioner/c" }, object! { "reference": "Patient/d" }],
        };
        assert_eq!(patients_of(&observation, "http://server/fhir").unwrap(), ["a", "d"]);
    }
}
