//! Entries of data types, and extraction of all examples.

use fhir::decimal::Decimal;
use fhir::{array, object};

use super::*;
use crate::entry::Extent;
use crate::examples::examples;

const BASE: &str = "http://server/fhir";

fn entries(resource: &Json, code: &str) -> Vec<IndexValue> {
    let registry = registry();
    let parameter = registry.find(resource.str("resourceType").unwrap(), code).expect(code);
    let extracted = extract(resource, BASE).unwrap();
    extracted.entries.into_iter().filter(|it| it.param == parameter.id).map(|it| it.value).collect()
}

fn aspect(resource: &Json, code: &str, aspect: Aspect) -> Vec<IndexValue> {
    let registry = registry();
    let id = registry.find(resource.str("resourceType").unwrap(), code).expect(code).aspect_id(aspect);
    let extracted = extract(resource, BASE).unwrap();
    extracted.entries.into_iter().filter(|it| it.param == id).map(|it| it.value).collect()
}

fn quantity(value: &str, system: &str, code: &str, unit: &str) -> IndexValue {
    between(Some(value), Some(value), [system, code, unit])
}

fn extent(low: Option<&str>, high: Option<&str>) -> Extent {
    let end = |text: Option<&str>| text.map(|it| Decimal::parse(it).unwrap());
    Extent::between(end(low), end(high)).unwrap()
}

/// From one end to the other, in a unit of system, code and what is written for people.
fn between(low: Option<&str>, high: Option<&str>, unit: [&str; 3]) -> IndexValue {
    let [system, code, unit] = unit.map(str::to_owned);
    IndexValue::Quantity { value: extent(low, high), system, code, unit }
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
    assert_eq!(entries(&patient, "_id"), [], "is found by the resource's own row");
    assert_eq!(entries(&patient, "name"), [string("Müller", "muller"), string("Änne", "anne"), string("Dr.", "dr")]);
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
        [quantity("1.5", "http://unitsofmeasure.org", "mg", "Milligramm")]
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
    assert_eq!(entries(&invoice, "totalgross"), [quantity("10", "urn:iso:std:iso:4217", "EUR", "")]);
    let risk = object! {
        "resourceType": "RiskAssessment",
        "prediction": array![object! { "probabilityRange": object! {
            "low": object! { "value": number("1") }, "high": object! { "value": number("2") },
        } }],
    };
    assert_eq!(entries(&risk, "probability"), [IndexValue::Number(extent(Some("1"), Some("2")))]);
}

