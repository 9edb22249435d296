//! `_filter`.

use super::conditions::read;
use super::*;

#[test]
fn expressions() {
    for (resource_type, text, expected) in [
        ("Patient", "gender eq male", "gender=1"),
        ("Patient", r#"given eq "peter" and birthdate ge 2014-10-10"#, "all(given=1 & birthdate=1)"),
        ("Patient", "gender eq male or gender eq female and active eq true", "all(or(gender=1 | gender=1) & active=1)"),
        ("Patient", "gender eq male and active eq true or name eq x", "or(all(gender=1 & active=1) | name=1)"),
        (
            "Patient",
            "gender eq male or (gender eq female and active eq true)",
            "or(gender=1 | all(gender=1 & active=1))",
        ),
        (
            "Patient",
            "active eq true and name eq x and name eq y or gender eq male or gender eq female and not (name eq z)",
            "all(or(all(active=1 & name=1 & name=1) | gender=1 | gender=1) & not(name=1))",
        ),
        (
            "Patient",
            "(gender eq male or gender eq female) and active eq true",
            "all(or(gender=1 | gender=1) & active=1)",
        ),
        ("Patient", "not (gender eq male) and not(active eq true)", "all(not(gender=1) & not(active=1))"),
        (
            "Observation",
            "code eq http://loinc.org|1234-5 and subject.name co \"pet\"",
            "all(code=1 & or(subject>Patient(name=1) | subject>Location(name=1)))",
        ),
        ("Observation", "subject:Patient.organization.name sw x", "subject>Patient(organization>Organization(name=1))"),
        (
            "Observation",
            "subject[gender eq male].general-practitioner re Practitioner/1",
            "subject>Patient(gender=1 & general-practitioner=1)",
        ),
        ("Patient", "birthdate pr true", "birthdate missing false"),
        ("Patient", "birthdate pr false", "birthdate missing true"),
        ("Observation", "value-quantity gt 5.4|http://unitsofmeasure.org|mg", "value-quantity/Canonical=1"),
        ("Observation", "code in http://v and code ni http://w", "all(code=1 & code!=1)"),
        ("Observation", "code ss http://x|a or code sb http://x|a", "or(code=1 | code=1)"),
        ("Patient", "_id eq a and _lastUpdated gt 2020", "all(id a & updated Gt)"),
        ("Patient", "_id ne a", "not(id a)"),
        ("Encounter", "date po 2020", "date=1"),
        ("ValueSet", "url eq http://x/y", "url=1"),
        ("ValueSet", "url eq http://x/y|1", "or(all(url=1 & version=1))"),
        ("ValueSet", "url ne http://x/y|1", "all(url missing false & not(or(all(url=1 & version=1))))"),
        ("ValueSet", "reference eq http://x/y|1", "reference=1"),
        ("Patient", "_lastUpdated pr true and _id pr FALSE", "all(all() & or())"),
    ] {
        assert_eq!(read(resource_type, "_filter", text), expected, "{text}");
    }
}

#[test]
fn additional_names() {
    for (resource_type, text, expected) in [
        (
            "DocumentReference",
            "relatesTo[code eq replaces].target re DocumentReference/1 and status eq current",
            "all(relationship/Value*1 & status=1)",
        ),
        (
            "DocumentReference",
            "relatesTo[code eq replaces or code eq appends].target ne DocumentReference/1",
            "relationship/Value*2",
        ),
        ("DocumentReference", "relatesTo[target re 1].code ne replaces", "relationship/Value*1"),
        ("Group", "characteristic[code eq a].value eq true", "characteristic-value/Value*1"),
        ("Group", "characteristic eq a", "characteristic=1"),
    ] {
        assert_eq!(read(resource_type, "_filter", text), expected, "{text}");
    }
}

#[test]
fn what_refers_to_it() {
    for (resource_type, text, expected) in [
        ("Patient", "_has:Observation:patient:code eq x", "Observation.patient<(code=1)"),
        (
            "Patient",
            "_has:Observation:patient:_has:AuditEvent:entity:agent re Practitioner/1 and active eq true",
            "all(Observation.patient<(AuditEvent.entity<(agent=1)) & active=1)",
        ),
        (
            "Organization",
            "_has:Patient:organization:general-practitioner:Practitioner[active eq true].name eq x",
            "Patient.organization<(general-practitioner>Practitioner(active=1 & name=1))",
        ),
        ("Observation", "patient._has:Condition:patient:code eq x", "patient>Patient(Condition.patient<(code=1))"),
    ] {
        assert_eq!(read(resource_type, "_filter", text), expected, "{text}");
    }
}

#[test]
fn values() {
    let of = |resource_type: &str, text: &str| matches(resource_type, "_filter", text).remove(0);
    let string = |mode, text: &str| Match::String { mode, text: text.to_owned() };
    assert_eq!(of("Patient", r#"family eq "O'Neil, \"Å\"""#), string(StringMode::Equals, "oneil a"));
    assert_eq!(of("Patient", "family ew son"), string(StringMode::EndsWith, "son"));
    assert_eq!(of("Patient", "family ne x"), Match::Other(Box::new(string(StringMode::Equals, "x"))));
    let any_case =
        |system: Option<&str>, code: &str| Match::AnyCase { system: system.map(str::to_owned), code: code.to_owned() };
    assert_eq!(of("Patient", "gender ne male"), Match::Other(Box::new(any_case(None, "male"))));
    assert_eq!(of("Observation", r#"code eq "http://x|a,b$c""#), any_case(Some("http://x"), "a,b$c"));
    assert_eq!(of("Observation", "code eq |a"), any_case(Some(""), "a"));
    assert_eq!(of("Patient", "gender eq HTTP://HL7.org/fhir/administrative-gender|Male"), any_case(Some(""), "Male"));
    assert_eq!(of("Patient", "gender eq http://loinc.org|Male"), any_case(Some("http://loinc.org"), "Male"));
    assert_eq!(of("Observation", "code eq http://x|"), token(Some("http://x"), None));
    assert_eq!(of("Observation", "code eq loinc|8480-6"), of("Observation", "code eq http://loinc.org|8480-6"));
    assert_eq!(of("Observation", "code eq SNOMED|8480-6"), of("Observation", "code eq http://snomed.info/sct|8480-6"));
    assert_eq!(
        of("Observation", "code ss rxnorm|1"),
        of("Observation", "code ss http://www.nlm.nih.gov/research/umls/rxnorm|1")
    );
    assert_eq!(
        of("Observation", "value-quantity eq 5|ucum|mg"),
        of("Observation", "value-quantity eq 5|http://unitsofmeasure.org|mg")
    );
    let system = "http://hl7.org/fhir/document-relationship-type";
    let replaces = format!("relatesTo[code eq {system}|Replaces].target re DocumentReference/1");
    let Filter::Composite { alternatives, .. } =
        query("DocumentReference", &[("_filter", replaces.as_str())]).filters.remove(0)
    else {
        panic!("not a composite")
    };
    assert_eq!(alternatives, [[local("DocumentReference", "1"), any_case(Some(""), "Replaces")]]);
    for (operator, order) in [("gt", Order::After), ("ge", Order::From), ("lt", Order::Before), ("le", Order::UpTo)] {
        assert_eq!(
            of("Patient", &format!("family {operator} \" \u{c9}mile\"")),
            string(StringMode::Initial(order), "emile")
        );
    }
    assert_eq!(of("Encounter", "date co 1970-01-01T00:00:00Z"), Match::Period { low: 0, high: 999_999 });
    assert_eq!(read("RiskAssessment", "_filter", "probability co 0.42"), "exact(probability=1)");
    assert_eq!(of("Observation", "code eq loinc"), any_case(None, "loinc"), "a code, not a namespace");
    let date = |text: &str| match of("Encounter", text) {
        Match::Date(date) => date,
        other => panic!("{other:?}"),
    };
    assert_eq!(date("date po 1970").prefix, Prefix::Ap);
    assert_eq!(
        (date("date po 1970").low, date("date po 1970").high),
        (date("date eq 1970").low, date("date eq 1970").high)
    );
}

#[test]
fn what_is_wrong_is_named_with_its_byte() {
    for (text, byte) in [
        ("", 0),
        ("gender", 6),
        ("gender is male", 7),
        ("gender eq", 9),
        ("gender eq male and", 18),
        ("gender eq male xor gender eq female", 15),
        ("(gender eq male", 15),
        ("gender eq male)", 14),
        ("not gender eq male", 3),
        ("given eq \"peter", 9),
        (r#"given eq "\x""#, 9),
        ("gender eq male and foo eq x", 19),
        ("gender gt male", 7),
        ("gender co male", 7),
        ("organization gt x", 13),
        ("birthdate co gt2020", 0),
        ("birthdate eq yesterday", 0),
        ("organization sw x", 13),
        ("gender.name eq x", 0),
        ("organization[name eq x] eq y", 0),
        ("name:exact eq x", 0),
        ("gender pr maybe", 10),
        ("_id gt x", 4),
        ("_lastUpdated co 2020", 13),
        ("_has:Observation:patient eq x", 0),
        ("_has:Observation:code:code eq x", 0),
        ("_has:Observation:patient:code", 29),
    ] {
        let (_, diagnostics) = refused("Patient", "_filter", text);
        assert!(diagnostics.starts_with(&format!("_filter, byte {byte}:")), "{text}: {diagnostics}");
    }
    for (text, byte) in [
        ("relatesTo pr true", 0),
        ("relatesTo.target re DocumentReference/1", 0),
        ("relatesTo[code eq replaces] pr true", 0),
        ("relatesTo[code eq replaces].target pr true", 35),
        ("relatesTo[code eq replaces].target.status eq current", 0),
        ("relatesTo[not (code eq replaces)].target re 1", 0),
        ("relatesTo[code eq replaces and code eq appends].target re 1", 0),
        ("relatesTo[kind eq replaces].target re 1", 10),
        ("relatesTo[code in http://v].target re 1", 15),
        ("relatesTo[code eq replaces].place re 1", 28),
        ("relatesTo[code eq replaces].code eq appends", 10),
    ] {
        let (_, diagnostics) = refused("DocumentReference", "_filter", text);
        assert!(diagnostics.starts_with(&format!("_filter, byte {byte}:")), "{text}: {diagnostics}");
    }
    let deep = format!("{}gender eq male{}", "(".repeat(60), ")".repeat(60));
    assert_eq!(refused("Patient", "_filter", &deep).0, IssueCode::TooCostly);
    let turning = |turns: usize| format!("gender eq male{}", " and active eq true or gender eq male".repeat(turns));
    assert!(parse("Patient", &pairs(&[("_filter", &turning(7))]), &options()).is_ok());
    assert_eq!(refused("Patient", "_filter", &turning(8)).0, IssueCode::TooCostly);
    let lenient = Options { lenient: true, ..options() };
    assert!(parse("Patient", &pairs(&[("_filter", "foo eq x")]), &lenient).is_err(), "no part is left out");
}
