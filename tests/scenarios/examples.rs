//! All official R4 examples go in by PUT and come back by GET with the same value, in JSON and through XML.

use std::collections::BTreeSet;

use fhir::json::Json;
use tests::same::{canonical, difference};
use tests::{Client, TestServer, data};

/// The server writes these itself, see docs/src/audit.md.
const READ_ONLY: &str = "AuditEvent";

tests::on_both_engines!(examples_come_back_as_they_went_in, xml_examples_say_the_same_as_their_json);

async fn examples_come_back_as_they_went_in(server: TestServer) {
    let Some(examples) = data::examples("examples_come_back_as_they_went_in") else { return };
    let system = server.system();
    let types: BTreeSet<_> = examples.iter().filter_map(|example| example.str("resourceType")).collect();
    let mut failures = Vec::new();
    for example in &examples {
        let example = with_id(example);
        if example.str("resourceType") == Some(READ_ONLY) {
            let put = system.put(&path(&example)).json(&example).await;
            assert_eq!(put.status, 405, "{}", put.describe());
            continue;
        }
        let refused = data::REFUSED_EXAMPLES.iter().find(|(name, _)| *name == path(&example)).map(|(_, why)| *why);
        match (round_trip(&system, &example).await, refused) {
            (Ok(()), None) => {}
            (Err(failure), Some(why)) if failure.contains(why) => println!("refused: {}: {why}", path(&example)),
            (Ok(()), Some(_)) => failures.push(format!("{}: is no longer refused", path(&example))),
            (Err(failure), _) => failures.push(format!("{}: {failure}", path(&example))),
        }
    }
    println!("{} examples of {} types, {} failures", examples.len(), types.len(), failures.len());
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), examples.len(), failures.join("\n"));
}

async fn xml_examples_say_the_same_as_their_json(server: TestServer) {
    let name = "xml_examples_say_the_same_as_their_json";
    let (Some(examples), Some(documents)) = (data::examples(name), data::xml_examples(name)) else { return };
    let system = server.system();
    let mut failures = Vec::new();
    let mut compared = 0;
    for (file, document) in &documents {
        let resource = match fhir::xml::to_json(document) {
            Ok(resource) => resource,
            Err(error) => {
                failures.push(format!("{file}: {error}"));
                continue;
            }
        };
        let Some(example) = examples.iter().find(|example| path(example) == path(&resource)) else { continue };
        compared += 1;
        let put = system.put(&path(example)).xml(document.clone()).await;
        if example.str("resourceType") == Some(READ_ONLY) {
            assert_eq!(put.status, 405, "{}", put.describe());
            continue;
        }
        if !matches!(put.status, 200 | 201) {
            failures.push(format!("{file}: PUT {} {}", put.status, put.issues().join("; ")));
            continue;
        }
        let found = fhir_json(&system, &path(example)).await;
        if let Some(difference) = difference(&canonical(&resource), &canonical(&found)) {
            failures.push(format!("{file}: {difference}"));
        }
    }
    println!("{} XML examples, {compared} put, {} failures", documents.len(), failures.len());
    assert!(compared > 100, "the examples pair up: {compared}");
    assert!(failures.is_empty(), "{} of {compared} failed:\n{}", failures.len(), failures.join("\n"));
}

async fn round_trip(system: &Client, example: &Json) -> Result<(), String> {
    let path = path(example);
    let put = system.put(&path).json(example).await;
    if !matches!(put.status, 200 | 201) {
        return Err(format!("PUT {} {}", put.status, put.issues().join("; ")));
    }
    let expected = canonical(example);
    let found = fhir_json(system, &path).await;
    if let Some(difference) = difference(&expected, &canonical(&found)) {
        return Err(format!("JSON: {difference}"));
    }
    let xml = system.get(&path).header("accept", "application/fhir+xml").await;
    if xml.status != 200 {
        return Err(format!("GET as XML {} {}", xml.status, xml.issues().join("; ")));
    }
    let put = system.put(&path).xml(xml.bytes().to_vec()).await;
    if put.status != 200 {
        return Err(format!("PUT as XML {} {}", put.status, put.issues().join("; ")));
    }
    let found = fhir_json(system, &path).await;
    difference(&expected, &canonical(&found)).map_or(Ok(()), |difference| Err(format!("XML: {difference}")))
}

/// A Binary comes as its content to who names no format of FHIR.
async fn fhir_json(system: &Client, path: &str) -> Json {
    system.get(path).header("accept", "application/fhir+json").await.expect_status(200).json()
}

/// A few examples state no id, because they are meant to be posted.
fn with_id(example: &Json) -> Json {
    let mut example = example.clone();
    if example.get("id").is_none() {
        example.as_object_mut().expect("a resource is an object").insert_at(1, "id", "without-id");
    }
    example
}

fn path(resource: &Json) -> String {
    format!("{}/{}", resource.str("resourceType").unwrap_or("?"), resource.str("id").unwrap_or("?"))
}
