//! Tests of what expressions may cost.

use super::*;

#[test]
fn in_18_bounds() {
    let resource = patient();
    for text in [
        format!("{}1{}", "(".repeat(500), ")".repeat(500)),
        format!("{}1", "-".repeat(500)),
        format!("1{}", "+1".repeat(5_000)),
        format!("1{}", " is Integer".repeat(5_000)),
        format!("a{}", "[a".repeat(5_000)),
        "x".repeat(100_000),
        "a.matches('(a{1000}){1000}')".to_owned(),
    ] {
        assert!(Expression::compile(&text).is_err(), "{}", &text[..20]);
    }
    let started = Instant::now();
    for text in [
        "(0|1|2|3|4|5|6|7|8|9).aggregate($total.combine($total).combine($total).combine($total).combine($total).combine($total).combine($total).combine($total), (0|1|2|3|4|5))",
        "1.repeat($this + 1)",
        "(1|2|3|4|5|6|7|8|9|10|11|12|13|14|15|16|17|18|19|20|21|22|23|24|25).aggregate($total & $total, 'x')",
        "(1|2|3|4|5|6|7|8|9|10|11|12|13).aggregate($total.replaceMatches('x', 'xxxxxxxxxx'), 'x')",
    ] {
        let compiled = Expression::compile(text).expect(text);
        assert_eq!(compiled.evaluate(&resource).map(|items| items.len()), Err(EvaluationError::TooCostly), "{text}");
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // Long, but flat.
    for text in [format!("a{}", ".a".repeat(5_000)), format!("1{}", "|1".repeat(5_000))] {
        let compiled = Expression::compile(&text).expect("flat");
        assert!(compiled.evaluate(&resource).is_ok());
    }
}

fn refused(expression: &str, resource: &Json) {
    let compiled = Expression::compile(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let started = Instant::now();
    assert_eq!(compiled.evaluate(resource).map(|items| items.len()), Err(EvaluationError::TooCostly), "{expression}");
    assert!(started.elapsed() < Duration::from_secs(10), "{expression}: {:?}", started.elapsed());
}

#[test]
fn long_texts_cost_more_than_short_ones() {
    let given = vec!["\"x\""; 300].join(",");
    let patient = format!(r#"{{"resourceType":"Patient","name":[{{"given":[{given}]}}]}}"#);
    let patient = Json::parse(patient.as_bytes()).expect("valid");
    let compared = "name.given.take(21).aggregate(iif($index < 20, $total & $total,
        iif(%resource.name.given.select(%resource.name.given.where($total OPERATOR $total).count()).count() > 0, 'z', '')), 'x')";
    for operator in ["=", "~", "!=", "<=", "in", "&"] {
        refused(&compared.replace("OPERATOR", operator), &patient);
    }
    for condition in
        ["($total | $total & 'a').exists()", "($total | $total).sort().exists()", "$total.toBoolean().empty()"]
    {
        refused(&compared.replace("$total OPERATOR $total", condition), &patient);
    }
    let long = "x".repeat(4_000_000);
    let contacts = format!(r#"[{{"name":{{"text":"{long}"}}}},{{"name":{{"text":"{long}"}}}}]"#);
    let patient = format!(r#"{{"resourceType":"Patient","name":[{{"given":[{given}]}}],"contact":{contacts}}}"#);
    let patient = Json::parse(patient.as_bytes()).expect("valid");
    for operand in ["contact[0].name.text = %resource.contact[1].name.text", "contact[0] = %resource.contact[1]"] {
        refused(&format!("name.given.select(%resource.name.given.where(%resource.{operand}).count())"), &patient);
    }
}

#[test]
fn every_step_counts() {
    let given = vec!["\"x\""; 300].join(",");
    let patient = format!(r#"{{"resourceType":"Patient","name":[{{"given":[{given}]}}]}}"#);
    let patient = Json::parse(patient.as_bytes()).expect("valid");
    for step in ["[0]".repeat(5_000), ".tail()".repeat(250), ".as(string)".repeat(2_000), ".$this".repeat(4_000)] {
        refused(&format!("name.given.select(%resource.name.given.select($this{step}))"), &patient);
    }
    let totals = vec!["$total.first()"; 2_000].join("|");
    refused(&format!("name.given.aggregate(iif($index < 8, $total.combine($total), {totals}), 1|2|3)"), &patient);
}

#[test]
fn thousands_of_items_can_be_distinct() {
    let entries: Vec<String> = (0..2_000)
        .map(|id| {
            format!(r#"{{"fullUrl":"urn:{id}","resource":{{"resourceType":"Group","id":"i{id}","quantity":{id}}}}}"#)
        })
        .collect();
    let bundle = format!(r#"{{"resourceType":"Bundle","type":"collection","entry":[{}]}}"#, entries.join(","));
    let bundle = Json::parse(bundle.as_bytes()).expect("valid");
    for (expression, expected) in [
        ("entry.fullUrl.isDistinct()", "System.Boolean true"),
        ("entry.fullUrl.distinct().count()", "System.Integer 2000"),
        ("(entry.fullUrl | entry.resource.id).count()", "System.Integer 4000"),
        ("entry.resource.id.intersect(entry.resource.id).count()", "System.Integer 2000"),
        ("entry.resource.id.exclude(entry.resource.id.tail()).count()", "System.Integer 1"),
        ("entry.resource.id.subsetOf(entry.descendants())", "System.Boolean true"),
        ("entry.resource.distinct().count()", "System.Integer 2000"),
        ("(entry.resource | entry.resource.quantity | entry.resource.id).count()", "System.Integer 6000"),
        ("repeat(entry.resource.quantity | entry).count()", "System.Integer 4000"),
        ("entry.resource.quantity.select(@2020-01-01 + $this * 1 day).distinct().count()", "System.Integer 2000"),
        ("entry.select(@2020-01-01T00:00:00Z + $index * 1 minute).isDistinct()", "System.Boolean true"),
    ] {
        assert_eq!(result(expression, &bundle), expected, "{expression}");
    }
}

/// Those of many are found by what equal ones have in common.
#[test]
fn the_same_items_are_equal_among_few_and_among_many() {
    let pairs = Json::parse(
        br#"{"resourceType":"Parameters","parameter":[
        {"name":"a","valueCoding":{"system":"s","code":"c"}},{"name":"b","valueCoding":{"code":"c","system":"s"}},
        {"name":"c","valueCoding":{"code":"c"}},{"name":"d","valueDecimal":1.0},{"name":"e","valueInteger":1},
        {"name":"f","valueDate":"2020-01-01"},{"name":"g","valueDateTime":"2020-01-01"},{"name":"h","valueDate":"2020"},
        {"name":"i","valueString":"1"},{"name":"j","valueBoolean":true},{"name":"k","valueString":"true"},
        {"name":"l","_valueString":{"id":"x"}},{"name":"m","_valueString":{"id":"x"}},{"name":"n","_valueString":{"id":"y"}}]}"#,
    );
    let pairs = pairs.expect("valid");
    let many: Vec<String> = (100..120).map(|number| format!("'{number}'")).collect();
    let values = "parameter.value | 1 '1' | 1.00 | 1000 'mg' | 1 'g' | @2020-01-01 | 'true'";
    assert_eq!(result(&format!("({values}).count()"), &pairs), "System.Integer 11");
    assert_eq!(result(&format!("({} | {values}).count()", many.join("|")), &pairs), "System.Integer 31");
    assert_eq!(result(&format!("({values} | {}).count()", many.join("|")), &pairs), "System.Integer 31");
}

#[test]
fn dates_are_equal_among_few_and_among_many() {
    let patient = Json::parse(br#"{"resourceType":"Patient","birthDate":"2020-01-01"}"#).expect("valid");
    let same = "@2020-01-01T10:00:00Z | @2020-01-01T12:00:00.000+02:00 | @2020-01-01T10:00:00.0Z \
                | @2020-01-01 | birthDate | @T10:00:00 | @T10:00:00.000 | @2020-01-01T10:00Z | @2020-01-01T11:00+01:00";
    let other =
        "@2020-01-01T10:00:00 | @2020 | @2020-01 | @T10:00 | @2020-01-01T10:00:01Z | @2020-01-01T10 | @2020-01-01T";
    let many: Vec<String> = (10..40).map(|second| format!("@2020-05-05T10:00:{second}Z")).collect();
    let few = result(&format!("({same} | {other}).count()"), &patient);
    let rest = many.join("|");
    assert_eq!(result(&format!("({same}).count()"), &patient), "System.Integer 4");
    let count = |text: &str| text.rsplit(' ').next().and_then(|it| it.parse::<usize>().ok()).expect("a number");
    for text in [format!("({rest} | {same} | {other}).count()"), format!("({same} | {other} | {rest}).count()")] {
        assert_eq!(count(&result(&text, &patient)), count(&few) + many.len(), "{text}");
    }
}

#[test]
fn patterns_of_an_expression_are_bounded_together() {
    let many = |pattern: &str, count| vec![format!("'a'.matches('{pattern}')"); count].join("|");
    for (pattern, count) in [
        ("^[A-Z][a-z0-9-]*$", 60),
        (r"^\\d{4}(-\\d{2}(-\\d{2})?)?$", 12),
        (r"\\w+@\\w+\\.\\w+", 3),
        (r"(?i)smith", 100),
        (r"(?i)^[a-z]+$", 7),
        // The largest of R4's own, that of eld-19.
        (
            r#"[^\\s\\.,:;\\\'\"\\/|?!@#$%&*()\\[\\]{}]{1,64}(\\.[^\\s\\.,:;\\\'\"\\/|?!@#$%&*()\\[\\]{}]{1,64}(\\[x\\])?(\\:[^\\s\\.]+)?)*"#,
            2,
        ),
    ] {
        let compiled = Expression::compile(&many(pattern, count));
        assert!(compiled.is_ok(), "{pattern}: {:?}", compiled.err());
    }
    let started = Instant::now();
    for (pattern, count) in
        [(r"\\w{20}", 1), (r"\\w{8}", 1_000), (r"(?i)[\\x{0}-\\x{10ffff}]", 1_000), (r"[^\\w\\W]", 2_500), ("x", 3_000)]
    {
        let error = Expression::compile(&many(pattern, count)).expect_err(pattern);
        assert!(error.message.contains("pattern"), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn patterns_that_are_made_cost_what_their_machines_cost() {
    let given = vec!["\"abc\""; 1_000].join(",");
    let patient = format!(r#"{{"resourceType":"Patient","name":[{{"given":[{given}]}}]}}"#);
    let patient = Json::parse(patient.as_bytes()).expect("valid");
    assert_eq!(result(r"name.given.where($this.matches('^\\w+' & '$')).count()", &patient), "System.Integer 1000");
    assert_eq!(
        result("name.given.where('a'.matches('[' & $index.toString() & ']')).count()", &patient),
        "System.Integer 0"
    );
    refused(r"name.given.where('a'.matches('\\w{6}' & $index.toString())).count()", &patient);
    refused(r"name.given.where('a'.matches('(?i)[\\x{0}-\\x{10ffff}]' & $index.toString())).count()", &patient);
    // Texts that keep all states of a machine at work, and of which each match needs the rest.
    let binary = "%resource.name.given.take(16).aggregate($total & $total, '01')";
    refused(&format!("name.given.where({binary}.matches('[01]*1[01]{{100}}x')).exists()"), &patient);
    let letters = "(1|2|3|4|5|6|7|8|9|10|11|12|13|14|15|16).aggregate($total & $total, 'A')";
    refused(&format!("{letters}.replaceMatches('.*[^A-Z]|[A-Z]', 'y')"), &patient);
    assert_eq!(
        result("'<p>a</p>'.replaceMatches('<[^>]*>', '').replaceMatches('(a)', '$1$1')", &patient),
        "System.String \"aa\""
    );
}

#[test]
fn what_people_write_is_not_refused() {
    let words = "some words  of a note ".repeat(500);
    let patient = Json::parse(format!(r#"{{"resourceType":"Patient","name":[{{"text":"{words}"}}]}}"#).as_bytes());
    let patient = patient.expect("valid");
    for (expression, expected) in [
        (r"'123.45.6789 (ab)'.matches('(?i)^\\d{3}\\.\\d{2}\\.\\d{4}\\s+\\(\\w+\\)$')", "System.Boolean true"),
        (r"name.text.replaceMatches('\\s+', ' ').length()", "System.Integer 10500"),
        (r"name.text.replaceMatches('\\w+', 'x').length() < 10000", "System.Boolean true"),
    ] {
        assert_eq!(result(expression, &patient), expected, "{expression}");
    }
}
