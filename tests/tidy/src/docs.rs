//! Docs keep up with the code: what they name exists.

use std::collections::BTreeSet;
use std::path::Path;

use crate::tree::{assert_none, root, sources};

/// First folders of paths that docs may name.
const PLACES: [&str; 8] =
    ["server/", "adapters/", "profiles/", "migrations/", "conformance/", "tests/", "docs/", ".config/"];

/// What may stand in place of a name: these paths are patterns, not files.
const PATTERN: [char; 6] = ['*', '<', '…', '{', ' ', '$'];

#[test]
fn each_source_file_says_what_it_is() {
    let silent = sources("rs").into_iter().filter(|file| !opens_with_docs(&file.text)).map(|file| file.path);
    assert_none("a file opens with `//!` and one sentence:", &silent.collect::<Vec<_>>());
}

#[test]
fn each_path_in_the_docs_exists() {
    let root = root();
    let mut findings = Vec::new();
    for file in sources("md") {
        for (index, line) in file.text.lines().enumerate() {
            for path in quoted(line).filter(|quoted| is_path(quoted)) {
                let path = path.split([':', '#']).next().unwrap_or(path);
                let here = root.join(&file.path).with_file_name(path);
                if !root.join(path).exists() && !here.exists() {
                    findings.push(format!("{}:{}: {path}", file.path, index + 1));
                }
            }
        }
    }
    assert_none("docs name files that are not there:", &findings);
}

#[test]
fn each_link_between_pages_leads_somewhere() {
    let root = root();
    let mut findings = Vec::new();
    for file in sources("md") {
        let folder = Path::new(&file.path).parent().map_or_else(|| root.clone(), |folder| root.join(folder));
        for target in links(&file.text) {
            let target = target.split('#').next().unwrap_or_default();
            if !target.is_empty()
                && !target.contains("://")
                && !target.starts_with("mailto:")
                && !folder.join(target).exists()
            {
                findings.push(format!("{}: {target}", file.path));
            }
        }
    }
    assert_none("broken links:", &findings);
}

#[test]
fn each_page_is_in_the_table_of_contents() {
    let pages = sources("md");
    let summary = pages.iter().find(|page| page.path == "docs/src/SUMMARY.md").expect("the book has a summary");
    let listed: BTreeSet<&str> = links(&summary.text).collect();
    let forgotten = pages
        .iter()
        .filter_map(|page| page.path.strip_prefix("docs/src/"))
        .filter(|page| *page != "SUMMARY.md" && !listed.contains(page))
        .map(str::to_owned);
    assert_none("pages that nobody finds:", &forgotten.collect::<Vec<_>>());
}

#[test]
fn each_operation_is_on_the_page_of_operations() {
    let pages = sources("md");
    let page = pages.iter().find(|page| page.path == "docs/src/reference/operations.md").expect("the page exists");
    let code = sources("rs");
    let table = code.iter().find(|file| file.path == "server/src/rest/operation/table.rs").expect("the table exists");
    let rows = table.text.split("\n        code: \"").skip(1);
    let codes: BTreeSet<&str> = rows.filter_map(|rest| rest.split('"').next()).collect();
    assert!(codes.len() > 20, "the table has a `code` for each operation");
    let named: BTreeSet<&str> = page.text.lines().filter(|line| line.starts_with('|')).flat_map(quoted).collect();
    let forgotten: Vec<String> =
        codes.iter().map(|code| format!("${code}")).filter(|name| !named.contains(name.as_str())).collect();
    assert_none("operations that docs/src/reference/operations.md has no row for:", &forgotten);
}

#[test]
fn each_decision_is_in_the_list_of_decisions() {
    let pages = sources("md");
    let index = pages.iter().find(|page| page.path == "docs/src/decisions/index.md").expect("there is a list");
    let listed: BTreeSet<&str> = links(&index.text).collect();
    let records = pages.iter().filter_map(|page| page.path.strip_prefix("docs/src/decisions/"));
    let forgotten = records.filter(|page| *page != "index.md" && !listed.contains(page)).map(str::to_owned);
    assert_none("docs/src/decisions/index.md has a row for each decision:", &forgotten.collect::<Vec<_>>());
}

#[test]
fn each_part_of_the_application_is_in_the_code_tour() {
    let pages = sources("md");
    let tour = pages.iter().find(|page| page.path == "server/README.md").expect("the application has a code tour");
    let named: BTreeSet<&str> = tour.text.lines().filter(|line| line.starts_with('|')).flat_map(quoted).collect();
    let files: Vec<String> = sources("rs").into_iter().map(|file| file.path).collect();
    let inside = files.iter().filter_map(|path| path.strip_prefix("server/src/"));
    let parts: BTreeSet<&str> = inside.map(|path| path.split_inclusive('/').next().unwrap_or(path)).collect();
    // What declares all others says so itself.
    let forgotten = parts.into_iter().filter(|part| *part != "lib.rs" && !named.contains(part)).map(str::to_owned);
    assert_none("server/README.md has a row for each file and folder of server/src:", &forgotten.collect::<Vec<_>>());
}

#[test]
fn each_invariant_names_a_test_that_exists() {
    let pages = sources("md");
    let page = pages.iter().find(|page| page.path == "docs/src/architecture.md").expect("the page exists");
    let code: Vec<_> = sources("rs").into_iter().map(|file| file.text).collect();
    let mut findings = Vec::new();
    let mut invariants = 0;
    for row in page.text.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit()) {
        invariants += 1;
        let held_by = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap_or_default();
        let tests: Vec<&str> = quoted(held_by).filter(|name| !name.contains(['/', '.'])).collect();
        if tests.is_empty() {
            findings.push(format!("names no test: {row}"));
        }
        for test in tests {
            let name = test.rsplit("::").next().unwrap_or(test);
            if !code.iter().any(|text| text.contains(&format!("fn {name}("))) {
                findings.push(format!("no test {test}"));
            }
        }
    }
    assert_eq!(invariants, 10, "docs/src/architecture.md lists the ten invariants");
    assert_none("each invariant is held by a test:", &findings);
}

/// What stands between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn is_path(quoted: &str) -> bool {
    PLACES.iter().any(|place| quoted.starts_with(place)) && !quoted.contains(PATTERN)
}

/// Targets of Markdown links.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

fn opens_with_docs(text: &str) -> bool {
    text.starts_with("//! ") || text.starts_with("#![doc = include_str!(\"../README.md\")]")
}
