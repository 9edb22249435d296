//! Tests of FHIRPath: a table of cases, every expression of R4, HL7's suite, and the bounds.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

mod bounds;
mod quantities;
mod references;
mod specification;
mod suite;

fn patient() -> Json {
    Json::parse(
        br##"{"resourceType":"Patient","id":"p1","active":true,
        "contained":[{"resourceType":"Organization","id":"o","name":"Org"}],
        "extension":[{"url":"http://x.org/age","valueAge":{"value":5}}],
        "identifier":[{"system":"urn:a","value":"1"},{"system":"urn:b","value":"2"}],
        "name":[{"use":"official","family":"Chalmers","given":["Peter","James"]},{"use":"usual","given":["Jim",null],
          "_given":[null,{"extension":[{"url":"http://x.org/e","valueString":"why"}]}]}],
        "birthDate":"1974-12-25","_birthDate":{"extension":[{"url":"http://x.org/t","valueDateTime":"1974-12-25T14:35:45-05:00"}]},
        "gender":"male","deceasedBoolean":false,"multipleBirthInteger":2,
        "managingOrganization":{"reference":"#o"},
        "generalPractitioner":[{"reference":"Practitioner/1"},{"reference":"https://else.where/fhir/Organization/2/_history/3"},
          {"reference":"urn:uuid:1","type":"Practitioner"},{"display":"nobody"}]}"##,
    )
    .expect("valid")
}

