//! Scope grammar and algebra.

use proptest::prelude::*;

use super::*;

const VALID: &[&str] = &[
    "openid",
    "fhirUser",
    "launch",
    "launch/patient",
    "launch/encounter",
    "offline_access",
    "online_access",
    "patient/*.rs",
    "patient/Observation.read",
    "patient/Observation.write",
    "user/*.*",
    "system/*.cruds",
    "user/Patient.r",
    "patient/Observation.cud",
    "system/Observation.s",
    "patient/Observation.rs?category=laboratory",
    "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory",
    "patient/Condition.r?category=a,b&code=http%3A%2F%2Floinc.org%7C1-1",
    "user/Observation.rs?_security=R",
];

const INVALID: &[&str] = &[
    "",
    "Openid",
    "fhiruser",
    "launch/",
    "launch/Patient",
    "launch/practitioner",
    "patient/.rs",
    "patient/Foo.rs",
    "patient/observation.rs",
    "Patient/Observation.rs",
    "patient/Observation",
    "patient/Observation.",
    "patient/Observation.dus",
    "patient/Observation.RS",
    "patient/Observation.rr",
    "patient/Observation.sr",
    "patient/Observation.readwrite",
    "patient/Observation.Read",
    "patient/Observation.**",
    "patient/Observation.rs.rs",
    "patient/Observation.rs?",
    "patient/Observation.rs?category",
    "patient/Observation.rs?category=",
    "patient/Observation.rs?=x",
    "patient/Observation.rs?category=a?code=b",
    "patient/Observation.rs?category=a&",
    "patient/Observation.rs?category=a&&code=b",
    "patient/Observation.rs?category:not=a",
    "patient/Observation.rs?subject.name=a",
    "patient/Observation.rs?_include=Observation:subject",
    "patient/Observation.rs?_filter=a",
    "patient/Observation.rs?_has:Group:member:_id=1",
    "patient/Observation.rs?_count=5",
    "patient/Observation.rs?category=a+b",
    "patient/Observation.rs?category=%",
    "patient/Observation.rs?category=%4",
    "patient/Observation.rs?category=%zz",
    "patient/Observation.rs?category=%00",
    "patient/Observation.rs?category=%ff",
    "patient/Observation.read?category=a",
    "patient/*/Observation.rs",
    "group/Observation.rs",
    "patient/Resource.rs",
    "patient/DomainResource.rs",
    " patient/Observation.rs",
    "patient/Observation.rs\n",
    "patient\\Observation.rs",
];

#[test]
fn sm_20_valid_scopes_print_as_they_were_read() {
    for text in VALID {
        let scope = Scope::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(&scope.to_string(), text);
    }
}

#[test]
fn sm_21_undefined_spellings_are_refused() {
    for text in INVALID {
        assert!(Scope::parse(text).is_err(), "{text} was read as {:?}", Scope::parse(text));
    }
}

#[test]
fn sm_22_v1_words_are_their_letters() {
    let letters =
        |text: &str| set(text).resources().flat_map(|scope| scope.rights.iter()).map(Right::letter).collect::<String>();
    assert_eq!(letters("patient/Observation.read"), "rs");
    assert_eq!(letters("patient/Observation.write"), "cud");
    assert_eq!(letters("patient/Observation.*"), "cruds");
}

#[test]
fn sm_23_spelling_is_kept() {
    let ceiling = set("patient/*.cruds");
    let narrowed = |text: &str| set(text).narrowed_to(&ceiling).to_string();
    assert_eq!(narrowed("patient/Observation.read"), "patient/Observation.read");
    assert_eq!(narrowed("patient/Observation.rs"), "patient/Observation.rs");
    assert_eq!(set("patient/Observation.*").narrowed_to(&set("patient/*.c")).to_string(), "patient/Observation.c");
}

#[test]
fn sm_28_narrowing_meets_in_the_middle() {
    let narrowed = |asked: &str, ceiling: &str| set(asked).narrowed_to(&set(ceiling)).to_string();
    assert_eq!(
        narrowed("patient/*.rs openid", "patient/Observation.r patient/Condition.cruds"),
        "patient/Observation.r patient/Condition.rs"
    );
    assert_eq!(narrowed("patient/*.rs", "user/*.rs"), "");
    assert_eq!(
        narrowed("patient/Observation.r?category=a", "patient/*.r?code=b"),
        "patient/Observation.r?category=a&code=b"
    );
    assert_eq!(narrowed("launch/patient offline_access", "launch/patient"), "launch/patient");
}

#[test]
fn oa_33_scope_text_is_bounded() {
    assert_eq!(ScopeSet::parse(&"openid ".repeat(101)), Err(ScopeError::TooMany));
    assert_eq!(ScopeSet::parse(&"x".repeat(5000)), Err(ScopeError::TooMany));
    assert_eq!(ScopeSet::parse("openid  openid fhirUser").map(|set| set.to_string()), Ok("openid fhirUser".to_owned()));
}

