//! Searches of several types, and criteria.

use super::*;

#[test]
fn several_types() {
    let types = ["Patient", "Observation"];
    let read = |text: &[(&str, &str)], lenient| parse_types(&types, &pairs(text), &Options { lenient, ..options() });
    let all = read(&[("_count", "5000"), ("identifier", "x"), ("_include", "Observation:subject")], false).unwrap();
    assert_eq!(all.queries.iter().map(|it| it.includes.len()).collect::<Vec<_>>(), [0, 1]);
    assert!(all.queries.iter().all(|it| it.filters.len() == 1 && it.count == 1000));
    assert_eq!(all.applied, pairs(&[("_count", "1000"), ("identifier", "x"), ("_include", "Observation:subject")]));
    assert!(read(&[("_type", "Patient,Observation"), ("_sort", "-_lastUpdated,_id")], false).is_ok());
    assert!(read(&[("_elements", "birthDate,value")], false).is_ok(), "each is an element of one of them");
    for text in [
        &[("gender", "male")][..],
        &[("_sort", "identifier")],
        &[("_include", "Encounter:subject")],
        &[("_elements", "nothing")],
        &[("_type", "Patient")],
    ] {
        assert!(read(text, false).is_err(), "{text:?}");
    }
    let left_out = read(&[("gender", "male"), ("identifier", "x")], true).unwrap();
    assert_eq!(left_out.warnings.len(), 1);
    assert!(left_out.queries.iter().all(|it| it.filters.len() == 1), "what one type lacks is left out of all");
    assert_eq!(left_out.applied, pairs(&[("identifier", "x")]));
}

#[test]
fn criteria_say_which_and_nothing_else() {
    let read = |text: &[(&str, &str)]| criteria("Patient", &pairs(text), &options());
    assert_eq!(read(&[("identifier", "s|1"), ("_id", "a")]).unwrap().filters.len(), 2);
    assert_eq!(crate::terminology::asked(&read(&[("gender:in", "http://v")]).unwrap()).len(), 1);
    for (name, value) in [
        ("_count", "1"),
        ("_sort", "_id"),
        ("_include", "Patient:organization"),
        ("_revinclude:iterate", "Observation:patient"),
        ("_elements", "name"),
        ("_summary", "count"),
        ("_total", "accurate"),
        ("__explain", "true"),
        ("_contained", "false"),
        ("_cursor", "x"),
        ("foo", "x"),
    ] {
        assert!(read(&[("identifier", "s|1"), (name, value)]).is_err(), "{name}");
    }
    assert!(read(&[]).is_err());
}
