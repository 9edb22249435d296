//! Filters on single resources.

use fhir::{array, object};

use super::*;
use crate::entry::Target;
use crate::query::{Circle, Words};

const BASE: &str = "http://server/fhir";

fn place(latitude: &str, longitude: &str) -> Json {
    let number = |text: &str| Json::Number(text.into());
    object! {
        "resourceType": "Location", "id": "a",
        "position": object! { "latitude": number(latitude), "longitude": number(longitude) },
        "partOf": object! { "reference": "Location/top" },
    }
}

#[test]
fn positions_and_circles() {
    let near = |radius: f64| Filter::Near {
        param: "near".to_owned(),
        circle: Circle { latitude: 47.0, longitude: 8.0, radius },
    };
    // A thousandth of a degree of latitude is 111.195 metres.
    for (latitude, radius, expected) in
        [("47.0", 0.0, true), ("47.001", 111.2, true), ("47.001", 111.1, false), ("-47.0", 1e9, true)]
    {
        assert_eq!(matches(&near(radius), &place(latitude, "8.0"), BASE), expected, "{latitude} {radius}");
    }
    assert!(!matches(&near(1e9), &object! { "resourceType": "Location" }, BASE));
}

#[test]
fn words_of_narrative_and_content() {
    let patient = object! {
        "resourceType": "Patient", "id": "p",
        "meta": object! { "versionId": "7", "profile": array!["http://example.org/fhir/Special"] },
        "text": object! {
            "status": "generated",
            "div": "<div title='hid>den'><p>M&#252;ller,&#xA0;<b>Anna</b>-Lena<!-- secret --> &lt;1970&gt;</p></div>",
        },
        "address": array![object! { "city": "Z\u{fc}rich", "line": array!["Weg 5"] }],
    };
    let asked = |place: Words, words: &[&str]| {
        let words = words.iter().map(|it| (*it).to_owned()).collect();
        matches(&Filter::Words { place, words }, &patient, BASE)
    };
    for (words, narrative, content) in [
        (&["muller"][..], true, true),
        (&["anna", "lena", "1970"][..], true, true),
        (&["anna-lena"][..], true, true),
        (&["mulle"][..], false, false),
        (&["hid"][..], false, false),
        (&["secret"][..], false, false),
        (&["zurich"][..], false, true),
        (&["zurich", "nowhere"][..], false, false),
        (&["special"][..], false, true),
        (&["7"][..], false, false),
        (&["patient"][..], false, false),
        (&["-"][..], false, false),
    ] {
        assert_eq!(asked(Words::Narrative, words), narrative, "{words:?}");
        assert_eq!(asked(Words::Content, words), content, "{words:?}");
    }
}

#[test]
fn others_are_out_of_reach() {
    let param = crate::registry::registry().find("Location", "partof").and_then(|it| it.param()).unwrap();
    let to = |id: &str| Target::Local { resource_type: "Location".to_owned(), id: id.to_owned() };
    let hierarchy = |id: &str| Filter::Any {
        param: param.clone(),
        matches: vec![Match::Hierarchy {
            target: to(id),
            parent: Box::new(param.clone()),
            direction: Direction::Below,
        }],
        negated: false,
    };
    let place = place("1", "2");
    assert!(matches(&hierarchy("top"), &place, BASE));
    assert!(!matches(&hierarchy("root"), &place, BASE));
    let chain = Filter::Chain { param: param.clone(), target_type: "Location".to_owned(), filters: Vec::new() };
    assert!(!matches(&chain, &place, BASE));
    let any = |matches: Vec<Match>, negated: bool| Filter::Any { param: param.clone(), matches, negated };
    let plain = any(vec![Match::Reference(to("top"))], false);
    assert!(matches(&Filter::Exact(Box::new(plain.clone())), &place, BASE));
    assert!(!matches(&Filter::Not(Box::new(plain.clone())), &place, BASE));
    assert!(matches(&Filter::Or(vec![chain, plain.clone()]), &place, BASE));
    assert!(!matches(&Filter::Or(Vec::new()), &place, BASE));
    assert!(matches(&Filter::All(Vec::new()), &place, BASE));
    assert!(!matches(&any(vec![Match::Other(Box::new(Match::Reference(to("top"))))], false), &place, BASE));
    assert!(!matches(&plain, &object! { "resourceType": "Patient" }, BASE), "not a parameter of the type");
}

#[test]
fn uris_by_segments() {
    let param = crate::registry::registry().find("ValueSet", "url").and_then(|it| it.param()).unwrap();
    for (has, asked, below, above) in [
        ("http://a/b", "http://a/b", true, true),
        ("http://a/b/c", "http://a/b", true, false),
        ("http://a/b/c", "http://a/b/", true, false),
        ("http://a/bc", "http://a/b", false, false),
        ("http://a", "http://a/b", false, true),
        ("http://a/", "http://a/b", false, true),
        ("urn:oid:1", "urn:oid:1", true, true),
        ("urn:oid:1/2", "urn:oid:1", false, false),
    ] {
        let set = object! { "resourceType": "ValueSet", "url": has };
        for (direction, expected) in [(Direction::Below, below), (Direction::Above, above)] {
            let uri = Match::UriHierarchy { uri: asked.to_owned(), direction };
            let filter = Filter::Any { param: param.clone(), matches: vec![uri], negated: false };
            assert_eq!(matches(&filter, &set, BASE), expected, "{has} {asked} {direction:?}");
        }
    }
}

