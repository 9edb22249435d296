//! Entries of data types, and extraction of all examples.

use fhir::decimal::Decimal;
use fhir::{array, object};

use super::*;
use crate::examples::examples;

const BASE: &str = "http://server/fhir";

fn entries(resource: &Json, code: &str) -> Vec<IndexValue> {
    let registry = registry();
    let parameter = registry.find(resource.str("resourceType").unwrap(), code).expect(code);
    let extracted = extract(resource, BASE).unwrap();
    extracted.entries.into_iter().filter(|it| it.param == parameter.id).map(|it| it.value).collect()
}

fn token(system: &str, code: &str) -> IndexValue {
    IndexValue::Token { system: system.to_owned(), code: code.to_owned() }
}

fn string(exact: &str, folded: &str) -> IndexValue {
    IndexValue::String { folded: folded.to_owned(), exact: exact.to_owned() }
}

fn local(resource_type: &str, id: &str) -> IndexValue {
    IndexValue::Reference(Target::Local { resource_type: resource_type.to_owned(), id: id.to_owned() })
}

fn url(url: &str) -> IndexValue {
    IndexValue::Reference(Target::Url(url.to_owned()))
}

fn number(text: &str) -> Json {
    Json::Number(text.into())
}

#[test]
fn a_patient() {
    let patient = Json::parse(
        r##"{"resourceType":"Patient","id":"p","meta":{"tag":[{"system":"s","code":"t"}],"profile":["http://p"]},
        "active":true,"gender":"male","birthDate":"1970-01-01","deceasedBoolean":false,
        "identifier":[{"system":"urn:mrn","value":"7"},{"value":"8"},{"system":"urn:mrn","value":"7"}],
        "name":[{"family":"Müller","given":["Änne",null],"_given":[null,{"id":"x"}],"prefix":["Dr."]}],
        "telecom":[{"system":"phone","value":"1"},{"system":"email","value":"a@b"}],
        "address":[{"line":["Hauptstraße 1"],"city":"Köln"}],
        "contained":[{"resourceType":"Organization","id":"o"}],
        "managingOrganization":{"reference":"#o"},"generalPractitioner":[{"reference":"Practitioner/1/_history/3"}]}"##
            .as_bytes(),
    )
    .unwrap();
    assert_eq!(entries(&patient, "active"), [token("", "true")]);
    assert_eq!(entries(&patient, "gender"), [token("", "male")]);
    assert_eq!(entries(&patient, "deceased"), [token("", "false")]);
    assert_eq!(entries(&patient, "identifier"), [token("urn:mrn", "7"), token("", "8")]);
    assert_eq!(entries(&patient, "email"), [token("email", "a@b")]);
    assert_eq!(entries(&patient, "_tag"), [token("s", "t")]);
    assert_eq!(entries(&patient, "_profile"), [IndexValue::Uri("http://p".to_owned())]);
    assert_eq!(entries(&patient, "_id"), [token("", "p")]);
    assert_eq!(entries(&patient, "name"), [string("Müller", "muller"), string("Änne", "anne"), string("Dr.", "dr.")]);
    assert_eq!(entries(&patient, "address"), [string("Hauptstraße 1", "hauptstrasse 1"), string("Köln", "koln")]);
    assert_eq!(entries(&patient, "address-city"), [string("Köln", "koln")]);
    assert_eq!(entries(&patient, "organization"), []);
    assert_eq!(entries(&patient, "general-practitioner"), [local("Practitioner", "1")]);
    assert_eq!(entries(&patient, "birthdate"), [IndexValue::Date { low: 0, high: 86_399_999_999 }]);
    assert_eq!(extract(&patient, BASE).unwrap().patients, ["p"]);
}

#[test]
fn an_observation() {
    let observation = object! {
        "resourceType": "Observation",
        "status": "final",
        "code": object! { "text": "both", "coding": array![
            object! { "system": "http://loinc.org", "code": "1" }, object! { "code": "2" }, object! { "display": "three" },
        ] },
        "subject": object! { "reference": "http://server/fhir/Patient/a" },
        "performer": array![object! { "reference": "http://elsewhere/Practitioner/1" }, object! { "display": "x" }],
        "effectivePeriod": object! { "start": "1970-01-01T00:00:01Z" },
        "valueQuantity": object! { "value": number("1.50"), "unit": "Milligramm", "system": "http://unitsofmeasure.org", "code": "mg" },
    };
    assert_eq!(entries(&observation, "code"), [token("http://loinc.org", "1"), token("", "2")]);
    assert_eq!(entries(&observation, "subject"), [local("Patient", "a")]);
    assert_eq!(entries(&observation, "patient"), [local("Patient", "a")]);
    assert_eq!(entries(&observation, "performer"), [url("http://elsewhere/Practitioner/1")]);
    assert_eq!(entries(&observation, "date"), [IndexValue::Date { low: 1_000_000, high: i64::MAX }]);
    assert_eq!(
        entries(&observation, "value-quantity"),
        [IndexValue::Quantity {
            value: Decimal::parse("1.5").unwrap(),
            system: "http://unitsofmeasure.org".to_owned(),
            code: "mg".to_owned(),
            unit: "Milligramm".to_owned(),
        }]
    );
    let extracted = extract(&observation, BASE).unwrap();
    assert_eq!(extracted.chronology, 1_000_000);
    assert_eq!(extracted.patients, ["a"]);
}

#[test]
fn timings_money_ranges_and_canonicals() {
    let request = object! {
        "resourceType": "ServiceRequest",
        "occurrenceTiming": object! { "event": array!["1970-01-03", "1970-01-01"] },
        "instantiatesCanonical": array!["http://x/PlanDefinition/1|2.0"],
    };
    assert_eq!(entries(&request, "occurrence"), [IndexValue::Date { low: 0, high: 3 * 86_400_000_000 - 1 }]);
    assert_eq!(
        entries(&request, "instantiates-canonical"),
        [url("http://x/PlanDefinition/1|2.0"), url("http://x/PlanDefinition/1")]
    );
    let invoice = object! {
        "resourceType": "Invoice",
        "totalGross": object! { "value": number("10"), "currency": "EUR" },
    };
    assert_eq!(
        entries(&invoice, "totalgross"),
        [IndexValue::Quantity {
            value: Decimal::parse("10").unwrap(),
            system: "urn:iso:std:iso:4217".to_owned(),
            code: "EUR".to_owned(),
            unit: String::new(),
        }]
    );
    let risk = object! {
        "resourceType": "RiskAssessment",
        "prediction": array![object! { "probabilityRange": object! {
            "low": object! { "value": number("1") }, "high": object! { "value": number("2") },
        } }],
    };
    assert_eq!(
        entries(&risk, "probability"),
        ["1", "2"].map(|it| IndexValue::Number(Decimal::parse(it).unwrap())).to_vec()
    );
}

#[test]
fn what_is_no_resource_is_refused() {
    for json in [object! {}, object! { "resourceType": "Nothing" }, Json::Null] {
        assert!(matches!(extract(&json, BASE), Err(ExtractError::Type(_))));
    }
}

#[test]
fn all_examples_extract() {
    let Some(examples) = examples("all_examples_extract") else { return };
    let mut used = HashSet::new();
    for example in &examples {
        let extracted = extract(example, BASE).unwrap_or_else(|error| panic!("{:?}: {error}", example.str("id")));
        used.extend(extracted.entries.iter().map(|entry| entry.param));
        assert!(extracted.patients.is_sorted());
    }
    assert!(examples.len() > 700);
    assert!(used.len() > 1200, "only {} parameters found a value in the examples", used.len());
}
