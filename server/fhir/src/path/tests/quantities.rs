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
