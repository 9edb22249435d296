//! Some patients of Synthea, as resources of their own. <https://synthetichealth.github.io/synthea/>

use std::collections::BTreeSet;

use fhir::json::Json;
use tests::data;

/// Patients of one run.
const PATIENTS: usize = 8;

/// The longest bundle that is taken: some patients have years in intensive care.
const LONGEST: usize = 400_000;

/// What each of these patients' bundles holds, with ids instead of the bundle's own references; None where the data is
/// absent.
pub(crate) fn resources(test: &str) -> Option<Vec<Json>> {
    let file = data::path("synthea/synthea-a-615patients.ndjson.zst", test)?;
    let compressed = std::fs::File::open(file).expect("the bundles can be read");
    let decoder = zstd::Decoder::new(compressed).expect("the bundles are compressed");
    let lines = std::io::BufRead::lines(std::io::BufReader::new(decoder));
    let mut resources = Vec::new();
    let (mut names, mut patients) = (BTreeSet::new(), 0);
    for line in lines {
        let line = line.expect("the bundles are UTF-8");
        let has_patient = line.contains("\"resourceType\":\"Patient\"");
        if has_patient && line.len() > LONGEST {
            continue;
        }
        for resource in of_bundle(&line) {
            if names.insert(crate::expected::name(&resource)) {
                resources.push(resource);
            }
        }
        patients += usize::from(has_patient);
        if patients == PATIENTS {
            break;
        }
    }
    Some(resources)
}

/// The entries of a bundle, put under the ids that their full URLs end with.
fn of_bundle(line: &str) -> Vec<Json> {
    let bundle = Json::parse(line.as_bytes()).expect("bundles are JSON");
    let mut text = line.to_owned();
    for entry in bundle.list("entry") {
        let name = entry.get("resource").and_then(|it| it.str("resourceType"));
        if let (Some(url), Some(name)) = (entry.str("fullUrl"), name) {
            let id = url.trim_start_matches("urn:uuid:");
            text = text.replace(&format!("\"reference\":\"{url}\""), &format!("\"reference\":\"{name}/{id}\""));
        }
    }
    let bundle = Json::parse(text.as_bytes()).expect("references are strings still");
    let mut resources = Vec::new();
    for entry in bundle.list("entry") {
        let (Some(resource), Some(url)) = (entry.get("resource"), entry.str("fullUrl")) else { continue };
        let mut resource = resource.clone();
        if let Some(members) = resource.as_object_mut() {
            members.insert("id", url.trim_start_matches("urn:uuid:"));
        }
        resources.push(resource);
    }
    resources
}
