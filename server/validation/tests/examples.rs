//! HL7's own examples are valid, but for the ones listed here.

use fhir::json::Json;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

/// Examples that break the specification, and how.
const BROKEN: &[(&str, &str)] = &[("Questionnaire/qs1", "32 items without the linkId that each must have")];

#[test]
fn every_official_example_is_valid() {
    let examples = examples();
    let mut failures = BTreeMap::new();
    for example in &examples {
        let name = format!("{}/{}", example.str("resourceType").unwrap(), example.str("id").unwrap_or("-"));
        let issues = validation::validate(example);
        if !issues.is_empty() {
            let texts = issues.into_iter().map(|it| format!("{:?} {}", it.expression, it.diagnostics.unwrap()));
            failures.insert(name, texts.collect::<Vec<_>>().join("\n  "));
        }
    }
    let unknown: Vec<String> = failures
        .iter()
        .filter(|(name, _)| !BROKEN.iter().any(|(broken, _)| broken == name))
        .map(|(name, texts)| format!("{name}\n  {texts}"))
        .collect();
    assert!(unknown.is_empty(), "{} of {}:\n{}", unknown.len(), examples.len(), unknown.join("\n"));
    for (name, reason) in BROKEN {
        assert!(examples.is_empty() || failures.contains_key(*name), "{name} is valid, against: {reason}");
    }
}

fn examples() -> Vec<Json> {
    let root = std::env::var_os("TRIBUTARY_TEST_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let Ok(file) = std::fs::File::open(root.join("examples/r4-examples.ndjson.gz")) else {
        println!("skipped: official examples (no test data)");
        return Vec::new();
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("the examples are gzip");
    text.lines().map(|line| Json::parse(line.as_bytes()).expect("an example is JSON")).collect()
}
