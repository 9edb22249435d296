//! Generated clinical data, enough of it that every search type has something to find.

use fhir::json::Json;
use fhir::{array, object};

use crate::random::Random;

/// Observations as code, name and unit.
const SIGNS: [(&str, &str, &str); 5] = [
    ("8867-4", "Heart rate", "/min"),
    ("59408-5", "Oxygen saturation", "%"),
    ("29463-7", "Body weight", "kg"),
    ("8310-5", "Körpertemperatur", "Cel"),
    ("2339-0", "Glucose", "mg/dL"),
];

const FAMILIES: [&str; 8] = ["Müller", "Muller", "O'Neill", "García", "de la Cruz", "Li", "Smith", "smith-Jones"];
const GIVEN: [&str; 6] = ["Ana", "Änne", "Bo", "Chloé", "José", "Zoë"];
const DISEASES: [&str; 3] = ["38341003", "44054006", "195967001"];
const COURSES: [&str; 2] = ["active", "resolved"];
const PROBABILITIES: [&str; 5] = ["0.1", "0.10", "0.5", "0.025", "1e-3"];
const VALUES: [&str; 9] = ["5.4", "5.40", "72", "7.2e1", "99.5", "100", "120", "0.0", "-1.5"];
const STATUS: [&str; 4] = ["final", "amended", "preliminary", "registered"];

/// Resources that belong to no patient: directory entries and definitions. They reference each other by these ids.
pub fn directory(random: &mut Random) -> Vec<Json> {
    let mut resources = Vec::new();
    for number in 0..3 {
        resources.push(object! {
            "resourceType": "Organization", "id": format!("org{number}"),
            "name": format!("Clinic {}", random.pick(&FAMILIES)),
            "address": array![object! { "city": *random.pick(&["Zürich", "Basel", "Bern"]), "country": "CH" }],
        });
        resources.push(object! {
            "resourceType": "Practitioner", "id": format!("doc{number}"), "active": random.chance(70), "name": array![name(random)],
            "identifier": array![object! { "system": "urn:example:doctors", "value": number.to_string() }],
        });
        resources.push(object! {
            "resourceType": "Location", "id": format!("loc{number}"), "name": format!("Ward {number}"), "status": "active",
            "managingOrganization": reference(&format!("Organization/org{number}")),
        });
        resources.push(object! {
            "resourceType": "ValueSet", "id": format!("set{number}"), "status": "draft",
            "url": format!("http://example.org/ValueSet/{number}"), "version": format!("{number}.0"),
        });
    }
    resources
}

/// A patient and all of that patient's data; ids begin with `id`.
pub fn patient(random: &mut Random, id: &str, observations: usize) -> Vec<Json> {
    let patient = format!("Patient/{id}");
    let mut resources = vec![object! {
        "resourceType": "Patient", "id": id, "active": random.chance(80),
        "identifier": array![
            object! { "system": "urn:example:patients", "value": id },
            object! { "value": format!("no-system-{}", random.below(5)) },
        ],
        "name": array![name(random), name(random)],
        "gender": *random.pick(&["female", "male", "other"]),
        "birthDate": *random.pick(&["1950", "1962-07", "1980-02-29", "2001-12-31"]),
        "generalPractitioner": array![reference(&format!("Practitioner/doc{}", random.below(3)))],
        "managingOrganization": reference(&format!("Organization/org{}", random.below(3))),
    }];
    resources.push(object! {
        "resourceType": "Device", "id": format!("{id}-cuff"), "status": "active", "patient": reference(&patient),
        "identifier": array![object! { "system": "urn:example:devices", "value": format!("imei-{id}") }],
    });
    for number in 0..=observations / 8 {
        resources.push(encounter(random, id, number));
        resources.push(condition(random, id, number));
        resources.push(object! {
            "resourceType": "RiskAssessment", "id": format!("{id}-risk{number}"), "status": "final", "subject": reference(&patient),
            "prediction": array![object! { "probabilityDecimal": decimal(random.word(&PROBABILITIES)) }],
        });
    }
    resources.extend((0..observations).map(|number| observation(random, id, number)));
    resources
}

/// What of a patient is said as a range of numbers: from end to end, without one of the ends, and as a series of points.
pub fn ranges(random: &mut Random, id: &str) -> Vec<Json> {
    const UCUM: &str = "http://unitsofmeasure.org";
    let patient = format!("Patient/{id}");
    let end = |number: &str, unit: &str| {
        object! { "value": decimal(number), "unit": unit, "system": UCUM, "code": unit }
    };
    let mut resources = Vec::new();
    for (number, low, high) in
        [(0, Some("10"), Some("42")), (1, Some("42"), None), (2, None, Some("42.0")), (3, Some("42"), Some("42"))]
    {
        let mut range = object! {};
        let mut probability = object! {};
        for (name, value) in [("low", low), ("high", high)] {
            let (Some(value), Some(members)) = (value, range.as_object_mut()) else { continue };
            members.insert(name, end(value, random.word(&["a", "mo"])));
            if let Some(members) = probability.as_object_mut() {
                let value = if name == "low" { "0.025" } else { random.word(&PROBABILITIES[..3]) };
                members.insert(name, object! { "value": decimal(value) });
            }
        }
        resources.push(object! {
            "resourceType": "Condition", "id": format!("{id}-rc{number}"), "subject": reference(&patient),
            "code": coded("http://snomed.info/sct", random.word(&DISEASES)), "onsetRange": range,
        });
        resources.push(object! {
            "resourceType": "RiskAssessment", "id": format!("{id}-rr{number}"), "status": "final",
            "subject": reference(&patient), "prediction": array![object! { "probabilityRange": probability }],
        });
        let mut series = object! {
            "origin": end(random.word(&VALUES), random.word(&["mV", "V"])), "period": decimal("10"),
            "dimensions": decimal("1"), "data": "2041 E -12.5 L 99.25",
        };
        if let Some(members) = series.as_object_mut() {
            if random.chance(50) {
                members.insert("factor", decimal(random.word(&["2", "-0.5", "1e-3"])));
            }
            if random.chance(50) {
                members.insert("lowerLimit", decimal("-5.4"));
            }
        }
        let (code, _, _) = *random.pick(&SIGNS);
        let mut observation = object! {
            "resourceType": "Observation", "id": format!("{id}-ro{number}"), "status": "final",
            "code": coded("http://loinc.org", code), "subject": reference(&patient),
        };
        if let Some(members) = observation.as_object_mut() {
            if random.chance(50) {
                members.insert("valueSampledData", series);
            } else {
                let part = object! { "code": coded("http://loinc.org", "8480-6"), "valueSampledData": series };
                members.insert("component", array![part, component(random, "8462-4")]);
            }
        }
        resources.push(observation);
    }
    let age = object! { "low": end("2", "a"), "high": end(random.word(&["12", "18"]), "a") };
    let kind = object! { "system": "http://terminology.hl7.org/CodeSystem/usage-context-type", "code": "age" };
    resources.push(object! {
        "resourceType": "ValueSet", "id": format!("{id}-ages"), "status": "draft",
        "useContext": array![object! { "code": kind, "valueRange": age }],
    });
    resources
}

