//! Tests of `resolve()`.

use super::*;

#[test]
fn references_are_resolved_from_where_they_stand() {
    let contained = Json::parse(
        br##"{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"urn:uuid:1","resource":
        {"resourceType":"Observation","contained":[{"resourceType":"Patient","id":"p","active":true,
          "link":[{"other":{"reference":"#"}}]}],
         "subject":{"reference":"#p"},"focus":[{"reference":"#"}],"performer":[{"reference":"Practitioner/2"}]}},
        {"fullUrl":"http://s/Practitioner/2","resource":{"resourceType":"Practitioner","active":false}}]}"##,
    );
    let contained = contained.expect("valid");
    for (expression, expected) in [
        ("Bundle.entry.resource.ofType(Observation).subject.resolve().active", "boolean true"),
        ("Bundle.entry.resource.ofType(Observation).subject.resolve() is Patient", "System.Boolean true"),
        ("Bundle.entry.resource.focus.resolve().type().name", r#"System.String "Observation""#),
        (
            "descendants().ofType(Reference).where(reference = '#').resolve().type().name.distinct()",
            r#"System.String "Observation""#,
        ),
        ("entry.resource.contained.link.other.resolve().subject.resolve().active", "boolean true"),
        ("entry.resource.subject.resolve().link.other.resolve().focus.reference", "string \"#\""),
        ("entry[0].resource.performer.resolve().active", "boolean false"),
        ("'#p'.resolve()", ""),
    ] {
        assert_eq!(result(expression, &contained), expected, "{expression}");
    }
    let bases = Json::parse(
        br#"{"resourceType":"Bundle","type":"collection","entry":[
        {"fullUrl":"http://other/Practitioner/2","resource":{"resourceType":"Practitioner","active":true}},
        {"fullUrl":"http://s/Observation/1","resource":{"resourceType":"Observation","performer":
          [{"reference":"Practitioner/2"},{"reference":"http://other/Practitioner/2"},{"reference":"Practitioner/3"}]}},
        {"fullUrl":"http://s/Practitioner/2","resource":{"resourceType":"Practitioner","active":false}},
        {"fullUrl":"http://other/Practitioner/3","resource":{"resourceType":"Practitioner","active":false}}]}"#,
    );
    let bases = bases.expect("valid");
    for (expression, expected) in [
        ("entry[1].resource.performer.resolve().active", "boolean false, boolean true"),
        ("entry[1].resource.performer[2].resolve() is Practitioner", "System.Boolean true"),
    ] {
        assert_eq!(result(expression, &bases), expected, "{expression}");
    }
    let inner = contained.at(&["entry", "resource", "contained"]).expect("there");
    let observation = contained.at(&["entry", "resource"]).expect("there");
    let resolved = Expression::compile("link.other.resolve().focus.reference").expect("valid");
    let resolved = resolved.evaluate_in(&Environment::new(inner).within(observation)).map(|items| items.len());
    assert_eq!(resolved, Ok(1));
}
