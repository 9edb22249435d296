//! HL7's R4 examples, for the tests of this package.

use std::io::Read as _;
use std::path::PathBuf;

use fhir::json::Json;

/// Every example, or None (with a line that says so) where the test data is absent.
pub(crate) fn examples(test: &str) -> Option<Vec<Json>> {
    let root = std::env::var_os("TRIBUTARY_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let Ok(file) = std::fs::File::open(root.join("examples/r4-examples.ndjson.gz")) else {
        println!("skipped: {test} (no test data)");
        return None;
    };
    let mut lines = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut lines).expect("a gzip file of UTF-8 text");
    Some(lines.lines().map(|line| Json::parse(line.as_bytes()).expect("examples are JSON")).collect())
}
