//! The official functional tests, and what must hold of every code and value.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::essence::essence;
use super::*;

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap_or_else(|| panic!("{text} is a decimal"))
}

fn base(value: &str, code: &str) -> String {
    match canonical(&decimal(value), code) {
        Ok(found) => format!("{} {}", found.value, found.code),
        Err(error) => error.to_string(),
    }
}

fn converted(value: &str, from: &str, to: &str) -> String {
    convert(&decimal(value), from, to).map_or_else(|error| error.to_string(), |value| value.to_string())
}

#[test]
fn every_unit_of_the_table_has_a_meaning() {
    let atoms = essence().atoms();
    assert_eq!(atoms.len(), 312);
    for atom in atoms {
        let found = prepared(&atom.code).unwrap_or_else(|error| panic!("{}: {error}", atom.code));
        let one = found.to_base(&Decimal::from(1));
        assert!(one.is_ok(), "{}: {one:?}", atom.code);
        assert!(validate(&found.code).is_ok(), "the canonical code {} of {} is a code", found.code, atom.code);
        assert!(!atom.name.is_empty(), "{} has a name", atom.code);
    }
}

#[test]
fn canonical_forms_are_exact() {
    for (value, code, expected) in [
        ("1", "1", "1 1"),
        ("5.00", "mg", "0.005 g"),
        ("0.005", "g", "0.005 g"),
        ("120", "mm[Hg]", "15998640 g.m-1.s-2"),
        ("1", "[lb_av]", "453.59237 g"),
        ("37", "Cel", "310.15 K"),
        ("98.6", "[degF]", "310.15 K"),
        ("310.15", "K", "310.15 K"),
        ("80", "%", "0.8 1"),
        ("7", "[pH]", "60221407600000000000 m-3"),
        ("20", "dB", "100 1"),
        ("1", "L", "0.001 m3"),
        ("5", "mmol/L", "3011070380000000000000000 m-3"),
        ("6", "10*3/uL", "6000000000000 m-3"),
        ("3", "/[HPF]", "3 1"),
        ("72", "{beats}/min", "1.2 s-1"),
        ("4", "k[iU]/L", "4000000 [iU].m-3"),
        ("4", "k[IU]/L", "4000000 [iU].m-3"),
        ("1", "m.m-1", "1 1"),
        ("1", "s/3", "0.333333333333333333333333 s"),
        ("2", "s/3", "0.666666666666666666666667 s"),
        ("-2", "s/3", "-0.666666666666666666666667 s"),
        ("0", "kg", "0 g"),
        ("1e300", "kg", "1e303 g"),
        ("999999999999999999999999.9", "g", "1e24 g"),
    ] {
        assert_eq!(base(value, code), expected, "{value} {code}");
    }
    let digits = "9".repeat(999);
    assert_eq!(base(&digits, "g"), "1e999 g");
}

#[test]
fn equal_quantities_have_one_canonical_form() {
    for (one, other) in [
        (("1", "[ft_i]"), ("12", "[in_i]")),
        (("1", "kPa"), ("10", "mbar")),
        (("1", "mL"), ("1", "cm3")),
        (("1", "h"), ("60", "min")),
        (("180", "deg"), ("1", "[pi].rad")),
        (("1", "[lb_av]/h"), ("7.55987283333333333333333333333", "g/min")),
        (("100", "kat"), ("6000000000", "U")),
        (("212", "[degF]"), ("100", "Cel")),
        (("80", "[degRe]"), ("100", "Cel")),
        (("3", "B"), ("30", "dB")),
        (("100", "%[slope]"), ("45", "deg")),
    ] {
        assert_eq!(base(one.0, one.1), base(other.0, other.1), "{one:?} {other:?}");
    }
}

#[test]
fn conversions() {
    for (value, from, to, expected) in [
        ("1", "[lb_av]", "kg", "0.45359237"),
        ("1.00", "kg", "kg", "1.00"),
        ("37", "Cel", "[degF]", "98.6"),
        ("-40", "[degF]", "Cel", "-40"),
        ("37000", "mCel", "[degF]", "98.6"),
        ("7.4", "[pH]", "nmol/L", "39.8107170553497250770252"),
        ("40", "nmol/L", "[pH]", "7.39794000867203760957252"),
        ("1", "Np", "B", "0.434294481903251827651129"),
        ("1", "B[V]", "V", "3.16227766016837933199889"),
        ("1000", "1", "B", "3"),
        ("8", "bit_s", "1", "256"),
        ("100", "%[slope]", "deg", "45"),
        ("45", "deg", "[p'diop]", "100"),
        ("3", "[hp'_C]", "1", "0.000001"),
        ("3", "[m/s2/Hz^(1/2)]", "m2.s-3", "9"),
        ("2", "m2.s-3", "[m/s2/Hz^(1/2)]", "1.41421356237309504880169"),
        ("2", "W", "B[kW]", "-2.69897000433601880478626"),
        ("1", "kg", "m", "kg does not convert to m: it is g, not m (at character 0)"),
        ("1", "[iU]", "[arb'U]", "[iU] does not convert to [arb'U]: it is [iU], not [arb'U] (at character 0)"),
        ("-1", "1", "B", "-1 has no value on that scale (at character 0)"),
    ] {
        assert_eq!(converted(value, from, to), expected, "{value} {from} in {to}");
    }
}