#[test]
fn sm_21_unknown_scopes_are_dropped_not_bent() {
    let (known, unknown) =
        ScopeSet::parse_known("patient/Observation.rs patient/Observation.sr foo").expect("short enough");
    assert_eq!(known.to_string(), "patient/Observation.rs");
    assert_eq!(unknown, ["patient/Observation.sr", "foo"]);
}

/// The formal model: a set of scopes is the set of (level, type, letter, conditions) that it gives. A resource that
/// satisfies some conditions satisfies each subset of them.
fn gives(set: &ScopeSet, level: Level, resource_type: &str, right: Right, satisfied: &[(String, String)]) -> bool {
    set.resources().any(|scope| {
        scope.level == level
            && scope.types.contains(resource_type)
            && scope.rights.contains(right)
            && scope.constraint.pairs().iter().all(|pair| satisfied.contains(pair))
    })
}

/// Level, type, right, and the conditions that the resource at hand satisfies.
type World = (Level, &'static str, Right, Vec<(String, String)>);

fn worlds() -> Vec<World> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut worlds = Vec::new();
    for level in [Level::Patient, Level::User, Level::System] {
        for resource_type in ["Observation", "Condition", "Patient"] {
            for right in Right::ALL {
                for satisfied in [vec![], vec![pair("category", "a")], vec![pair("category", "a"), pair("code", "b")]] {
                    worlds.push((level, resource_type, right, satisfied));
                }
            }
        }
    }
    worlds
}

fn scope_text() -> impl Strategy<Value = String> {
    let level = prop_oneof![Just("patient"), Just("user"), Just("system")];
    let types = prop_oneof![Just("*"), Just("Observation"), Just("Condition"), Just("Patient")];
    let letters = (1_u8..32).prop_map(|bits| {
        Right::ALL.into_iter().filter(|right| bits & (1 << *right as u8) != 0).map(Right::letter).collect::<String>()
    });
    let v1 = prop_oneof![Just("read"), Just("write"), Just("*")].prop_map(str::to_owned);
    let condition = prop_oneof![Just(""), Just("?category=a"), Just("?code=b"), Just("?category=a&code=b")];
    prop_oneof![
        (level.clone(), types.clone(), letters, condition).prop_map(|(l, t, r, c)| format!("{l}/{t}.{r}{c}")),
        (level, types, v1).prop_map(|(l, t, r)| format!("{l}/{t}.{r}")),
    ]
}

fn scopes() -> impl Strategy<Value = ScopeSet> {
    proptest::collection::vec(scope_text(), 0..5).prop_map(|texts| set(&texts.join(" ")))
}

proptest! {
    #[test]
    fn sm_20_parse_of_print_is_identity(set in scopes()) {
        prop_assert_eq!(ScopeSet::parse(&set.to_string()), Ok(set));
    }

    #[test]
    fn sm_28_narrowing_gives_what_both_give(asked in scopes(), ceiling in scopes()) {
        let narrowed = asked.narrowed_to(&ceiling);
        for (level, resource_type, right, satisfied) in worlds() {
            let both = gives(&asked, level, resource_type, right, &satisfied)
                && gives(&ceiling, level, resource_type, right, &satisfied);
            prop_assert_eq!(gives(&narrowed, level, resource_type, right, &satisfied), both);
        }
        prop_assert!(narrowed.is_covered_by(&asked) && narrowed.is_covered_by(&ceiling));
        prop_assert_eq!(ScopeSet::parse(&narrowed.to_string()), Ok(narrowed));
    }

    /// SM-21: one changed character either is refused or is itself a defined spelling, read to the letter.
    #[test]
    fn sm_21_mutations_are_never_read_as_something_near(
        text in scope_text(), at in any::<prop::sample::Index>(), with in any::<char>(), how in 0..3,
    ) {
        let mut letters: Vec<char> = text.chars().collect();
        let at = at.index(letters.len());
        match how {
            0 => letters[at] = with,
            1 => letters.insert(at, with),
            _ => { letters.remove(at); }
        }
        let mutated: String = letters.into_iter().collect();
        if let Ok(scope) = Scope::parse(&mutated) {
            prop_assert_eq!(scope.to_string(), mutated);
        }
    }

    #[test]
    fn sm_20_the_parser_is_total(text in any::<String>()) {
        if let Ok((known, unknown)) = ScopeSet::parse_known(&text) {
            prop_assert!(known.iter().all(|scope| text.contains(&scope.to_string())));
            prop_assert!(unknown.iter().all(|word| text.contains(word.as_str())));
        }
    }
}

fn set(text: &str) -> ScopeSet {
    ScopeSet::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}
