//! Quantities: units, conversions, and what FHIR's own become. <http://hl7.org/fhirpath/N1/#quantity>

use super::{Json, patient, result};

/// What expressions without a resource give.
fn all(cases: &[(&str, &str)]) {
    let resource = patient();
    for (expression, expected) in cases {
        assert_eq!(result(expression, &resource), *expected, "{expression}");
    }
}

#[test]
fn to_quantity_converts_by_ucum_on_every_scale() {
    all(&[
        ("(37 'Cel').toQuantity('K').toString()", r#"System.String "310.15 'K'""#),
        (r"'37 \'Cel\''.toQuantity('K').value", "System.Decimal 310.15"),
        ("(98.6 '[degF]').toQuantity('Cel').value", "System.Decimal 37"),
        ("(3 'h').toQuantity('min').value", "System.Decimal 180"),
        ("(3 'h').toQuantity('min') = 180 'min' and 60 's' = (1 'min').toQuantity('s')", "System.Boolean true"),
        ("(1 'min').toQuantity('h').value", "System.Decimal 0.0166666666666666666666667"),
        ("(1 's').toQuantity('a') > 0 'a' and 1 'a' > 1 's'", "System.Boolean true"),
        ("(1 'kg').toQuantity('m')", ""),
        ("(1 'kg').convertsToQuantity('g') and (1 'kg').convertsToQuantity('m').not()", "System.Boolean true"),
    ]);
}

#[test]
fn durations_of_the_calendar_are_equivalent_to_definite_ones_and_convert_when_asked() {
    all(&[
        ("1 year ~ 1 'a' and 12 'mo' ~ 1 year and 1 month ~ 1 'mo' and 1 second ~ 1 's'", "System.Boolean true"),
        ("1 year = 1 'a' or 1 month = 1 'mo' or 1 year = 365 days", ""),
        ("1 year ~ 365 days or 1 year ~ 365.25 days or 1 year ~ 1 'mo'", "System.Boolean false"),
        ("(1 year).toQuantity('day').toString()", r#"System.String "365 day""#),
        ("(1 month).toQuantity('days').toString()", r#"System.String "30 day""#),
        ("(1 year).toQuantity('months').toString()", r#"System.String "12 month""#),
        ("(18 months).toQuantity('year').toString()", r#"System.String "1.5 year""#),
        ("(60 days).toQuantity('month').toString()", r#"System.String "2 month""#),
        ("(1 year).toQuantity('mo').toString()", r#"System.String "12 'mo'""#),
        ("(2 'a').toQuantity('year').toString()", r#"System.String "2 year""#),
        ("(1 day).toQuantity('hours').toString()", r#"System.String "24 hour""#),
        (
            "(1 day).toQuantity('hour')",
            r#"System.Quantity {"value":24,"unit":"hour","system":"http://hl7.org/fhirpath/CodeSystem/calendar-units","code":"hour"}"#,
        ),
        ("(1 year).toQuantity('kg')", ""),
    ]);
}

#[test]
fn nothing_is_computed_with_units_that_do_not_exist() {
    all(&[
        ("1 'foo' = 1 'foo' or 1 'foo' <= 1 'foo' or 1 ' mg' = 1 ' mg'", ""),
        ("1 'foo' ~ 1 'foo'", "System.Boolean false"),
        ("1 'foo' + 1 'foo' | 2 * 1 'foo' | 1 'foo' / 2 | 1 'foo' / 1 'foo'", ""),
        ("(1 'foo').toQuantity('foo')", ""),
        ("(1 'foo').comparable(1 'foo')", "System.Boolean false"),
        ("1 year = 1 year and 1 'month' = 1 'month' and 2 * 1 day = 2 days", "System.Boolean true"),
    ]);
}

#[test]
fn quantities_of_fhir_become_those_of_fhirpath_by_their_ucum_code() {
    let observation = Json::parse(
        br#"{"resourceType":"Observation","id":"q","status":"final","code":{"text":"x"},"effectiveDateTime":"2020-01-01",
        "valueQuantity":{"value":1.00,"unit":"year","system":"http://unitsofmeasure.org","code":"a"},
        "extension":[
        {"url":"mg","valueQuantity":{"value":5,"unit":"mg","system":"http://unitsofmeasure.org","code":"mg"}},
        {"url":"less","valueQuantity":{"value":5,"comparator":"<","unit":"mg","system":"http://unitsofmeasure.org","code":"mg"}},
        {"url":"age","valueAge":{"value":2,"unit":"years","system":"http://unitsofmeasure.org","code":"a"}},
        {"url":"foreign","valueQuantity":{"value":5,"unit":"mg","system":"http://example.org/tab","code":"tbl"}},
        {"url":"words","valueQuantity":{"value":5,"unit":"mg"}},
        {"url":"invalid","valueQuantity":{"value":5,"system":"http://unitsofmeasure.org","code":"lbs"}},
        {"url":"same","valueQuantity":{"code":"lbs","system":"http://unitsofmeasure.org","value":5}},
        {"url":"number","valueQuantity":{"value":5}}]}"#,
    )
    .expect("valid");
    for (expression, expected) in [
        ("effective + value", r#"System.DateTime "2021-01-01""#),
        ("@2020-01-01 + extension('age').value", r#"System.Date "2022-01-01""#),
        ("value = 1 year and value ~ 1 year and value > 11 months and value ~ 1 'a'", "System.Boolean true"),
        ("value = 1 'a'", ""),
        ("value.unit & value.code", r#"System.String "yeara""#),
        ("extension('mg').value = extension('foreign').value", "System.Boolean false"),
        ("extension('mg').value = extension('less').value", "System.Boolean false"),
        ("extension('mg').value = extension('words').value", "System.Boolean false"),
        ("extension('mg').value = 0.005 'g' and extension('number').value = 5", "System.Boolean true"),
        ("extension('foreign').value = 5 'mg' or extension('words').value = 5 'mg'", "System.Boolean false"),
        ("extension('foreign').value > 1 'mg' | extension('words').value + 1 'mg'", ""),
        ("extension('invalid').value = extension('same').value", "System.Boolean true"),
        ("extension('invalid').value > 1 '[lb_av]'", ""),
        ("extension.value.distinct().count()", "System.Integer 7"),
    ] {
        assert_eq!(result(expression, &observation), expected, "{expression}");
    }
}

#[test]
fn products_of_powers_of_one_unit_keep_it() {
    all(&[
        ("(12 'cm' * 3 'cm').toString()", r#"System.String "36 'cm2'""#),
        ("(3 'cm' * 12 'cm2').toString()", r#"System.String "36 'cm3'""#),
        ("(12 'cm2' / 3 'cm').toString()", r#"System.String "4 'cm'""#),
        (
            "(6 'cm-1' * 2 'cm3').toString() & ', ' & (6 'm' / 2 'm+3').toString()",
            r#"System.String "12 'cm2', 3 'm-2'""#,
        ),
        ("(6 'cm' * 2 'cm-1').toString() & ', ' & (6 'cm' / 2 'cm').toString()", r#"System.String "12 '1', 3 '1'""#),
        ("(2 days * 3 'd').toString()", r#"System.String "6 'd2'""#),
        (
            "(2 'cm' * 3 'mm').toString() & ', ' & (6 'mg/dL' * 2 'dL').toString()",
            r#"System.String "0.00006 'm2', 0.012 'g'""#,
        ),
        ("12 'cm' * 3 'cm' = 0.0036 'm2'", "System.Boolean true"),
        ("12 'cm' / 0 'cm2' | 2 'Cel' * 2 'Cel'", ""),
    ]);
}

#[test]
fn a_time_of_day_moves_by_hours_and_less() {
    all(&[
        ("@T12:00:00 + 36 hours", r#"System.Time "00:00:00""#),
        ("@T12:00:00 + 1 day", "error: a time of day moves by hours, minutes, seconds or milliseconds, not by 1 day"),
        ("@T10:00 - 1 week", "error: a time of day moves by hours, minutes, seconds or milliseconds, not by 1 week"),
    ]);
}

#[test]
fn logarithms_that_are_none_are_empty() {
    all(&["10.log(0)", "0.5.log(0.0)", "10.log(-2)", "10.log(1)", "0.ln()", "(-1).log(10)"].map(|text| (text, "")));
}