fn observation() -> Json {
    Json::parse(
        br#"{"resourceType":"Observation","id":"bp","meta":{"lastUpdated":"2026-01-02T03:04:05.678901Z"},"status":"final",
        "category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}],
        "code":{"coding":[{"system":"http://loinc.org","code":"85354-9"}],"text":"Blood pressure"},
        "subject":{"reference":"Patient/p1"},"effectiveDateTime":"2026-01-02T03:04:05Z",
        "valueQuantity":{"value":185.0,"unit":"lbs","system":"http://unitsofmeasure.org","code":"[lb_av]"},
        "component":[{"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":120,"unit":"mm[Hg]"}},
         {"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},"valueCodeableConcept":{"text":"low"}}]}"#,
    )
    .expect("valid")
}

/// The result as the types and JSON of its items.
fn result(expression: &str, resource: &Json) -> String {
    let compiled = Expression::compile(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    match compiled.evaluate(resource) {
        Ok(items) => {
            let shown: Vec<String> = items.iter().map(|item| format!("{} {}", item.type_name(), item.json())).collect();
            shown.join(", ")
        }
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn paths_and_types_on_a_patient() {
    let patient = patient();
    for (expression, expected) in [
        ("Patient.id", r#"id "p1""#),
        ("Resource.id", r#"id "p1""#),
        ("Observation.id", ""),
        ("name.family", r#"string "Chalmers""#),
        ("Patient.name.given", r#"string "Peter", string "James", string "Jim", string null"#),
        ("Patient.name.given.extension('http://x.org/e').value", r#"string "why""#),
        ("name[1].given[0]", r#"string "Jim""#),
        ("Patient.birthDate", r#"date "1974-12-25""#),
        ("birthDate.extension('http://x.org/t').value", r#"dateTime "1974-12-25T14:35:45-05:00""#),
        ("Patient.deceased", "boolean false"),
        ("Patient.deceased.as(dateTime)", ""),
        ("(Patient.deceased as boolean)", "boolean false"),
        ("Patient.deceased.exists() and Patient.deceased != false", "System.Boolean false"),
        ("Patient.multipleBirth", "integer 2"),
        ("Patient.deceasedBoolean", ""),
        ("gender is code", "System.Boolean true"),
        ("gender.is(string)", "System.Boolean true"),
        ("gender.as(string)", ""),
        ("gender.value & birthDate.value.toString()", r#"System.String "male1974-12-25""#),
        (
            "active.children() | birthDate.children().where($this is Date)",
            r#"System.Boolean true, System.Date "1974-12-25""#,
        ),
        ("birthDate.descendants().count()", "System.Integer 6"),
        ("name.given.last().value", ""),
        (
            "name.first().given.as(System.string) | gender as String",
            r#"System.String "Peter", System.String "James", System.String "male""#,
        ),
        ("multipleBirth as System.String", ""),
        ("name.given.ofType(System.String)", ""),
        ("extension.value is Age", "System.Boolean true"),
        ("extension.value is Quantity", "System.Boolean true"),
        ("Patient is DomainResource", "System.Boolean true"),
        ("Patient.identifier.where(system = 'urn:b').value", r#"string "2""#),
        ("Patient.managingOrganization.resolve().name", r#"string "Org""#),
        ("Patient.generalPractitioner.where(resolve() is Practitioner).count()", "System.Integer 2"),
        ("Patient.generalPractitioner.where(resolve() is Organization).reference.count()", "System.Integer 1"),
        ("Patient.generalPractitioner.where(resolve() is Patient)", ""),
        ("contained.ofType(Organization).name", r#"string "Org""#),
        ("contained.name", r#"string "Org""#),
        ("name.select(given.first() | family)", r#"string "Peter", string "Chalmers", string "Jim""#),
        ("name.given.where($index = 1)", r#"string "James""#),
        ("birthDate.hasValue()", "System.Boolean true"),
        ("name.given.last().hasValue()", "System.Boolean false"),
        ("descendants().where($this is Extension).url.count()", "System.Integer 3"),
        ("Patient.children().count() > 5", "System.Boolean true"),
        ("%resource.id = id and %context.id = id", "System.Boolean true"),
        ("birthDate <= @1974-12-25 and birthDate > @1974-12", ""),
        ("gender.type().name", r#"System.String "code""#),
        ("unknown.member", ""),
        ("Patient.active.not()", "System.Boolean false"),
    ] {
        assert_eq!(result(expression, &patient), expected, "{expression}");
    }
}

#[test]
fn paths_and_types_on_an_observation() {
    let observation = observation();
    for (expression, expected) in [
        ("Observation.value.unit", r#"string "lbs""#),
        ("Observation.value as Quantity > 180 '[lb_av]'", "System.Boolean true"),
        ("(Observation.value as Period).start", ""),
        ("(Observation.component.value as Quantity).value", "decimal 120"),
        ("Observation.component.value.ofType(CodeableConcept).text", r#"string "low""#),
        ("Observation.component.first() is BackboneElement", "System.Boolean true"),
        (
            "Observation.code.coding.code | Observation.component.code.coding.code",
            r#"code "85354-9", code "8480-6", code "8462-4""#,
        ),
        ("Observation.subject.where(resolve() is Patient)", r#"Reference {"reference":"Patient/p1"}"#),
        ("Resource.meta.lastUpdated", r#"instant "2026-01-02T03:04:05.678901Z""#),
        ("Observation.effective", r#"dateTime "2026-01-02T03:04:05Z""#),
        ("value = 185 '[lb_av]'", "System.Boolean true"),
        ("value.value * 2", "System.Decimal 370.0"),
        ("component.value.is(Quantity)", "error: is and as want a single item; ofType() takes several"),
    ] {
        assert_eq!(result(expression, &observation), expected, "{expression}");
    }
}

#[test]
fn language() {
    let resource = patient();
    for (expression, expected) in [
        ("1 + 2 * 3 - 4", "System.Integer 3"),
        ("-1.convertsToInteger()", "error: a sign wants a number"),
        ("7 div 2 & ''", "error: Integer where text is wanted"),
        ("1 / 4", "System.Decimal 0.25"),
        ("1 / 0", ""),
        ("1.20 = 1.2", "System.Boolean true"),
        ("'a' & {} & 'b'", r#"System.String "ab""#),
        ("{} and false", "System.Boolean false"),
        ("{} implies {}", ""),
        ("2 in (1 | 2) and (1 | 2) contains 3 = false", "System.Boolean false"),
        ("@2024-02-29 + 1 year", r#"System.Date "2025-02-28""#),
        ("@2024-01-31 + 1 month", r#"System.Date "2024-02-29""#),
        ("@2024-01-01T00:00:00Z - 1 second", r#"System.DateTime "2023-12-31T23:59:59Z""#),
        ("@T23:30 + 45 minutes", r#"System.Time "00:15""#),
        ("@2020-01-01T00:00:00Z + 500 milliseconds", r#"System.DateTime "2020-01-01T00:00:00.500Z""#),
        ("@2020-01-01T00:00:00.0Z + 0.25 seconds", r#"System.DateTime "2020-01-01T00:00:00.250Z""#),
        ("@2020-01-01T00:00:00.50Z + 1.5 seconds", r#"System.DateTime "2020-01-01T00:00:02.00Z""#),
        ("@2020-01-01T00:00:00Z + 1.0000005 seconds", r#"System.DateTime "2020-01-01T00:00:01Z""#),
        ("@2020-01-01T00:00:00Z + 0.0005 seconds", r#"System.DateTime "2020-01-01T00:00:00.000500Z""#),
        ("@2020-01-01T00:00Z + 30 seconds", r#"System.DateTime "2020-01-01T00:00Z""#),
        ("(@2020-01-01T00:00:00.5 + 1 millisecond).toString()", r#"System.String "2020-01-01T00:00:00.501""#),
        ("@T12:00:00 + 0.5 seconds", r#"System.Time "12:00:00.500""#),
        ("@T12:00:00 + 500 milliseconds = @T12:00:00.5", "System.Boolean true"),
        ("@2020 = @2020-01", ""),
        ("4 'g' = 4000 'mg' and 1 week = 7 days", "System.Boolean true"),
        ("37 'Cel' = 98.6 '[degF]' and 1 'mmol/L' < 1 'mol/L' and 1 year > 11 months", "System.Boolean true"),
        ("1 'kg' = 1 'm' or 1 year = 1 'a' or 1 'xyz' = 2 'abc'", ""),
        (
            "(2 'm' + 3 'cm').toString() & ', ' & (1 'h' - 1 minute).toString()",
            r#"System.String "203 'cm', 59 minute""#,
        ),
        ("(1.5 'g' * 2 'm' / 3 's').toString()", r#"System.String "1 'g.m.s-1'""#),
        ("iif(true, 1, 1 / 'a')", "System.Integer 1"),
        ("(1 | 2 | 3).aggregate($total + $this, 0)", "System.Integer 6"),
        ("'abc'.matches('^a.c$') and 'xabc'.matchesFull('abc').not()", "System.Boolean true"),
        ("'abc'.replaceMatches('b(.)', '[$1]')", r#"System.String "a[c]""#),
        ("'größe'.substring(2, 2).upper()", r#"System.String "ÖSS""#),
        ("'a,b'.split(',').join(';')", r#"System.String "a;b""#),
        ("'12'.toInteger() + '1.5'.toDecimal()", "System.Decimal 13.5"),
        (
            "'4 days'.toQuantity()",
            r#"System.Quantity {"value":4,"unit":"day","system":"http://hl7.org/fhirpath/CodeSystem/calendar-units","code":"day"}"#,
        ),
        ("(3 | 1 | 2).sort(-$this).first()", "System.Integer 3"),
        ("01.5 + 00.5 + 007", "System.Decimal 9.0"),
        ("0.5 + 00 + 0", "System.Decimal 0.5"),
        ("(1 | 2).select($this.$this + 1.$index)", "System.Integer 1, System.Integer 3"),
        ("now()", "error: not supported here: now()"),
        ("'x'.memberOf('http://vs')", "error: not supported here: memberOf()"),
        ("%nothing", "error: there is no %nothing"),
    ] {
        assert_eq!(result(expression, &resource), expected, "{expression}");
    }
}

#[test]
fn syntax_errors_say_where() {
    for (text, offset) in [
        ("", 0),
        ("1 +", 3),
        ("a..b", 2),
        ("a.nope()", 2),
        ("Foo.bar", 0),
        ("a is Nope", 5),
        ("where()", 0),
        ("(a", 2),
        ("a b", 2),
        ("a.matches('(')", 2),
        ("@2020-13-01", 0),
        ("a.$that", 7),
    ] {
        assert_eq!(Expression::compile(text).expect_err(text).offset, offset, "{text}");
    }
}

#[test]
fn strict_evaluation_refuses_what_types_do_not_have() {
    let (patient, observation) = (patient(), observation());
    for (expression, resource) in
        [("name.given1", &patient), ("Encounter.name", &patient), ("Observation.valueQuantity.unit", &observation)]
    {
        let compiled = Expression::compile(expression).expect(expression);
        assert!(compiled.evaluate_in(&Environment::new(resource).strict()).is_err(), "{expression}");
        assert_eq!(compiled.evaluate(resource).map(|items| items.len()), Ok(0), "{expression}");
    }
}

#[test]
fn traces_are_told_and_change_nothing() {
    let patient = patient();
    let told = std::cell::RefCell::new(Vec::new());
    let listener = |name: &str, items: &[Item<'_>]| {
        let texts: Vec<_> = items.iter().map(|item| item.json().to_string()).collect();
        told.borrow_mut().push(format!("{name}: {}", texts.join(", ")));
    };
    let trace = Trace::new(&listener);
    let compiled = Expression::compile("name.trace('names', use & $index.toString()).given.trace('given').count()");
    let compiled = compiled.expect("valid");
    compiled.check("Patient").expect("the projection is of the names");
    let count = compiled.evaluate_in(&Environment::new(&patient).trace(&trace)).expect("evaluates");
    assert_eq!(count[0].to_text().as_deref(), Some("4"));
    let expected = [r#"names: "official0", "usual1""#, r#"given: "Peter", "James", "Jim", null"#];
    assert_eq!(*told.borrow(), expected);
    assert!(result("name.trace('x', 1 / 'a').count()", &patient).starts_with("error"));
    let error = Expression::compile("name.trace('x', gvien)").expect("valid").check("Patient").expect_err("misspelt");
    assert_eq!(error.offset, 16);
}

#[test]
fn all_search_expressions_compile_and_evaluate() {
    let compiled = search_expressions();
    assert!(compiled.len() > 1_300, "{}", compiled.len());
    let Some(examples) = examples() else { return };
    let mut found = 0;
    for example in &examples {
        for (bases, expression) in &compiled {
            if example.str("resourceType").is_some_and(|name| bases.iter().any(|base| base == name)) {
                let items =
                    expression.evaluate(example).unwrap_or_else(|error| panic!("{}: {error}", expression.as_str()));
                assert!(items.iter().all(|item| item.type_name() != "Element"), "{}", expression.as_str());
                found += items.len();
            }
        }
    }
    println!("{found} values in {} examples", examples.len());
    assert!(found > 5_000, "{found}");
}

#[test]
fn all_invariants_compile() {
    let (mut count, mut refused) = (0, std::collections::BTreeSet::new());
    for text in [profiles::structure_definitions_types(), profiles::structure_definitions_resources()] {
        for line in text.lines() {
            let definition = Json::parse(line.as_bytes()).expect("valid");
            for element in definition.get("snapshot").map_or(&[][..], |snapshot| snapshot.list("element")) {
                for constraint in element.list("constraint") {
                    let Some(expression) = constraint.str("expression") else { continue };
                    count += 1;
                    let key = constraint.str("key").unwrap_or_default();
                    let compiled = Expression::compile(expression);
                    let compiled = compiled.unwrap_or_else(|error| panic!("{key}: {expression}: {error}"));
                    let Some(focus_type) = focus_type(element) else { continue };
                    if let Err(error) = compiled.check(focus_type) {
                        refused.insert(format!("{key} on {focus_type}: {error}"));
                    }
                }
            }
        }
    }
    assert!(count > 1_000, "{count}");
    // HL7's mistake: that resource type has a title and no name.
    let expected = "cid-0 on ChargeItemDefinition: ChargeItemDefinition has no element name; near it is date at byte 0";
    assert_eq!(refused.into_iter().collect::<Vec<_>>(), [expected]);
}

/// The type of an element of a definition, if it is a single one.
fn focus_type(element: &Json) -> Option<&str> {
    let path = element.str("path")?;
    match element.list("type") {
        _ if crate::definitions::r4().get(path).is_some() => Some(path),
        [only] => only.str("code"),
        _ => None,
    }
}

/// The check before the evaluation, on the expressions that a server meets most.
#[test]
fn search_expressions_fit_their_types() {
    for (bases, expression) in search_expressions() {
        for base in &bases {
            // Some name several types: `Patient.name | Person.name` is refused on each of them.
            let Err(error) = expression.check(base) else { continue };
            let other = error.message.starts_with("the focus is") && expression.as_str().contains(&**base);
            assert!(other, "{base}: {}: {error}", expression.as_str());
        }
    }
}

#[test]
fn the_check_says_what_was_meant_and_where() {
    for (focus_type, expression, offset, message) in [
        ("Patient", "Patient.nmae", 8, "Patient has no element nmae; near it is name"),
        (
            "Patient",
            "name.where(given.exists() and famly = 'x')",
            30,
            "HumanName has no element famly; near it is family",
        ),
        (
            "Observation",
            "Observation.valueQuantity",
            12,
            "Observation has no element valueQuantity; write value.ofType(Quantity)",
        ),
        ("Observation", "value.as(Period).unit", 17, "Period has no element unit"),
        (
            "Observation",
            "value.unti",
            6,
            "Quantity, CodeableConcept, string or 8 others have no element unti; near it is unit",
        ),
        ("Patient", "Encounter.status", 0, "the focus is Patient, not Encounter"),
        ("Patient", "contact.name.given.count().foo", 27, "System.Integer has no element foo"),
        ("Patient", "identifier.startsWith('x')", 11, "startsWith() wants a string, not Identifier"),
        ("Patient", "name.select(given & family).given", 28, "System.String has no element given"),
        ("Patient", "iif(name, 1, 2)", 0, "iif() wants a single boolean as its first argument"),
        ("Questionnaire", "repeat(item).linkid", 13, "Questionnaire.item has no element linkid; near it is linkId"),
        ("Patient", "name[0].given[zzz]", 14, "Patient has no element zzz"),
    ] {
        let compiled = Expression::compile(expression).expect(expression);
        let error = compiled.check(focus_type).expect_err(expression);
        assert_eq!((error.offset, &*error.message), (offset, message), "{expression}");
    }
    for (focus_type, expression) in [
        ("Patient", "Resource.id | DomainResource.text.status | Patient.contained.name"),
        ("Bundle", "entry.resource.ofType(Patient).name.given"),
        ("Bundle", "entry.resource.where($this is Observation).value.unit"),
        ("Observation", "subject.resolve().name.family"),
        ("Patient", "children().foo.bar | extension('x').value.unit"),
        ("Patient", "name.given.first().extension.value | birthDate.extension.url"),
        ("Unheard", "of.anything"),
        ("Patient", "repeat(repeat(repeat(repeat(repeat(repeat(repeat(repeat(repeat(repeat(children()))))))))))"),
    ] {
        let compiled = Expression::compile(expression).expect(expression);
        assert_eq!(compiled.check(focus_type), Ok(()), "{expression}");
    }
}

#[test]
fn search_expressions_of_an_observation_are_quick() {
    let observation = observation();
    let expressions: Vec<_> =
        search_expressions().into_iter().filter(|(bases, _)| bases.iter().any(|base| base == "Observation")).collect();
    let mut best = Duration::MAX;
    for _ in 0..200 {
        let started = Instant::now();
        for (_, expression) in &expressions {
            std::hint::black_box(expression.evaluate(&observation)).expect("evaluates");
        }
        best = best.min(started.elapsed());
    }
    println!("{} expressions in {best:?}", expressions.len());
    assert!(best < Duration::from_millis(1), "{best:?}");
}

proptest! {
    #[test]
    fn compiling_and_evaluating_never_panics(text in "[a-zA-Z0-9 .()'|@+\\-*/=<>~!{}\\[\\]$%,`:T]{0,40}") {
        if let Ok(expression) = Expression::compile(&text) {
            let _ = expression.evaluate(&patient());
        }
    }

    #[test]
    fn pieces_of_language_never_panic(pieces in proptest::collection::vec(
        prop::sample::select(vec![
            "Patient", "name", "given", ".", "(", ")", "1", "'a'", " = ", " and ", "|", "where(", "$this", "exists()", "[0]",
            "birthDate", " + 1 year", "@2020-01", " is ", "string", "-", "first()", "descendants()", "toString()", "{}", "2147483647",
            "@9999-12-31", " * 2147483647", "lowBoundary(", "1.5", "power(", "substring(", "%resource", ", ", " < ", "repeat(",
        ]), 0..14)) {
        let text = pieces.concat();
        if let Ok(expression) = Expression::compile(&text) {
            let _ = expression.evaluate_in(&Environment::new(&patient()).budget(20_000).now(0));
        }
    }
}

/// The expressions of R4's search parameters with the types they are for.
fn search_expressions() -> Vec<(Vec<String>, Expression)> {
    let text = profiles::search_parameters();
    let parameters = text.lines().map(|line| Json::parse(line.as_bytes()).expect("valid"));
    parameters
        .filter_map(|parameter| {
            let expression = parameter.str("expression")?;
            let compiled = Expression::compile(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
            let bases = parameter.list("base").iter().filter_map(|base| base.as_str().map(str::to_owned)).collect();
            Some((bases, compiled))
        })
        .collect()
}

/// A file of the test data; absent, the test says so and is over.
fn test_data(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TRIBUTARY_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let file = root.join(path);
    if file.exists() {
        return Some(file);
    }
    println!("skipped: {path} (no test data)");
    None
}

fn examples() -> Option<Vec<Json>> {
    let file = std::fs::File::open(test_data("examples/r4-examples.ndjson.gz")?).expect("readable");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("gzip");
    Some(text.lines().map(|line| Json::parse(line.as_bytes()).expect("valid")).collect())
}
