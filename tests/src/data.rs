//! Test data that is not part of the project: `../shared/data`, or the folder that `TRIBUTARY_TEST_DATA` names.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use fhir::json::Json;
use flate2::read::GzDecoder;

use crate::skipped;

/// Examples that break their own definitions, so that the server rightly refuses them, and what they break.
pub const REFUSED_EXAMPLES: [(&str, &str); 1] = [("Questionnaire/qs1", "linkId is missing")];

/// The path of a test data file; where it is absent, `test` is reported as skipped and there is none.
pub fn path(name: &str, test: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TRIBUTARY_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    skipped::skip(test, "no test data");
    None
}

/// All official R4 examples as documents; where the file is absent, `test` is reported as skipped.
pub fn examples(test: &str) -> Option<Vec<Json>> {
    let compressed = fs::read(path("examples/r4-examples.ndjson.gz", test)?).expect("the examples can be read");
    let mut lines = String::new();
    GzDecoder::new(compressed.as_slice()).read_to_string(&mut lines).expect("the examples are gzip of UTF-8");
    let parse = |line: &str| Json::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"));
    Some(lines.lines().filter(|line| !line.is_empty()).map(parse).collect())
}

/// All official R4 examples in XML as file name and content; where the file is absent, `test` is reported as skipped.
pub fn xml_examples(test: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let compressed = fs::read(path("examples/r4-examples-xml.tgz", test)?).expect("the examples can be read");
    let mut archive = Vec::new();
    GzDecoder::new(compressed.as_slice()).read_to_end(&mut archive).expect("the examples are gzip");
    let is_xml = |name: &str| Path::new(name).extension().is_some_and(|ending| ending == "xml");
    Some(untar(&archive).into_iter().filter(|(name, _)| is_xml(name)).collect())
}

/// The regular files of a tar archive. <https://www.gnu.org/software/tar/manual/html_node/Standard.html>
fn untar(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    const BLOCK: usize = 512;
    let text = |field: &[u8]| String::from_utf8_lossy(field).trim_end_matches(['\0', ' ']).to_owned();
    let mut files = Vec::new();
    let mut at = 0;
    while let Some(header) = archive.get(at..at + BLOCK).filter(|header| header[0] != 0) {
        let size = usize::from_str_radix(&text(&header[124..136]), 8).expect("sizes are octal");
        at += BLOCK;
        if matches!(header[156], b'0' | 0) {
            files.push((text(&header[..100]), archive[at..at + size].to_vec()));
        }
        at += size.div_ceil(BLOCK) * BLOCK;
    }
    files
}
