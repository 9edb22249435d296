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