/// One Observation of a patient.
pub fn observation(random: &mut Random, patient: &str, number: usize) -> Json {
    let (code, name, unit) = *random.pick(&SIGNS);
    let mut observation = object! {
        "resourceType": "Observation", "id": format!("{patient}-o{number}"), "status": *random.pick(&STATUS),
        "code": object! { "coding": array![object! { "system": "http://loinc.org", "code": code }], "text": name },
        "subject": reference(&format!("Patient/{patient}")),
        "performer": array![reference(&format!("Practitioner/doc{}", random.below(3)))],
    };
    let Some(members) = observation.as_object_mut() else { return observation };
    if random.chance(50) {
        members.insert("encounter", reference(&format!("Encounter/{patient}-e0")));
    }
    match random.below(5) {
        0 => {}
        1 => members.insert("effectivePeriod", object! { "start": instant(random), "end": "2026-06" }),
        2 => members.insert("effectivePeriod", object! { "start": instant(random) }),
        _ => members.insert("effectiveDateTime", instant(random)),
    }
    match random.below(4) {
        0 => members
            .insert("dataAbsentReason", coded("http://terminology.hl7.org/CodeSystem/data-absent-reason", "unknown")),
        1 => members.insert("component", array![component(random, "8480-6"), component(random, "8462-4")]),
        _ => members.insert("valueQuantity", quantity(random, unit)),
    }
    observation
}

fn encounter(random: &mut Random, patient: &str, number: usize) -> Json {
    object! {
        "resourceType": "Encounter", "id": format!("{patient}-e{number}"), "status": *random.pick(&["finished", "planned"]),
        "class": object! { "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": *random.pick(&["AMB", "HH"]) },
        "subject": reference(&format!("Patient/{patient}")),
        "period": object! { "start": instant(random), "end": "2026-03-01T00:00:00+01:00" },
        "participant": array![object! { "individual": reference(&format!("Practitioner/doc{}", random.below(3))) }],
        "location": array![object! { "location": reference(&format!("Location/loc{}", random.below(3))) }],
    }
}

fn condition(random: &mut Random, patient: &str, number: usize) -> Json {
    object! {
        "resourceType": "Condition", "id": format!("{patient}-c{number}"),
        "code": coded("http://snomed.info/sct", random.word(&DISEASES)),
        "clinicalStatus": coded("http://terminology.hl7.org/CodeSystem/condition-clinical", random.word(&COURSES)),
        "subject": reference(&format!("Patient/{patient}")),
        "encounter": reference(&format!("Encounter/{patient}-e{}", random.below(number + 1))),
        "recordedDate": instant(random),
        "onsetAge": object! { "value": decimal("42"), "unit": "a", "system": "http://unitsofmeasure.org", "code": "a" },
    }
}

fn component(random: &mut Random, code: &str) -> Json {
    object! { "code": coded("http://loinc.org", code), "valueQuantity": quantity(random, "mm[Hg]") }
}

fn quantity(random: &mut Random, unit: &str) -> Json {
    let value = decimal(random.word(&VALUES));
    if random.chance(20) {
        return object! { "value": value, "unit": unit };
    }
    object! { "value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit }
}

/// Dates of all precisions, many of them equal, so that order and its ties are put to the test.
fn instant(random: &mut Random) -> String {
    let (month, day, hour) = (random.below(3) + 1, random.below(3) + 1, random.below(3) + 7);
    match random.below(8) {
        0 => "2026".to_owned(),
        1 => format!("2026-{month:02}"),
        2 => format!("2026-{month:02}-{day:02}"),
        3 => format!("2026-{month:02}-{day:02}T{hour:02}:30:00.123456Z"),
        4 => format!("2026-{month:02}-{day:02}T{hour:02}:30:00-05:00"),
        _ => format!("2026-{month:02}-{day:02}T{hour:02}:30:00Z"),
    }
}

fn name(random: &mut Random) -> Json {
    object! { "family": *random.pick(&FAMILIES), "given": array![*random.pick(&GIVEN)] }
}

fn coded(system: &str, code: &str) -> Json {
    object! { "coding": array![object! { "system": system, "code": code }] }
}

fn reference(target: &str) -> Json {
    object! { "reference": target }
}

fn decimal(text: &str) -> Json {
    Json::Number(text.into())
}