/// By the table of operators: <https://hl7.org/fhir/R4/search_filter.html#ops>
#[test]
fn operators_of_expressions() {
    let json = |text: &str| Json::parse(text.as_bytes()).unwrap();
    let patient = json(
        r#"{"resourceType":"Patient","name":[{"family":" Öz"}],"gender":"female","birthDate":"2020-01",
        "identifier":[{"system":"http://Mrn","value":"Ab"},{"value":"!"}]}"#,
    );
    let risk = json(
        r#"{"resourceType":"RiskAssessment","prediction":[{"probabilityDecimal":0.40},
        {"probabilityRange":{"low":{"value":0.6}}}]}"#,
    );
    let options =
        crate::parse::Options { base: BASE.to_owned(), default_count: 1, max_count: 1, lenient: false, now: 0 };
    for (resource, expression, expected) in [
        (&patient, "gender eq male or gender eq female and birthdate eq 2021", false),
        (&patient, "gender eq female or (gender eq male and birthdate eq 2021)", true),
        (&patient, "gender eq Female", true),
        (&patient, "identifier eq aB", true),
        (&patient, "identifier eq HTTP://mrn|AB", true),
        (&patient, "identifier eq |ab", false),
        (&patient, "identifier eq HTTP://mrn|", false),
        (&patient, "identifier ne ab", true),
        (&patient, "family gt n", true),
        (&patient, "family ge o and family le oa", true),
        (&patient, "family gt O", false),
        (&patient, "family lt p", true),
        (&patient, "family lt o", false),
        (&patient, "birthdate co 2020-01-31", true),
        (&patient, "birthdate co 2020-01", true),
        (&patient, "birthdate co 2020", false),
        (&patient, "birthdate co 2020-02-01", false),
        (&risk, "probability co 0.404", true),
        (&risk, "probability co 0.395", true),
        (&risk, "probability co 0.405", false),
        (&risk, "probability co 0.55", true),
        (&risk, "probability co 0.54", false),
        (&risk, "probability co 7", true),
    ] {
        let pairs = [("_filter".to_owned(), expression.to_owned())];
        let resource_type = resource.str("resourceType").unwrap();
        let filter = crate::parse::parse(resource_type, &pairs, &options).unwrap().query.filters.remove(0);
        assert_eq!(matches(&filter, resource, BASE), expected, "{expression}");
    }
}

/// <https://hl7.org/fhir/R4/search.html#prefix>: the table, where what the resource has is a range.
#[test]
fn prefixes_compare_ranges() {
    let condition = |range: &str| {
        Json::parse(format!(r#"{{"resourceType":"Condition","onsetRange":{range}}}"#).as_bytes()).unwrap()
    };
    let conditions = [
        condition(r#"{"low":{"value":10},"high":{"value":20}}"#),
        condition(r#"{"low":{"value":10}}"#),
        condition(r#"{"high":{"value":20}}"#),
        condition(r#"{"low":{"value":15},"high":{"value":15.0}}"#),
    ];
    let options =
        crate::parse::Options { base: BASE.to_owned(), default_count: 1, max_count: 1, lenient: false, now: 0 };
    // Found: from 10 to 20, from 10 on, up to 20, 15.
    for (asked, found) in [
        ("eq15", [false, false, false, true]),
        ("eq10", [false, false, false, false]),
        ("eq0e2", [true, false, false, true]),
        ("ne15", [true, true, true, false]),
        ("ne0e2", [false, true, true, false]),
        ("gt15", [true, true, true, false]),
        ("gt20", [false, true, false, false]),
        ("ge20", [true, true, true, false]),
        ("ge21", [false, true, false, false]),
        ("lt10", [false, false, true, false]),
        ("lt15", [true, true, true, false]),
        ("le10", [true, true, true, false]),
        ("le9", [false, false, true, false]),
        ("sa9", [true, true, false, true]),
        ("sa10", [false, false, false, true]),
        ("eb21", [true, false, true, true]),
        ("eb20", [false, false, false, true]),
        ("ap15", [true, true, true, true]),
        ("ap22", [true, true, true, false]),
        ("ap30", [false, true, false, false]),
        ("ap8", [false, false, true, false]),
    ] {
        let pairs = [("onset-age".to_owned(), asked.to_owned())];
        let filter = crate::parse::parse("Condition", &pairs, &options).unwrap().query.filters.remove(0);
        assert_eq!(conditions.each_ref().map(|it| matches(&filter, it, BASE)), found, "{asked}");
    }
}