/// "If the target value is a Range, a Period, or a Timing, then the target is explicitly a range."
/// <https://hl7.org/fhir/R4/search.html#prefix>
#[test]
fn ranges_are_from_end_to_end() {
    const UCUM: &str = "http://unitsofmeasure.org";
    let years = [UCUM, "a", "years"];
    for (range, expected) in [
        (
            r#"{"low":{"value":10,"unit":"years","system":"U","code":"a"},"high":{"value":20,"unit":"years","system":"U","code":"a"}}"#,
            vec![between(Some("10"), Some("20"), years)],
        ),
        (
            r#"{"low":{"value":10,"unit":"years","system":"U","code":"a"},"high":{"value":20}}"#,
            vec![between(Some("10"), Some("20"), years)],
        ),
        (
            r#"{"low":{"value":20,"unit":"years","system":"U","code":"a"},"high":{"value":10,"unit":"y","system":"U","code":"a"}}"#,
            vec![between(Some("10"), Some("20"), years)],
        ),
        (r#"{"low":{"value":10,"unit":"years","system":"U","code":"a"}}"#, vec![between(Some("10"), None, years)]),
        (r#"{"high":{"value":10,"unit":"years","system":"U","code":"a"}}"#, vec![between(None, Some("10"), years)]),
        (
            r#"{"low":{"value":7,"unit":"years","system":"U","code":"a"},"high":{"value":7.0,"unit":"years","system":"U","code":"a"}}"#,
            vec![quantity("7", UCUM, "a", "years")],
        ),
        (
            r#"{"low":{"value":6,"unit":"months"},"high":{"value":2,"unit":"years"}}"#,
            vec![between(Some("6"), None, ["", "", "months"]), between(None, Some("2"), ["", "", "years"])],
        ),
        (r#"{"low":{"unit":"years"}}"#, vec![]),
    ] {
        let text = format!(
            r#"{{"resourceType":"Condition","onsetRange":{}}}"#,
            range.replace("\"U\"", &format!("\"{UCUM}\""))
        );
        let condition = Json::parse(text.as_bytes()).unwrap();
        assert_eq!(entries(&condition, "onset-age"), expected, "{range}");
    }
    let acid = object! { "value": number("7"), "system": UCUM, "code": "[pH]" };
    let condition = object! { "resourceType": "Condition", "onsetRange": object! { "low": acid } };
    let canonical = aspect(&condition, "onset-age", Aspect::Canonical);
    let [IndexValue::Quantity { value: Extent::Range { low: None, high: Some(_) }, .. }] = canonical.as_slice() else {
        panic!("more pH is less acid: {canonical:?}")
    };
}

/// "Just search on the bounds of the values in sampled data", says the definition of `value-quantity`.
#[test]
fn series_are_between_their_bounds() {
    let millivolts = ["http://unitsofmeasure.org", "mV", ""];
    for (rest, low, high) in [
        (r#""lowerLimit":-5,"upperLimit":5,"data":"100 200""#, "-5", "5"),
        (r#""lowerLimit":-5,"factor":0.5,"data":"3 1 E 4 U""#, "-5", "12"),
        (r#""data":"3 1 2.5""#, "11", "13"),
        (r#""factor":-0.1,"data":"3 1 L -2.5""#, "9.7", "10.25"),
    ] {
        let origin = r#"{"value":10,"system":"http://unitsofmeasure.org","code":"mV"}"#;
        let text = format!(r#"{{"resourceType":"Observation","valueSampledData":{{"origin":{origin},{rest}}}}}"#);
        let observation = Json::parse(text.as_bytes()).unwrap();
        assert_eq!(entries(&observation, "value-quantity"), [between(Some(low), Some(high), millivolts)], "{rest}");
    }
    for rest in [r#""data":"E E""#, r#""period":1"#] {
        let text = format!(r#"{{"resourceType":"Observation","valueSampledData":{{{rest}}}}}"#);
        assert_eq!(entries(&Json::parse(text.as_bytes()).unwrap(), "value-quantity"), [], "{rest}");
    }
}

/// <https://hl7.org/fhir/R4/search.html#date>: what each data type denotes, in microseconds.
#[test]
fn dates_are_the_intervals_that_they_may_denote() {
    const DAY: i64 = 86_400_000_000;
    let period = |text: &str| Json::parse(format!("{{\"effectivePeriod\":{text}}}").as_bytes()).unwrap();
    let timing = |text: &str| Json::parse(format!("{{\"effectiveTiming\":{text}}}").as_bytes()).unwrap();
    for (value, low, high) in [
        (object! { "effectiveDateTime": "1970" }, 0, 365 * DAY - 1),
        (object! { "effectiveDateTime": "1970-02" }, 31 * DAY, 59 * DAY - 1),
        (object! { "effectiveDateTime": "1970-01-02" }, DAY, 2 * DAY - 1),
        (object! { "effectiveDateTime": "1970-01-01T00:00:01Z" }, 1_000_000, 1_999_999),
        (object! { "effectiveDateTime": "1970-01-01T00:00:01.5Z" }, 1_500_000, 1_599_999),
        (object! { "effectiveDateTime": "1970-01-01T01:00:00+01:00" }, 0, 999_999),
        (object! { "effectiveInstant": "1970-01-01T00:00:00.000001Z" }, 1, 1),
        (period(r#"{"start":"1970-01-01","end":"1970-01"}"#), 0, 31 * DAY - 1),
        (period(r#"{"start":"1970-01-02"}"#), DAY, i64::MAX),
        (period(r#"{"end":"1970-01-01"}"#), i64::MIN, DAY - 1),
        (timing(r#"{"event":["1970-01-03","1970-01-01"]}"#), 0, 3 * DAY - 1),
        (timing(r#"{"repeat":{"boundsPeriod":{"start":"1970-01-01","end":"1970-01-02"}}}"#), 0, 2 * DAY - 1),
        (timing(r#"{"event":["1970-01-01"],"repeat":{"boundsPeriod":{"start":"1970-01-02"}}}"#), 0, i64::MAX),
    ] {
        let mut observation = value.clone();
        observation.as_object_mut().unwrap().insert("resourceType", "Observation");
        assert_eq!(entries(&observation, "date"), [IndexValue::Date { low, high }], "{value:?}");
        let chronology = low.max(NO_CHRONOLOGY + 1); // an open begin is not no date
        assert_eq!(extract(&observation, BASE).unwrap().chronology, chronology, "{value:?}");
    }
    for nothing in [
        period("{}"),
        timing(r#"{"repeat":{"frequency":2}}"#),
        timing(r#"{"repeat":{"boundsDuration":{"value":3,"code":"d"}}}"#),
        object! { "effectiveDateTime": "yesterday" },
    ] {
        let mut observation = nothing;
        observation.as_object_mut().unwrap().insert("resourceType", "Observation");
        assert_eq!(entries(&observation, "date"), [], "{observation:?}");
        assert_eq!(extract(&observation, BASE).unwrap().chronology, NO_CHRONOLOGY);
    }
}

/// <https://hl7.org/fhir/R4/valueset-search-modifier-code.html>: what `:text` looks at.
#[test]
fn texts_of_codes_identifiers_and_references() {
    let observation = object! {
        "resourceType": "Observation",
        "code": object! { "text": "Puls", "coding": array![
            object! { "code": "1", "display": "Heart Rate" }, object! { "code": "2", "display": "Puls" }, object! {},
        ] },
        "identifier": array![object! { "value": "7", "type": object! { "text": "Lab No", "coding": array![object! { "display": "no" }] } }],
        "subject": object! { "reference": "Patient/a", "display": "Änne" },
        "performer": array![object! { "display": "nobody" }],
    };
    assert_eq!(
        aspect(&observation, "code", Aspect::Text),
        [string("Puls", "puls"), string("Heart Rate", "heart rate")]
    );
    assert_eq!(aspect(&observation, "identifier", Aspect::Text), [string("Lab No", "lab no")]);
    assert_eq!(aspect(&observation, "subject", Aspect::Text), [string("Änne", "anne")]);
    assert_eq!(aspect(&observation, "performer", Aspect::Text), [string("nobody", "nobody")]);
    let coded = object! {
        "resourceType": "Encounter", "class": object! { "code": "AMB", "display": "ambulatory" }, "status": "finished",
    };
    assert_eq!(aspect(&coded, "class", Aspect::Text), [string("ambulatory", "ambulatory")]);
    assert_eq!(aspect(&coded, "status", Aspect::Text), []);
    let patient = object! {
        "resourceType": "Patient", "telecom": array![object! { "system": "phone", "value": "1" }],
    };
    assert_eq!(aspect(&patient, "phone", Aspect::Text), []);
}

/// <https://hl7.org/fhir/R4/search.html#token>, <https://hl7.org/fhir/R4/search.html#reference>
#[test]
fn identifiers_by_type_and_of_references() {
    let coding = |system: &str, code: &str| object! { "system": system, "code": code };
    let patient = object! {
        "resourceType": "Patient",
        "identifier": array![
            object! { "system": "urn:mrn", "value": "7", "type": object! { "coding": array![coding("s", "MR"), coding("t", "X"), object! { "code": "" }] } },
            object! { "value": "8" },
            object! { "type": object! { "coding": array![coding("s", "MR")] } },
        ],
        "generalPractitioner": array![object! { "identifier": object! { "system": "urn:npi", "value": "9" } }],
        "managingOrganization": object! { "reference": "Organization/1", "identifier": object! { "value": "x" } },
    };
    assert_eq!(aspect(&patient, "identifier", Aspect::OfType), [token("s\u{1f}MR", "7"), token("t\u{1f}X", "7")]);
    assert_eq!(aspect(&patient, "general-practitioner", Aspect::Identifier), [token("urn:npi", "9")]);
    assert_eq!(entries(&patient, "general-practitioner"), [], "a logical reference points nowhere");
    assert_eq!(aspect(&patient, "organization", Aspect::Identifier), [token("", "x")]);
    assert_eq!(entries(&patient, "organization"), [local("Organization", "1")]);
}

/// <https://hl7.org/fhir/R4/search.html#quantity>
#[test]
fn quantities_in_canonical_units() {
    const UCUM: &str = "http://unitsofmeasure.org";
    let observation = |value: Json| object! { "resourceType": "Observation", "valueQuantity": value };
    let of = |value: &str, system: &str, code: &str| {
        observation(object! { "value": number(value), "system": system, "code": code, "unit": "U" })
    };
    let grams = aspect(&of("1.5", UCUM, "kg"), "value-quantity", Aspect::Canonical);
    assert_eq!(grams, [quantity("1500", UCUM, "g", "")]);
    assert_eq!(grams, aspect(&of("1500000", UCUM, "mg"), "value-quantity", Aspect::Canonical));
    assert_eq!(entries(&of("1.5", UCUM, "kg"), "value-quantity"), [quantity("1.5", UCUM, "kg", "U")]);
    for other in [of("1", UCUM, "no unit"), of("1", "urn:other", "kg"), of("1", UCUM, "")] {
        assert_eq!(aspect(&other, "value-quantity", Aspect::Canonical), [], "{other:?}");
        assert_eq!(entries(&other, "value-quantity").len(), 1);
    }
    let sampled = object! {
        "resourceType": "Observation", "valueSampledData": object! { "origin": object! { "value": number("1") } },
    };
    assert_eq!(entries(&sampled, "value-quantity"), []);
    let condition = object! {
        "resourceType": "Condition",
        "onsetRange": object! {
            "low": object! { "value": number("1"), "system": UCUM, "code": "min" }, "high": object! { "value": number("60"), "system": UCUM, "code": "s" },
        },
    };
    assert_eq!(entries(&condition, "onset-age").len(), 2);
    let seconds = [UCUM, "s", ""];
    let bounds = [between(Some("60"), None, seconds), between(None, Some("60"), seconds)];
    assert_eq!(aspect(&condition, "onset-age", Aspect::Canonical), bounds, "ends in different units are not compared");
}

/// <https://hl7.org/fhir/R4/search.html#combining>
#[test]
fn composites_combine_what_stands_in_one_element() {
    const UCUM: &str = "http://unitsofmeasure.org";
    let pressure = |code: &str, value: &str| {
        object! {
            "code": object! { "coding": array![object! { "system": "l", "code": code }, object! { "code": format!("{code}x") }] },
            "valueQuantity": object! { "value": number(value), "system": UCUM, "code": "g", "unit": "gram" },
        }
    };
    let observation = object! {
        "resourceType": "Observation",
        "code": object! { "coding": array![object! { "system": "l", "code": "panel" }] },
        "valueCodeableConcept": object! { "coding": array![object! { "code": "v" }] },
        "component": array![pressure("a", "1"), pressure("b", "2"), object! { "code": object! { "coding": array![object! { "code": "c" }] } }],
    };
    let composite = |code: (&str, &str), value: IndexValue| IndexValue::Composite {
        canonical: if let IndexValue::Quantity { value, .. } = &value {
            Some((value.clone(), "g".to_owned()))
        } else {
            None
        },
        values: vec![token(code.0, code.1), value],
    };
    let plain = [
        composite(("l", "a"), quantity("1", UCUM, "g", "gram")),
        composite(("", "ax"), quantity("1", UCUM, "g", "gram")),
        composite(("l", "b"), quantity("2", UCUM, "g", "gram")),
        composite(("", "bx"), quantity("2", UCUM, "g", "gram")),
    ];
    assert_eq!(entries(&observation, "component-code-value-quantity"), plain);
    assert_eq!(entries(&observation, "combo-code-value-quantity"), [], "held as that of the components");
    assert_eq!(entries(&observation, "code-value-quantity"), []);
    assert_eq!(entries(&observation, "code-value-concept"), [composite(("l", "panel"), token("", "v"))]);
    let dated = object! {
        "resourceType": "Observation", "code": object! { "coding": array![object! { "code": "d" }] }, "valueDateTime": "1970",
    };
    assert_eq!(entries(&dated, "code-value-date").len(), 1, "the definition names a type DateTime; corrected");
}

#[test]
fn a_composite_reaches_outside_of_its_element() {
    let sequence = object! {
        "resourceType": "MolecularSequence", "coordinateSystem": number("0"),
        "referenceSeq": object! { "chromosome": object! { "coding": array![object! { "code": "7" }] } },
        "variant": array![object! { "start": number("1"), "end": number("2") }, object! { "start": number("3") }],
    };
    let whole = |text: &str| IndexValue::Number(extent(Some(text), Some(text)));
    assert_eq!(
        entries(&sequence, "chromosome-variant-coordinate"),
        [IndexValue::Composite { values: vec![token("", "7"), whole("1"), whole("2")], canonical: None }]
    );
    let document = object! {
        "resourceType": "DocumentReference",
        "relatesTo": array![object! { "code": "replaces", "target": object! { "reference": "DocumentReference/1" } }],
    };
    assert_eq!(
        entries(&document, "relationship"),
        [IndexValue::Composite {
            values: vec![local("DocumentReference", "1"), token("", "replaces")],
            canonical: None
        }]
    );
}

#[test]
fn in_17_a_resource_has_a_bounded_number_of_entries() {
    let codings = |count: usize| {
        Json::Array((0..count).map(|number| object! { "system": "s", "code": number.to_string() }).collect())
    };
    let observation = |count: usize| {
        object! {
            "resourceType": "Observation", "code": object! { "coding": codings(count) },
            "valueCodeableConcept": object! { "coding": codings(50) },
        }
    };
    assert!(extract(&observation(20), BASE).is_ok());
    let error = extract(&observation(21), BASE).unwrap_err().to_string();
    assert!(error.contains("code-value-concept") && error.contains("1000 combinations"), "{error}");
    let members =
        (0..=MOST_ENTRIES).map(|number| object! { "entity": object! { "reference": format!("Patient/{number}") } });
    let group = object! { "resourceType": "Group", "member": members.collect::<Vec<_>>() };
    let error = extract(&group, BASE).unwrap_err().to_string();
    assert!(error.contains("search parameter member of Group"), "{error}");
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
