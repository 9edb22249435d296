//! Tables of search parameters and what they mean or why they are refused.

use fhir::decimal::Decimal;
use fhir::outcome::IssueCode;

use super::*;
use crate::entry::Target;
use crate::query::{DateMatch, Filter, Match, Order, Prefix, Sort, SortBy, StringMode, UnitMatch};

const BASE: &str = "http://server/fhir";

fn options() -> Options {
    Options { base: BASE.to_owned(), default_count: 50, max_count: 1000, lenient: false, now: 0 }
}

fn pairs(text: &[(&str, &str)]) -> Vec<(String, String)> {
    text.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn query(resource_type: &str, text: &[(&str, &str)]) -> Query {
    let parsed = parse(resource_type, &pairs(text), &options()).unwrap_or_else(|issues| panic!("{text:?}: {issues:?}"));
    assert!(parsed.warnings.is_empty());
    parsed.query
}

fn matches(resource_type: &str, name: &str, value: &str) -> Vec<Match> {
    match query(resource_type, &[(name, value)]).filters.remove(0) {
        Filter::Any { matches, .. } => matches,
        other => panic!("{name}={value}: {other:?}"),
    }
}

fn refused(resource_type: &str, name: &str, value: &str) -> (IssueCode, String) {
    let mut issues = parse(resource_type, &pairs(&[(name, value)]), &options())
        .expect_err(&format!("{resource_type}?{name}={value} must be refused"));
    assert_eq!(issues.len(), 1);
    let issue = issues.remove(0);
    (issue.code, issue.diagnostics.unwrap_or_default())
}

fn token(system: Option<&str>, code: Option<&str>) -> Match {
    Match::Token { system: system.map(str::to_owned), code: code.map(str::to_owned) }
}

fn local(resource_type: &str, id: &str) -> Match {
    Match::Reference(Target::Local { resource_type: resource_type.to_owned(), id: id.to_owned() })
}

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

#[test]
fn tokens() {
    for (value, expected) in [
        ("8480-6", token(None, Some("8480-6"))),
        ("http://loinc.org|8480-6", token(Some("http://loinc.org"), Some("8480-6"))),
        ("|8480-6", token(Some(""), Some("8480-6"))),
        ("http://loinc.org|", token(Some("http://loinc.org"), None)),
        (r"a\|b", token(None, Some("a|b"))),
        (r"s\,t|\\", token(Some("s,t"), Some(r"\"))),
    ] {
        assert_eq!(matches("Observation", "code", value), [expected], "{value}");
    }
    assert_eq!(matches("Observation", "code", "a,|b").len(), 2);
    for bad in ["|", "a|b|c", "", "a,,b", r"\x"] {
        assert_eq!(refused("Observation", "code", bad).0, IssueCode::Invalid, "{bad}");
    }
}

#[test]
fn negated_tokens() {
    let query = query("Observation", &[("status:not", "final,amended")]);
    assert!(matches!(&query.filters[0], Filter::Any { negated: true, matches, .. } if matches.len() == 2));
}

#[test]
fn strings() {
    for (name, mode, text) in [
        ("name", StringMode::StartsWith, "muller"),
        ("name:contains", StringMode::Contains, "muller"),
        ("name:exact", StringMode::Exact, "Müller"),
    ] {
        assert_eq!(matches("Patient", name, "Müller"), [Match::String { mode, text: text.to_owned() }], "{name}");
    }
    assert_eq!(refused("Patient", "name", " ").0, IssueCode::Invalid);
}

#[test]
fn dates() {
    const DAY: i64 = 86_400_000_000;
    for (value, prefix, low, high) in [
        ("1970-01-01", Prefix::Eq, 0, DAY - 1),
        ("eq1970", Prefix::Eq, 0, 365 * DAY - 1),
        ("ge1970-01-02", Prefix::Ge, DAY, 2 * DAY - 1),
        ("sa1970-01-01T00:00Z", Prefix::Sa, 0, 59_999_999),
        ("lt1970-01-01T01:00:00+01:00", Prefix::Lt, 0, 999_999),
        ("ap1970-01-11", Prefix::Ap, 9 * DAY, 12 * DAY - 1),
        ("ap1970-01-01", Prefix::Ap, 0, DAY - 1),
    ] {
        assert_eq!(matches("Observation", "date", value), [Match::Date(DateMatch { prefix, low, high })], "{value}");
    }
    for bad in ["xx2020", "2020-13", "today", "gt", "1970-01-01T00:00:00 01:00"] {
        assert_eq!(refused("Observation", "date", bad).0, IssueCode::Invalid, "{bad}");
    }
    assert!(refused("Observation", "date", "1970-01-01T00:00:00 01:00").1.contains("%2B"));
    assert!(
        matches!(&query("Patient", &[("_lastUpdated", "gt2020")]).filters[0], Filter::LastUpdated(dates) if dates.len() == 1)
    );
}

#[test]
fn numbers_and_quantities() {
    let found = matches("RiskAssessment", "probability", "gt0.8");
    assert!(matches!(&found[0], Match::Number(it) if it.prefix == Prefix::Gt && it.value == decimal("0.8")));
    let found = matches("RiskAssessment", "probability", "100");
    assert!(matches!(&found[0], Match::Number(it) if it.low == decimal("99.5") && it.high == decimal("100.5")));
    for (value, expected) in [
        ("5.4", None),
        ("5.4||lbs", Some(UnitMatch::Named("lbs".to_owned()))),
        ("5.4|lbs", Some(UnitMatch::Named("lbs".to_owned()))),
        ("ap5.4|http://x|mg", Some(UnitMatch::Coded { system: "http://x".to_owned(), code: "mg".to_owned() })),
        (
            "5.4|http://unitsofmeasure.org|lbs",
            Some(UnitMatch::Coded { system: "http://unitsofmeasure.org".to_owned(), code: "lbs".to_owned() }),
        ),
    ] {
        let found = matches("Observation", "value-quantity", value);
        assert!(matches!(&found[0], Match::Quantity { unit, .. } if *unit == expected), "{value}");
    }
    for bad in ["x", "5.4||", "5.4|", "||mg", "5.4|http://x||mg", "5,", "|||"] {
        assert_eq!(refused("Observation", "value-quantity", bad).0, IssueCode::Invalid, "{bad}");
    }
    // No index has the systems of units by themselves.
    let filters = query("Observation", &[("value-quantity", "5|http://x|,6")]).filters;
    let [Filter::Or(both)] = filters.as_slice() else { panic!("{filters:?}") };
    let unit = |filter: &Filter| match filter {
        Filter::Any { matches, .. } => match &matches[..] {
            [Match::Quantity { unit, .. }] => unit.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let Filter::Exact(of_system) = &both[1] else { panic!("{both:?}") };
    assert_eq!([unit(&both[0]), unit(of_system)], [None, Some(UnitMatch::OfSystem("http://x".to_owned()))]);
}

#[test]
fn references() {
    for (name, value, expected) in [
        ("patient", "Patient/1", vec![local("Patient", "1")]),
        ("patient", "1", vec![local("Patient", "1")]),
        ("subject:Patient", "1", vec![local("Patient", "1")]),
        ("subject", "http://server/fhir/Patient/1", vec![local("Patient", "1")]),
        ("subject", "1", ["Group", "Device", "Patient", "Location"].map(|it| local(it, "1")).to_vec()),
        (
            "subject",
            "http://elsewhere/Patient/1",
            vec![Match::Reference(Target::Url("http://elsewhere/Patient/1".to_owned()))],
        ),
    ] {
        assert_eq!(matches("Observation", name, value), expected, "{name}={value}");
    }
    for (name, value, code) in [
        ("subject:Medication", "1", IssueCode::Invalid),
        ("subject:Patient", "Group/1", IssueCode::Invalid),
        ("subject", "Nothing/1", IssueCode::Invalid),
        ("subject", "a b", IssueCode::Invalid),
        ("subject", "Patient/1/_history/2", IssueCode::Invalid),
    ] {
        assert_eq!(refused("Observation", name, value).0, code, "{name}={value}");
    }
}

#[test]
fn ids_and_missing() {
    assert_eq!(query("Patient", &[("_id", "a,b")]).filters, [Filter::Id(vec!["a".to_owned(), "b".to_owned()])]);
    assert_eq!(refused("Patient", "_id", "a/b").0, IssueCode::Invalid);
    let query = query("Patient", &[("gender:missing", "true")]);
    assert!(matches!(&query.filters[0], Filter::Missing { missing: true, param } if param.code == "gender"));
    assert_eq!(refused("Patient", "gender:missing", "yes").0, IssueCode::Invalid);
}

#[test]
fn what_is_not_done_says_so() {
    for (resource_type, name, value) in [
        ("Patient", "_query", "x"),
        ("Patient", "_score", "x"),
        ("Patient", "_sort", "_score"),
        ("Patient", "_list", "$current-allergies"),
        ("Observation", "encounter.patient:below", "Patient/1"),
    ] {
        let (code, text) = refused(resource_type, name, value);
        assert_eq!(code, IssueCode::NotSupported, "{name}={value}: {text}");
    }
}

#[test]
fn contained_resources_are_asked_for() {
    let asked = |pairs: &[(&str, &str)]| query("Medication", pairs).contained.map(|it| (it.both, it.alone));
    assert_eq!(asked(&[("_contained", "false")]), None);
    assert_eq!(asked(&[("_contained", "true")]), Some((false, false)));
    assert_eq!(asked(&[("_containedType", "contained"), ("_contained", "both")]), Some((true, true)));
    assert_eq!(asked(&[("_contained", "true"), ("_containedType", "container")]), Some((false, false)));
    for (name, value, code) in [
        ("_sort", "code", IssueCode::NotSupported),
        ("_include", "Medication:manufacturer", IssueCode::NotSupported),
        ("_revinclude", "MedicationRequest:medication", IssueCode::NotSupported),
        ("__explain", "true", IssueCode::NotSupported),
        ("_has:MedicationRequest:medication:status", "active", IssueCode::NotSupported),
        ("_list", "1", IssueCode::NotSupported),
        ("_lastUpdated", "2020", IssueCode::NotSupported),
        ("_text", "word", IssueCode::NotSupported),
        ("_content", "word", IssueCode::NotSupported),
        ("_containedType", "both", IssueCode::Invalid),
    ] {
        for which in ["true", "both"] {
            let pairs = [("_contained".to_owned(), which.to_owned()), (name.to_owned(), value.to_owned())];
            let issues = parse("Medication", &pairs, &options()).expect_err(name);
            assert_eq!(issues[0].code, code, "{name}={value}: {issues:?}");
        }
    }
    assert_eq!(refused("Medication", "_containedType", "contained").0, IssueCode::Invalid);
    assert_eq!(refused("Medication", "_contained", "yes").0, IssueCode::Invalid);
    let pairs = [("_contained".to_owned(), "true".to_owned())];
    assert!(parse_types(&["Medication"], &pairs, &options()).is_err());
}

#[test]
fn unknown_names_are_refused_with_the_nearest() {
    for (name, nearest) in
        [("brithdate", "birthdate"), ("famly", "family"), ("_lastupdated", "_lastUpdated"), ("_cout", "_count")]
    {
        let (code, text) = refused("Patient", name, "x");
        assert_eq!(code, IssueCode::Invalid);
        assert!(text.contains(name) && text.contains(nearest), "{text}");
    }
    let (_, text) = refused("Patient", "name:contain", "x");
    assert!(text.contains("contains"), "{text}");
    assert!(refused("Patient", "_sort", "-brithdate").1.contains("birthdate"));
}

#[test]
fn leniency_drops_names_but_never_values() {
    let lenient = Options { lenient: true, ..options() };
    let parsed = parse("Patient", &pairs(&[("foo", "1"), ("_score", "x"), ("gender", "male")]), &lenient).unwrap();
    assert_eq!(parsed.warnings.len(), 2);
    assert_eq!(parsed.query.applied, pairs(&[("gender", "male")]));
    assert!(parse("Patient", &pairs(&[("birthdate", "x")]), &lenient).is_err());
}

#[test]
fn counts_and_totals() {
    for (text, count, total) in [
        (&[][..], 50, false),
        (&[("_count", "7")][..], 7, false),
        (&[("_count", "0")][..], 0, true),
        (&[("_count", "99999999999999999999999")][..], 1000, false),
        (&[("_total", "accurate")][..], 50, true),
        (&[("_total", "none")][..], 50, false),
        (&[("_summary", "count")][..], 0, true),
        (&[("_summary", "count"), ("_count", "5")][..], 0, true),
        (&[("_count", "5"), ("_summary", "count")][..], 0, true),
        (&[("_summary", "false"), ("_format", "json"), ("_pretty", "true"), ("_type", "Patient")][..], 50, false),
        (&[("_contained", "false"), ("__explain", "true")][..], 50, false),
    ] {
        let query = query("Patient", text);
        assert_eq!((query.count, query.total), (count, total), "{text:?}");
    }
    let capped = query("Patient", &[("_count", "5000"), ("_cursor", "abc")]);
    assert_eq!(capped.applied, pairs(&[("_count", "1000")]));
    assert_eq!(capped.cursor.as_deref(), Some("abc"));
    for (name, value) in
        [("_count", "-1"), ("_count", ""), ("_total", "x"), ("_summary", "x"), ("_type", "Group"), ("_cursor", "")]
    {
        assert_eq!(refused("Patient", name, value).0, IssueCode::Invalid, "{name}={value}");
    }
    assert!(parse("Patient", &pairs(&[("_count", "1"), ("_count", "2")]), &options()).is_err());
}

#[test]
fn sorts() {
    let sort = query("Observation", &[("_sort", "-date,code,_lastUpdated,-_id")]).sort;
    assert!(matches!(&sort[0], Sort { by: SortBy::Chronology(_), descending: true }));
    assert!(matches!(&sort[1], Sort { by: SortBy::Param(param), descending: false } if param.code == "code"));
    assert!(matches!(&sort[2], Sort { by: SortBy::LastUpdated, descending: false }));
    assert!(matches!(&sort[3], Sort { by: SortBy::Id, descending: true }));
    let by_date = |sort: &str| query("MedicationRequest", &[("_sort", sort)]).sort.remove(0).by;
    assert!(matches!(by_date("date"), SortBy::Chronology(_)), "by the earliest of several dates");
    assert!(matches!(by_date("-date"), SortBy::Param(param) if param.code == "date"), "by the latest");
    for bad in ["", "code,", "code,-code", "subject.name", "nothing", "code-value-quantity"] {
        refused("Observation", "_sort", bad);
    }
    assert_eq!(refused("Observation", "_sort", "code,date,_id,status,category,subject").0, IssueCode::TooCostly);
}

#[test]
fn includes() {
    let found = query(
        "Observation",
        &[
            ("_include", "Observation:subject:Patient"),
            ("_include", "Observation:performer"),
            ("_include", "Observation:performer"),
            ("_revinclude", "Provenance:target"),
        ],
    );
    assert!(found.includes.iter().all(|it| !it.iterate && it.params.len() == 1));
    let seen: Vec<(bool, &str, &str, Option<&str>)> = found
        .includes
        .iter()
        .map(|it| (it.reverse, it.source_type.as_str(), it.params[0].code.as_str(), it.target_type.as_deref()))
        .collect();
    assert_eq!(
        seen,
        [
            (false, "Observation", "subject", Some("Patient")),
            (false, "Observation", "performer", None),
            (true, "Provenance", "target", None)
        ]
    );
    for (name, value) in [
        ("_include", "Patient:link"),
        ("_include", "Observation:code"),
        ("_include", "Observation:nothing"),
        ("_include", "Observation:subject:Medication"),
        ("_include", "Observation"),
        ("_include", "Nothing:subject"),
        ("_include:x", "Observation:subject"),
        ("_revinclude", "Encounter:patient"),
        ("_revinclude", "Provenance:target:Patient"),
    ] {
        assert_eq!(refused("Observation", name, value).0, IssueCode::Invalid, "{name}={value}");
    }
}

#[test]
fn in_17_limits() {
    let many = vec![("gender".to_owned(), "male".to_owned()); MAX_PARAMETERS];
    assert!(parse("Patient", &many, &options()).is_ok());
    let more = vec![("gender".to_owned(), "male".to_owned()); MAX_PARAMETERS + 1];
    assert_eq!(parse("Patient", &more, &options()).unwrap_err()[0].code, IssueCode::TooCostly);
    let ids = vec!["x"; 20].join(",");
    assert_eq!(refused("Provenance", "target", &ids).0, IssueCode::TooCostly);
    let includes = vec![("_include".to_owned(), "Patient:link".to_owned()); MAX_INCLUDES + 1];
    assert!(parse("Patient", &includes, &options()).is_ok(), "repetitions are one");
}

#[test]
fn sm_25_scopes_take_plain_parameters_only() {
    let read = |name: &str, value: &str| filters_from_pairs("Observation", &pairs(&[(name, value)]), BASE);
    assert_eq!(read("category", "http://x|vital-signs").unwrap().len(), 1);
    assert_eq!(read("date", "ge2020").unwrap().len(), 1);
    for (name, value) in [
        ("category:not", "x"),
        ("category:in", "x"),
        ("category:missing", "true"),
        ("subject.name", "x"),
        ("subject:Patient", "x"),
        ("_has:Provenance:target:agent", "x"),
        ("_include", "Observation:subject"),
        ("_sort", "date"),
        ("_count", "1"),
        ("_filter", "x"),
        ("unknown", "x"),
        ("code-value-quantity", "x$y"),
        ("date", "ap2020"),
        ("_lastUpdated", "ap2020"),
        ("category", ""),
    ] {
        assert!(read(name, value).is_err(), "{name}={value}");
    }
    assert!(filters_from_pairs("Observation", &[], BASE).is_err());
}

mod conditions;
mod expressions;
mod types;
