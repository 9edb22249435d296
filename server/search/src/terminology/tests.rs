//! Value sets and hierarchies, written out.

use fhir::json::Json;

use super::*;
use crate::query::Direction;

const ANIMALS: &str = r#"{"resourceType":"CodeSystem","url":"http://a","content":"complete","concept":[
  {"code":"animal","concept":[{"code":"dog","concept":[{"code":"poodle"}]},
     {"code":"cat","property":[{"code":"legs","valueInteger":4}]}]},
  {"code":"wolf","property":[{"code":"subsumedBy","valueCode":"dog"},{"code":"legs","valueInteger":4}]},
  {"code":"plant"}]}"#;

fn sources(sets: &[(&str, &str)]) -> Sources {
    let mut sources = Sources::default();
    sources.insert(Need::CodeSystem("http://a".to_owned()), Json::parse(ANIMALS.as_bytes()).unwrap().into());
    for (url, text) in sets {
        let text = format!(r#"{{"resourceType":"ValueSet","url":"{url}",{text}}}"#);
        sources.insert(Need::ValueSet((*url).to_owned()), Json::parse(text.as_bytes()).unwrap().into());
    }
    sources
}

fn codes(terminology: Terminology, bare: bool, sets: &[(&str, &str)]) -> Result<String, TerminologyError> {
    match expand(&Question { terminology, bare }, &sources(sets))? {
        Expansion::Needs(needs) => Ok(format!("{needs:?}")),
        Expansion::Tokens(tokens) => Ok(tokens
            .iter()
            .map(|token| match token {
                Match::Token { system, code } => {
                    let system = system.as_deref().unwrap_or("?").trim_start_matches("http://");
                    format!("{system}|{}", code.as_deref().unwrap_or("*"))
                }
                other => format!("{other:?}"),
            })
            .collect::<Vec<_>>()
            .join(" ")),
    }
}

#[test]
fn subsumption() {
    for (code, direction, expected) in [
        ("dog", Direction::Below, "a|dog a|poodle a|wolf"),
        ("wolf", Direction::Above, "a|animal a|dog a|wolf"),
        ("plant", Direction::Below, "a|plant"),
    ] {
        let question = Terminology::Subsumed { system: "http://a".to_owned(), code: code.to_owned(), direction };
        assert_eq!(codes(question, false, &[]).unwrap(), expected, "{code}");
    }
    let unknown =
        Terminology::Subsumed { system: "http://a".to_owned(), code: "x".to_owned(), direction: Direction::Below };
    assert!(matches!(codes(unknown, false, &[]), Err(TerminologyError::Invalid(_))));
    let elsewhere =
        Terminology::Subsumed { system: "http://b".to_owned(), code: "x".to_owned(), direction: Direction::Below };
    assert_eq!(codes(elsewhere, false, &[]).unwrap(), r#"[CodeSystem("http://b")]"#);
}

#[test]
fn compositions() {
    let is_a = |op: &str| {
        format!(
            r#""compose":{{"include":[{{"system":"http://a","filter":[{{"property":"concept","op":"{op}","value":"dog"}}]}}]}}"#
        )
    };
    for (text, bare, expected) in [
        (r#""compose":{"include":[{"system":"http://a"}]}"#.to_owned(), false, "a|*"),
        (
            r#""compose":{"include":[{"system":"http://a"}]}"#.to_owned(),
            true,
            "|animal |cat |dog |plant |poodle |wolf a|animal a|cat a|dog a|plant a|poodle a|wolf",
        ),
        (
            r#""compose":{"include":[{"system":"http://a","concept":[{"code":"cat"},{"code":"dog"}]}]}"#.to_owned(),
            false,
            "a|cat a|dog",
        ),
        (is_a("is-a"), false, "a|dog a|poodle a|wolf"),
        (is_a("descendent-of"), false, "a|poodle a|wolf"),
        (is_a("is-not-a"), false, "a|animal a|cat a|plant"),
        (
            r#""compose":{"include":[{"system":"http://a","filter":[{"property":"legs","op":"=","value":"4"}]}]}"#.to_owned(),
            false,
            "a|cat a|wolf",
        ),
        (
            r#""compose":{"include":[{"system":"http://a","filter":[{"property":"code","op":"in","value":"cat, plant"}]}]}"#
                .to_owned(),
            false,
            "a|cat a|plant",
        ),
        (regex("code", "[a-z]{3}"), false, "a|cat a|dog"),
        (regex("code", "p.*t|wolf|o"), false, "a|plant a|wolf"),
        (regex("code", "^d.*"), false, "a|dog"),
        (regex("legs", r"\\d"), false, "a|cat a|wolf"),
        (regex("parent", "dog"), false, "a|poodle a|wolf"),
        (regex("wings", ".*"), false, ""),
        (regex("code", "[a-z]{3}"), true, "|cat |dog a|cat a|dog"),
        (
            r#""compose":{"include":[{"system":"http://a"}],"exclude":[{"system":"http://a","concept":[{"code":"plant"}]}]}"#
                .to_owned(),
            false,
            "a|animal a|cat a|dog a|poodle a|wolf",
        ),
        (
            r#""compose":{"include":[{"system":"http://a","valueSet":["http://two"]},{"valueSet":["http://two"]}]}"#
                .to_owned(),
            false,
            "a|cat b|x",
        ),
        (
            r#""compose":{"include":[{"system":"http://b","filter":[{"property":"x","op":"regex","value":"y"}]}]},
               "expansion":{"total":1,"contains":[{"system":"http://b","code":"y"},
               {"system":"http://b","code":"z","abstract":true,"contains":[{"system":"http://b","code":"w"}]}]}"#
                .to_owned(),
            false,
            "b|w b|y",
        ),
        (r#""compose":{"include":[{"valueSet":["http://nowhere"]}]}"#.to_owned(), false, r#"[ValueSet("http://nowhere")]"#),
    ] {
        let two = r#""compose":{"include":[{"system":"http://a","concept":[{"code":"cat"}]},{"system":"http://b","concept":[{"code":"x"}]}]}"#;
        let sets = [("http://one", text.as_str()), ("http://two", two)];
        assert_eq!(codes(Terminology::ValueSet("http://one".to_owned()), bare, &sets).unwrap(), expected, "{text}");
    }
}

fn regex(property: &str, pattern: &str) -> String {
    let filter = format!(r#"{{"property":"{property}","op":"regex","value":"{pattern}"}}"#);
    format!(r#""compose":{{"include":[{{"system":"http://a","filter":[{filter}]}}]}}"#)
}

#[test]
fn what_cannot_be_listed_says_so() {
    let many: Vec<String> = (0..=MAX_CODES).map(|it| format!(r#"{{"code":"{it}"}}"#)).collect();
    let many = format!(r#""compose":{{"include":[{{"system":"http://a","concept":[{}]}}]}}"#, many.join(","));
    let (unread, large) = (regex("code", "("), regex("code", "(\\\\w{500}){500}"));
    let operator = regex("code", "y").replace(r#""regex""#, r#""like""#);
    let itself = r#""compose":{"include":[{"valueSet":["http://one"]}]}"#;
    for (text, expected) in [
        (many.as_str(), "10000 codes"),
        (unread.as_str(), "regex \"(\""),
        (large.as_str(), "not read"),
        (operator.as_str(), "like"),
        (itself, "imports itself"),
    ] {
        let error = codes(Terminology::ValueSet("http://one".to_owned()), false, &[("http://one", text)]).unwrap_err();
        assert!(error.to_string().contains(expected) && error.to_string().contains("http://one"), "{error}");
    }
}

/// A pattern may be looked for in many texts, but not for ever.
#[test]
fn a_regex_is_bounded() {
    let concepts: Vec<String> =
        (0..2_000).map(|it| format!(r#"{{"code":"{it}","display":"{}"}}"#, "a".repeat(1_000))).collect();
    let system = format!(
        r#"{{"resourceType":"CodeSystem","url":"http://long","content":"complete","concept":[{}]}}"#,
        concepts.join(",")
    );
    let set = regex("display", "(a|b|c){0,900}z").replace("http://a", "http://long");
    let mut sources = sources(&[("http://one", &set)]);
    let system = Json::parse(system.as_bytes()).unwrap();
    sources.insert(Need::CodeSystem("http://long".to_owned()), system.into());
    let question = Question { terminology: Terminology::ValueSet("http://one".to_owned()), bare: false };
    assert!(matches!(expand(&question, &sources), Err(TerminologyError::Slow(_))));
}

/// Of a system that is not known, or not as a whole, nothing can be listed.
#[test]
fn a_regex_needs_all_concepts() {
    let set = regex("code", ".*").replace("http://a", "http://part");
    let mut sources = sources(&[("http://one", &set)]);
    let question = Question { terminology: Terminology::ValueSet("http://one".to_owned()), bare: false };
    let need = Need::CodeSystem("http://part".to_owned());
    assert_eq!(expand(&question, &sources), Ok(Expansion::Needs(vec![need.clone()])));
    let part = br#"{"resourceType":"CodeSystem","url":"http://part","content":"fragment","concept":[{"code":"x"}]}"#;
    sources.insert(need, Json::parse(part).unwrap().into());
    assert!(matches!(expand(&question, &sources), Err(TerminologyError::NotSupported(_))));
}

#[test]
fn questions_are_found_and_answered_wherever_they_stand() {
    let options = crate::parse::Options {
        base: "http://s/fhir".to_owned(),
        default_count: 1,
        max_count: 1,
        lenient: false,
        now: 0,
    };
    let pairs = [("gender:in", "http://one"), ("_has:Observation:patient:code:not-in", "http://one")];
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut query = crate::parse::parse("Patient", &pairs, &options).unwrap().query;
    let questions = asked(&query);
    assert_eq!(questions.iter().map(|it| it.bare).collect::<Vec<_>>(), [true, false]);
    let token = Match::Token { system: Some("http://a".to_owned()), code: Some("cat".to_owned()) };
    let answers: Vec<_> = questions.into_iter().map(|it| (it, vec![token.clone()])).collect();
    assert_eq!(answer(&mut query, &answers, 1), None);
    assert_eq!(asked(&query).len(), 2, "nothing is put where there are too many");
    assert_eq!(answer(&mut query, &answers, 2), Some(2));
    assert_eq!(asked(&query), []);
    assert!(format!("{query:?}").matches("cat").count() == 2);
}