#[test]
fn errors_say_what_would_be_right() {
    let many = "m.".repeat(128);
    for (code, offset, message) in [
        ("", 0, "an empty text is no unit; the unit of a plain number is 1"),
        ("mg/ dL", 3, "only printable ASCII characters stand in a code, and no blanks"),
        ("µg", 0, "only printable ASCII characters stand in a code, and no blanks"),
        ("mmhg", 0, "there is no unit mmhg"),
        ("mIU/L", 0, "there is no unit mIU; m[iU] is one"),
        ("MM", 0, "there is no unit MM; Mm is one"),
        ("g/12h", 2, "after the number 12 comes . or /; write 12.h"),
        ("k[lb_av]", 0, "there is no unit k[lb_av]: [lb_av] takes no prefix"),
        ("m--2", 2, "expected the digits of an exponent"),
        ("m1000", 1, "an exponent is 999 at most"),
        ("m/(s.g", 2, "( without )"),
        ("m)", 1, ") without ("),
        ("m.", 2, "expected a unit, not the end"),
        ("m{a", 1, "{ without }"),
        ("m{a{b}}", 1, "annotations do not nest"),
        ("{a}m", 3, "unexpected m; units are joined by . or /"),
        ("m/0", 2, "a factor is a positive integer"),
        ("Ym999", 0, "the factor is too large"),
        ("Ym99.Ym99", 5, "the factor is too large"),
        (&many, 256, "expected a unit, not the end"),
        (&many[..255], 0, ""),
    ] {
        match validate(code) {
            Ok(()) => assert_eq!(message, "", "{code}"),
            Err(error) => assert_eq!((error.offset, &*error.message), (offset, message), "{code}"),
        }
    }
    let deep = format!("{}m{}", "(".repeat(33), ")".repeat(33));
    assert_eq!(validate(&deep).map_err(|error| error.message), Err("nested deeper than 32".to_owned()));
    assert!(validate(&deep[1..66]).is_ok());
    for code in ["Cel/min", "Cel2", "m.B", "Cel.Cel", "/Cel"] {
        assert!(validate(code).is_ok(), "{code} is well formed");
        assert!(base("1", code).starts_with("a special unit"), "{code} does not convert");
    }
    assert_eq!(base("370", "Cel/10{reading}"), "310.15 K");
    assert!(base("5000", "[pH]").starts_with("the value is outside"));
    assert!(base("1e4999", "Mg").starts_with("the number has too many digits"));
}

#[test]
fn functional_tests() {
    let Some(file) = test_data("ucum/UcumFunctionalTests.subset.xml") else { return };
    let text = std::fs::read_to_string(file).expect("readable");
    let mut failures = Vec::new();
    let mut run = std::collections::BTreeMap::<String, usize>::new();
    for (group, case) in cases(&text) {
        *run.entry(group.clone()).or_default() += 1;
        let outcome = match &*group {
            "validation" => check_validity(&case),
            "displayNameGeneration" => check(&case, "unit", display(&case["unit"]), &case["display"]),
            "conversion" => {
                let value = convert(&decimal(&case["value"]), &case["srcUnit"], &case["dstUnit"]);
                let expected = decimal(&case["outcome"]);
                check(&case, "srcUnit", value.map(|value| shortened(&value, &expected)), &expected.to_string())
            }
            "multiplication" => check_result(&case, multiply),
            "division" => check_result(&case, divide),
            other => Err(format!("no such group: {other}")),
        };
        failures.extend(outcome.err().map(|reason| format!("{} {}: {reason}", group, case["id"])));
    }
    println!("{run:?}");
    assert!(failures.is_empty(), "{} fail\n{}", failures.len(), failures.join("\n"));
    let counts: Vec<_> = run.into_iter().collect();
    let expected =
        [("conversion", 18), ("displayNameGeneration", 5), ("division", 2), ("multiplication", 2), ("validation", 274)];
    assert_eq!(counts, expected.map(|(group, count)| (group.to_owned(), count)));
}

type Case = HashMap<String, String>;

fn check_validity(case: &Case) -> Result<(), String> {
    let valid = case["valid"] == "true";
    match validate(&case["unit"]) {
        Ok(()) if valid => Ok(()),
        Err(error) if !valid => {
            // The reasons name the wrong part: `iU needs [] around it`, `not a valid unit (12h - should be 12.h)`.
            let Some(reason) = case.get("reason") else { return Ok(()) };
            let bracketed = reason.split(['(', ')']).nth(1).unwrap_or(reason);
            let part = bracketed.split(' ').next().unwrap_or_default();
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            let named = if digits.is_empty() { part.to_owned() } else { format!("{digits}.{}", &part[digits.len()..]) };
            if error.message.contains(&named) { Ok(()) } else { Err(format!("{error} does not name {named}")) }
        }
        other => Err(format!("{}: {other:?}", case["unit"])),
    }
}

