//! A second opinion on XML: fhirbolt, which others wrote from the same definitions, reads what we write, and we read
//! what it writes. <https://hl7.org/fhir/R4/xml.html>
//!
//! Narratives are left out: fhirbolt drops white space from XHTML (`<b>Id: </b>` becomes `<b>Id:</b>`), and that ours
//! come back byte for byte is shown by the examples that go through the server.

use fhir::json::{Json, Object};
use fhirbolt::FhirReleases;
use fhirbolt::element::Element;
use tests::data;
use tests::same::difference;

/// A resource as fhirbolt sees it: generic, but typed by the definitions of R4, and strict about unknown members.
type Document = Element<{ FhirReleases::R4 }>;

/// An official example with which fhirbolt, not we, is wrong.
struct Fault {
    example: &'static str,
    /// What fhirbolt says.
    message: &'static str,
    why: &'static str,
}

#[test]
fn fhirbolt_reads_our_xml_as_the_same_resource() {
    const FAULTS: [Fault; 1] = [Fault {
        example: "Bundle/bundle-references",
        message: "reads XML: unknown field `entry`, expected one of",
        why: "has an entry whose resource is only <Patient/>; fhirbolt waits for the end tag of an empty element",
    }];
    compare("fhirbolt_reads_our_xml_as_the_same_resource", &FAULTS, |example| {
        let xml = fhir::xml::from_json(example).map_err(|error| format!("our writer: {error}"))?;
        let document: Document = fhirbolt::xml::from_str(&xml, None).map_err(|error| format!("reads XML: {error}"))?;
        let json = fhirbolt::json::to_vec(&document, None).map_err(|error| format!("writes JSON: {error}"))?;
        Json::parse(&json).map_err(|error| format!("its JSON: {error}"))
    });
}

#[test]
fn we_read_the_xml_of_fhirbolt_as_the_same_resource() {
    const FAULTS: [Fault; 1] = [Fault {
        example: "Questionnaire/qs1",
        message: "reads JSON: unknown field `date`, there are no fields",
        why: "has members before resourceType, which fhirbolt looks for before it knows the type; besides, it writes \
              line feeds into attributes as they are, where every XML parser makes them spaces (XML 1.0, §3.3.3)",
    }];
    compare("we_read_the_xml_of_fhirbolt_as_the_same_resource", &FAULTS, |example| {
        let read = fhirbolt::json::from_str(&example.to_string(), None);
        let document: Document = read.map_err(|error| format!("reads JSON: {error}"))?;
        let xml = fhirbolt::xml::to_vec(&document, None).map_err(|error| format!("writes XML: {error}"))?;
        fhir::xml::to_json(&xml).map_err(|error| format!("our reader: {error}"))
    });
}

/// Converts every official example there and back: it says the same as before, with numbers as they were written and
/// members in any order. An example that is listed as faulty fails as stated, and no other way.
fn compare(test: &str, faults: &[Fault], convert: impl Fn(&Json) -> Result<Json, String>) {
    let Some(examples) = data::examples(test) else { return };
    let mut failures = Vec::new();
    let mut excused = 0;
    for example in &examples {
        let name = name(example);
        let example = without_narratives(example);
        let failure = match convert(&example) {
            Ok(found) => difference(&example, &found),
            Err(error) => Some(error),
        };
        match (failure, faults.iter().find(|fault| fault.example == name)) {
            (None, None) => {}
            (Some(failure), Some(fault)) if failure.starts_with(fault.message) => {
                println!("fault of fhirbolt: {name} {}", fault.why);
                excused += 1;
            }
            (None, Some(_)) => failures.push(format!("{name}: is no longer a fault of fhirbolt")),
            (Some(failure), _) => failures.push(format!("{name}: {failure}")),
        }
    }
    println!("{} examples, {excused} faults of fhirbolt, {} failures", examples.len(), failures.len());
    assert!(examples.len() > 700, "all examples are there: {}", examples.len());
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), examples.len(), failures.join("\n"));
    assert_eq!(excused, faults.len(), "each listed fault is met once");
}

/// The same without what holds XHTML: the narratives of resources, of contained ones, of entries, and of sections.
fn without_narratives(value: &Json) -> Json {
    match value {
        Json::Object(object) => {
            let is_narrative = |name: &str, member: &Json| name == "text" && member.get("div").is_some();
            let kept = object.iter().filter(|(name, member)| !is_narrative(name, member));
            Json::Object(kept.map(|(name, member)| (name, without_narratives(member))).collect::<Object>())
        }
        Json::Array(items) => Json::Array(items.iter().map(without_narratives).collect()),
        scalar => scalar.clone(),
    }
}

fn name(resource: &Json) -> String {
    format!("{}/{}", resource.str("resourceType").unwrap_or("?"), resource.str("id").unwrap_or("?"))
}
