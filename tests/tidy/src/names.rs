//! Files are named by what is in them, and tests by the file they test.

use std::collections::BTreeSet;

use crate::tree::{assert_none, sources};

/// Names that say nothing.
const EMPTY_NAMES: [&str; 12] =
    ["util", "utils", "common", "helper", "helpers", "misc", "manager", "managers", "stuff", "shared", "base", "mod"];

/// Folders whose files have tests of the same name over HTTP.
const MIRRORS: [(&str, &str); 3] = [
    ("server/src/rest/", "tests/rest/"),
    ("server/src/oauth/", "tests/oauth/"),
    ("server/src/devices/", "tests/devices/"),
];

#[test]
fn no_name_is_empty() {
    let mut findings = Vec::new();
    for file in sources("rs") {
        let stem = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        if EMPTY_NAMES.contains(&stem) {
            findings.push(file.path.clone());
        }
        for line in file.text.lines() {
            let declared = line.trim().trim_start_matches("pub ").strip_prefix("mod ").unwrap_or_default();
            let name = declared.trim_end_matches([';', '{', ' ']);
            if EMPTY_NAMES.contains(&name) {
                findings.push(format!("{}: mod {name}", file.path));
            }
        }
    }
    assert_none("name a file by its content:", &findings);
}

#[test]
fn each_interaction_and_endpoint_has_its_tests() {
    let files = sources("rs");
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut findings = Vec::new();
    for (sources, tests) in MIRRORS {
        for file in files.iter().filter(|file| is_endpoint(&file.text)) {
            let Some(name) = file.path.strip_prefix(sources).filter(|name| !name.contains('/')) else { continue };
            if !paths.contains(format!("{tests}{name}").as_str()) {
                findings.push(format!("{tests}{name}"));
            }
        }
    }
    assert_none("tests over HTTP lie under the same name as what they test:", &findings);
}

#[test]
fn no_test_file_is_empty() {
    let folders = MIRRORS.map(|(_, tests)| tests);
    let of_tests = sources("rs")
        .into_iter()
        .filter(|file| folders.iter().any(|folder| file.path.starts_with(folder)) && !file.path.ends_with("/main.rs"));
    let empty = of_tests.filter(|file| !file.text.contains("fn ")).map(|file| file.path);
    assert_none("a file of tests has tests:", &empty.collect::<Vec<_>>());
}

/// Whether a file answers requests itself.
fn is_endpoint(text: &str) -> bool {
    text.contains("\npub async fn ") && text.contains("HttpResponse")
}