fn check(case: &Case, unit: &str, found: Result<String, UcumError>, expected: &str) -> Result<(), String> {
    match found {
        Ok(found) if found == expected => Ok(()),
        other => Err(format!("{}: {other:?} instead of {expected}", case[unit])),
    }
}

/// HL7's reference rounds to the significant digits of the operands; where it shows fewer than we have, so do we.
fn shortened(value: &Decimal, expected: &Decimal) -> String {
    let digits = expected.as_str().trim_start_matches(['0', '.', '-']).bytes().filter(u8::is_ascii_digit).count();
    if value == expected || digits >= 24 {
        return if value == expected { expected.to_string() } else { value.to_string() };
    }
    let number = value.as_str().parse::<f64>().expect("a number");
    format!("{number:.*}", expected.decimal_places().max(0) as usize)
}

type Combine = fn((&Decimal, &str), (&Decimal, &str)) -> Result<Canonical, UcumError>;

fn check_result(case: &Case, combine: Combine) -> Result<(), String> {
    let (left, right) = (decimal(&case["v1"]), decimal(&case["v2"]));
    let result = combine((&left, &case["u1"]), (&right, &case["u2"]));
    let unit = if case["uRes"].is_empty() { "1" } else { &case["uRes"] };
    let expected = canonical(&decimal(&case["vRes"]), unit);
    if result.is_ok() && result == expected { Ok(()) } else { Err(format!("{result:?} instead of {expected:?}")) }
}

fn cases(text: &str) -> Vec<(String, Case)> {
    let mut reader = Reader::from_str(text);
    let (mut group, mut cases) = (String::new(), Vec::new());
    loop {
        match reader.read_event().expect("well formed") {
            Event::Start(start) | Event::Empty(start) if start.name().as_ref() == "case" => {
                let attributes = start.attributes().map(|attribute| {
                    let attribute = attribute.expect("well formed");
                    (attribute.key.as_ref().to_owned(), attribute.value.to_string())
                });
                cases.push((group.clone(), attributes.collect()));
            }
            Event::Start(start) => start.name().as_ref().clone_into(&mut group),
            Event::Eof => return cases,
            _ => {}
        }
    }
}

fn test_data(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TRIBUTARY_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let file = root.join(name);
    if !file.exists() {
        println!("skipped: {} is not here", file.display());
        return None;
    }
    Some(file)
}

proptest! {
    #[test]
    fn hostile_codes_end_soon(code in r"[\[\](){}./+*^0-9a-zA-Z'%-]{0,300}", value in any::<i64>()) {
        let _ = canonical(&Decimal::from(value), &code);
    }

    #[test]
    fn likely_codes_convert_there_and_back(
        parts in prop::collection::vec(("m|g|s|L|mol|\\[lb_av\\]|min|Pa|\\[pi\\]|kat|K|10\\*", -3_i32..4), 1..6),
        value in 1_i64..1_000_000,
    ) {
        let code = parts.iter().map(|(unit, exponent)| format!("{unit}{exponent}")).collect::<Vec<_>>().join(".");
        let value = Decimal::from(value);
        let found = canonical(&value, &code).unwrap();
        let digits = |value: &Decimal| value.as_str().parse::<f64>().unwrap();
        let back = convert(&found.value, &found.code, &code).unwrap();
        prop_assert!((digits(&back) / digits(&value) - 1.0).abs() < 1e-15, "{back} instead of {value} {code}");
        prop_assert_eq!(canonical(&found.value, &found.code).unwrap(), found);
    }

    #[test]
    fn hostile_terms_end_soon(terms in prop::collection::vec("(Y|y|k|)(\\[pi\\]|m|\\[G\\]|Cel|\\[pH\\]|B|10\\*)-?[0-9]{0,4}", 1..40), value in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?(e-?[0-9]{1,4})?") {
        if let Some(value) = Decimal::parse(&value) {
            let code = terms.join(".");
            let _ = canonical(&value, &code);
            let _ = convert(&value, &terms[0], terms.last().unwrap());
        }
    }
}

/// Every quantity that is written asks for its canonical form.
#[test]
fn repeated_codes_are_quick() {
    let values = ["120", "5.40", "72.5", "0.000125"].map(decimal);
    let codes = ["mm[Hg]", "mmol/L", "kg", "{beats}/min"];
    let round = || {
        let started = std::time::Instant::now();
        for _ in 0..1_000 {
            for (value, code) in values.iter().zip(codes) {
                std::hint::black_box(canonical(value, code)).expect("valid");
            }
        }
        started.elapsed() / 4_000
    };
    let best = (0..10).map(|_| round()).min().unwrap_or_default();
    println!("{best:?} for a canonical form");
    assert!(best < std::time::Duration::from_micros(20), "{best:?}");
}
