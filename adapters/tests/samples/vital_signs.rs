//! Every Observation that claims a profile of vital signs keeps it, whoever sent it.
//! <https://hl7.org/fhir/R4/observation-vitalsigns.html>
//!
//! The rules are written here once more, from the profiles: tables of the adapters may be wrong.

use fhir::date::DateTime;
use fhir::decimal::Decimal;
use fhir::json::Json;

use crate::{Run, manifests, resources};

/// Profile, LOINC code that it asks for, and UCUM codes of its value.
const PROFILES: [(&str, &str, &[&str]); 9] = [
    ("bp", "85354-9", &[]),
    ("bmi", "39156-5", &["kg/m2"]),
    ("bodyheight", "8302-2", &["cm", "[in_i]"]),
    ("bodytemp", "8310-5", &["Cel", "[degF]"]),
    ("bodyweight", "29463-7", &["g", "kg", "[lb_av]"]),
    ("headcircum", "9843-4", &["cm", "[in_i]"]),
    ("heartrate", "8867-4", &["/min"]),
    ("oxygensat", "2708-6", &["%"]),
    ("resprate", "9279-1", &["/min"]),
];

#[test]
fn every_vital_sign_keeps_its_profile() {
    let mut seen: Vec<String> = Vec::new();
    for (adapter, folder, manifest) in manifests() {
        for sample in manifest.list("samples") {
            let run = Run::of(adapter, &folder, &manifest, sample);
            let Some(publication) = run.published() else { continue };
            for resource in resources(&publication.bundle) {
                seen.extend(vital_sign(resource, &run.file));
            }
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 8, "all but that of a head: {seen:?}");
}

/// Holds a resource against the profile that it claims; the vendor and the profile, if it claims one.
fn vital_sign(resource: &Json, file: &str) -> Option<String> {
    let profile = resource.get("meta")?.list("profile").first()?.as_str()?.rsplit('/').next()?;
    let (_, loinc, units) = PROFILES.iter().find(|(name, ..)| *name == profile)?;
    let about = format!("{file}: {resource}");
    assert!(
        has_code(
            resource.get("category")?,
            "http://terminology.hl7.org/CodeSystem/observation-category",
            "vital-signs"
        ),
        "{about}"
    );
    assert!(has_code(resource.get("code")?, "http://loinc.org", loinc), "{about}");
    assert!(resource.at(&["subject", "reference"]).is_some(), "{about}");
    let moment = resource.get("effectiveDateTime").or_else(|| resource.at(&["effectivePeriod", "start"]));
    assert!(moment.and_then(Json::as_str).and_then(DateTime::parse).is_some(), "{about}");
    if *loinc == "85354-9" {
        assert!(resource.get("valueQuantity").is_none(), "{about}");
        for part in ["8480-6", "8462-4"] {
            let mut found = resource
                .list("component")
                .iter()
                .filter(|it| it.get("code").is_some_and(|code| has_code(code, "http://loinc.org", part)));
            let component = found.next().unwrap_or_else(|| panic!("no {part}: {about}"));
            assert!(found.next().is_none(), "{about}");
            measured(component, &["mm[Hg]"], &about);
        }
    } else {
        measured(resource, units, &about);
    }
    Some(profile.to_owned())
}

/// A number in one of the units, or the reason why there is none; not both.
fn measured(element: &Json, units: &[&str], about: &str) {
    let Some(quantity) = element.get("valueQuantity") else {
        assert!(element.get("dataAbsentReason").is_some(), "{about}");
        return;
    };
    assert!(element.get("dataAbsentReason").is_none(), "{about}");
    assert!(quantity.get("value").and_then(Json::as_number).and_then(Decimal::parse).is_some(), "{about}");
    assert_eq!(quantity.str("system"), Some("http://unitsofmeasure.org"), "{about}");
    assert!(
        quantity.str("unit").is_some() && quantity.str("code").is_some_and(|code| units.contains(&code)),
        "{about}"
    );
}

/// Whether a concept, or one of several, has a code.
fn has_code(concepts: &Json, system: &str, code: &str) -> bool {
    let single = std::slice::from_ref(concepts);
    let concepts = if concepts.items().is_empty() { single } else { concepts.items() };
    let mut codings = concepts.iter().flat_map(|concept| concept.list("coding"));
    codings.any(|coding| coding.str("system") == Some(system) && coding.str("code") == Some(code))
}
