//! What the letter of N1 and of R4's page on FHIRPath says where engines differ. <http://hl7.org/fhirpath/N1>

use super::{Expression, observation, patient, result};

#[test]
fn conforms_to_wants_a_single_item() {
    let observation = observation();
    for (expression, expected) in [
        (
            "component.conformsTo('http://hl7.org/fhir/StructureDefinition/BackboneElement')",
            "error: conformsTo() wants a single item",
        ),
        (
            "component.first().conformsTo('http://hl7.org/fhir/StructureDefinition/BackboneElement')",
            "System.Boolean true",
        ),
        ("bodySite.conformsTo('http://hl7.org/fhir/StructureDefinition/CodeableConcept')", ""),
    ] {
        assert_eq!(result(expression, &observation), expected, "{expression}");
    }
}

#[test]
fn html_checks_judges_narratives_and_nothing_else() {
    let of = |div: &str| {
        let text = format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{div}</div>");
        crate::object! {
            "resourceType": "Patient", "gender": "male",
            "text": crate::object! { "status": "generated", "div": &*text },
        }
    };
    let (harmless, active) = (of("<p>x</p>"), of("<script>alert(1)</script>"));
    for (expression, resource, expected) in [
        ("text.div.htmlChecks()", &harmless, "System.Boolean true"),
        ("text.div.htmlChecks()", &active, "System.Boolean false"),
        ("text.htmlChecks() | gender.htmlChecks() | 'x'.htmlChecks() | language.htmlChecks()", &active, ""),
        ("(text.div | text.status).htmlChecks()", &harmless, "error: htmlChecks() wants a single item"),
    ] {
        assert_eq!(result(expression, resource), expected, "{expression}");
    }
}

/// What expressions without a resource give.
fn all(cases: &[(&str, &str)]) {
    let resource = patient();
    for (expression, expected) in cases {
        assert_eq!(result(expression, &resource), *expected, "{expression}");
    }
}

#[test]
fn equivalent_strings_have_as_many_blanks() {
    all(&[
        (r"'A\tb' ~ 'a b' and 'a\nb' ~ 'a\rb' and 'ΟΔΟΣ' ~ 'οδος'", "System.Boolean true"),
        ("'a b' ~ 'a  b' or 'ab ' ~ 'ab' or ' a' ~ 'a' or 'a b' ~ 'ab'", "System.Boolean false"),
    ]);
}

#[test]
fn integers_have_32_bits_and_overflow_is_empty() {
    all(&[
        ("2147483647 + 1 | -2147483648 - 1 | 65536 * 65536 | 2.power(31) | -(-2147483648) | (-2147483648).abs()", ""),
        ("2147483648.0.truncate() | 2147483647.5.ceiling() | 4294967296.0 div 2 | '2147483648'.toInteger()", ""),
        ("'2147483648'.convertsToInteger() or '-2147483649'.convertsToInteger()", "System.Boolean false"),
        ("2147483646 + 1 | '-2147483648'.toInteger()", "System.Integer 2147483647, System.Integer -2147483648"),
        ("-2147483648 + 2147483647", "System.Integer -1"),
        ("2147483648.0 + 1", "System.Decimal 2147483649.0"),
    ]);
    for (text, offset) in [("1 + 2147483648", 4), ("-2147483649", 1)] {
        assert_eq!(Expression::compile(text).expect_err(text).offset, offset, "{text}");
    }
}

#[test]
fn the_number_of_a_group_ends_where_the_digits_do() {
    all(&[
        ("'abc'.replaceMatches('(a)', '$1x')", r#"System.String "axbc""#),
        ("'A1'.replaceMatches('([A-Z])([0-9])', '$2_$1')", r#"System.String "1_A""#),
        ("'abc'.replaceMatches('(a)(b)', '$2$10$0')", r#"System.String "ba0abc""#),
        ("'abc'.replaceMatches('(a)', '[$$1$9$]${1}é$1')", r#"System.String "[$1$]aéabc""#),
        ("'abc'.replaceMatches('(?<first>a)', '${first}x')", r#"System.String "axbc""#),
    ]);
}

/// N1: "in all other cases this operator returns the empty collection"; its successor says `false`.
#[test]
fn the_type_of_nothing_is_not_told() {
    all(&[("{} is Integer | photo is Attachment | photo.is(Attachment)", ""), ("1 is Integer", "System.Boolean true")]);
}

#[test]
fn equivalent_elements_have_equivalent_children() {
    let coding = |display: &str, code: &str| {
        crate::object! { "system": "http://loinc.org", "code": code, "display": display }
    };
    let part = |id: &str, text: &str, value: &str| {
        crate::object! {
            "id": id, "code": crate::object! { "coding": crate::array![coding(text, "1"), coding("x", id)] },
            "valueQuantity": crate::object! { "value": crate::json::Json::Number(value.into()) },
        }
    };
    let resource = crate::object! {
        "resourceType": "Observation", "status": "final",
        "code": crate::object! { "coding": crate::array![coding("Weight", "1")] },
        "category": crate::array![
            crate::object! { "coding": crate::array![coding("weight of the body", "1"), coding("x", "2")] },
            crate::object! { "coding": crate::array![coding("x", "2")] },
        ],
        "component": crate::array![part("a", "X", "1.0"), part("b", "x", "1.00"), part("a", "X", "2")],
        "note": crate::array![
            crate::object! { "id": "n", "authorString": "Me", "text": "Some WORDS" },
            crate::object! { "text": "some words", "authorString": "me" },
            crate::object! { "text": "some words" },
        ],
    };
    for (expression, expected) in [
        ("code.coding[0] ~ category[0].coding[0] and code.coding[0] != category[0].coding[0]", "true"),
        ("code.coding[0] ~ category[1].coding[0]", "false"),
        ("code ~ category[0] and category[0] ~ category[1]", "true"),
        ("code ~ category[1]", "false"),
        ("component[0] ~ component[1] and component[0] != component[1]", "true"),
        ("component[0] ~ component[2]", "false"),
        ("note[0] ~ note[1]", "true"),
        ("note[1] ~ note[2] or code ~ code.coding", "false"),
        ("note.take(2) ~ (note[1].combine(note[0]))", "true"),
    ] {
        assert_eq!(result(expression, &resource), format!("System.Boolean {expected}"), "{expression}");
    }
}
