//! Each security requirement is held by a test that exists, or says why not: `conformance/requirements.csv`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;

use crate::tree::{assert_none, root, sources};

/// The list.
const FILE: &str = "conformance/requirements.csv";
/// Its first line.
const COLUMNS: &str = "id,requirement,tests,exception";

/// All ids that there are: SMART on FHIR, OAuth and accounts, leaks between patients.
const IDS: [(&str, &[RangeInclusive<u32>]); 3] = [
    ("SM", &[1..=18, 20..=31, 35..=42, 45..=49, 52..=57, 60..=67, 70..=72, 75..=77, 80..=84]),
    ("OA", &[1..=36]),
    ("LK", &[0..=2, 10..=57]),
];

/// One row.
struct Row {
    id: String,
    tests: Vec<String>,
    exception: String,
}

#[test]
fn each_requirement_has_a_row_and_each_row_a_test_or_a_reason() {
    let rows = rows();
    let mut findings = Vec::new();
    let mut seen = BTreeMap::new();
    for row in &rows {
        *seen.entry(row.id.as_str()).or_insert(0) += 1;
        if row.tests.is_empty() == row.exception.is_empty() {
            findings.push(format!("{}: tests, or a reason why there are none", row.id));
        }
    }
    let ids = ids();
    findings.extend(ids.iter().filter(|id| seen.get(id.as_str()) != Some(&1)).map(|id| format!("{id}: one row")));
    findings.extend(seen.keys().filter(|id| !ids.contains(**id)).map(|id| format!("{id}: no such requirement")));
    assert_none("the list of requirements is complete:", &findings);
}

#[test]
fn each_test_of_a_requirement_exists() {
    let code: String = sources("rs").into_iter().map(|file| file.text).collect::<Vec<_>>().join("\n");
    let declared: BTreeSet<&str> = code
        .split("fn ")
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
        .collect();
    let mut findings = Vec::new();
    for row in rows() {
        let missing = row.tests.iter().filter(|test| !declared.contains(test.as_str()));
        findings.extend(missing.map(|test| format!("{}: no test {test}", row.id)));
    }
    assert_none("each requirement is held by tests that exist:", &findings);
}

#[test]
fn each_test_named_after_a_requirement_stands_in_its_row() {
    let rows: BTreeMap<String, Row> = rows().into_iter().map(|row| (row.id.clone(), row)).collect();
    let mut findings = Vec::new();
    for file in sources("rs") {
        for name in tests_of(&file.text) {
            for id in ids_of(name) {
                let stands = rows.get(&id).is_some_and(|row| row.tests.iter().any(|test| test == name));
                if !stands {
                    findings.push(format!("{id}: {name} of {}", file.path));
                }
            }
        }
    }
    assert_none("the list of requirements names each test that holds one:", &findings);
}

fn ids() -> BTreeSet<String> {
    let of = |(kind, ranges): &(&'static str, &'static [RangeInclusive<u32>])| {
        let kind = *kind;
        ranges.iter().cloned().flatten().map(move |number| format!("{kind}-{number:02}"))
    };
    IDS.iter().flat_map(of).collect()
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join(FILE)).expect("the list of requirements is there");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(COLUMNS), "columns of {FILE}");
    let row = |line: &str| {
        let [id, _, tests, exception] = <[String; 4]>::try_from(cells(line)).unwrap_or_else(|cells| {
            panic!("{FILE}: a row has four cells, this one {}: {line}", cells.len());
        });
        Row { id, tests: tests.split_whitespace().map(str::to_owned).collect(), exception }
    };
    lines.map(row).collect()
}

/// Cells of a line: separated by commas, in quotes where there are commas or quotes inside.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let (mut quoted, mut letters) = (false, line.chars().peekable());
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cells.last_mut().expect("never empty").push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            letter => cells.last_mut().expect("never empty").push(letter),
        }
    }
    cells
}

/// Functions whose names begin as those of tests of a requirement do.
fn tests_of(text: &str) -> impl Iterator<Item = &str> {
    let declared = text.lines().filter_map(|line| {
        let line = line.trim_start().trim_start_matches("async ");
        let name = line.strip_prefix("fn ")?.split('(').next()?.split('<').next()?;
        Some(name)
    });
    declared.filter(|name| ["sm_", "oa_", "lk_"].iter().any(|kind| name.starts_with(kind)))
}

/// `SM-31` and `SM-45` of `sm_31_sm_45_a_launch`.
fn ids_of(name: &str) -> Vec<String> {
    let words: Vec<&str> = name.split('_').collect();
    let pairs = words.windows(2).filter(|pair| matches!(pair[0], "sm" | "oa" | "lk"));
    let numbered = pairs.filter(|pair| pair[1].len() == 2 && pair[1].chars().all(|c| c.is_ascii_digit()));
    numbered.map(|pair| format!("{}-{}", pair[0].to_uppercase(), pair[1])).collect()
}

#[test]
fn cells_are_read_as_they_were_written() {
    assert_eq!(cells(r#"SM-01,"a, ""b""",x y,"#), ["SM-01", r#"a, "b""#, "x y", ""]);
    assert_eq!(ids_of("sm_31_sm_45_a_launch_12"), ["SM-31", "SM-45"]);
}
