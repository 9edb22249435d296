//! Transitions of an authorization.

use super::*;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).expect("valid scopes")
}

fn request(text: &str) -> Request {
    Request {
        client_id: "app".to_owned(),
        redirect_uri: "https://app.example/cb".to_owned(),
        scopes: scopes(text),
        state: "s".to_owned(),
        challenge: Challenge::of(VERIFIER),
        audience: "https://server.example/fhir".to_owned(),
        nonce: None,
        login_hint: None,
        launch: None,
    }
}

fn person(user_id: &str) -> Person {
    Person { user_id: user_id.to_owned(), fhir_user: FhirUser::parse("Patient/p1") }
}

fn signed_in(text: &str) -> Authorization {
    Authorization::Requested(request(text)).sign_in(person("u1")).expect("first to sign in")
}

#[test]
fn sm_28_only_what_was_asked_and_ticked_is_given() {
    let ticked = scopes("patient/Observation.rs patient/Condition.rs offline_access");
    let approved =
        signed_in("patient/Observation.rs patient/Patient.r").approve(&ticked, LaunchContext::of_patient("p1"));
    let Ok(Authorization::Approved { terms, .. }) = approved else { panic!("{approved:?}") };
    assert_eq!(terms.scopes().to_string(), "patient/Observation.rs");
    assert_eq!(terms.context().patient.as_deref(), Some("p1"));
    assert!(!terms.is_renewable());
}

#[test]
fn sm_31_terms_that_must_not_exist() {
    let terms = |holder: Holder, text: &str, patient: Option<&str>| {
        let context = LaunchContext { patient: patient.map(str::to_owned), ..LaunchContext::default() };
        Terms::new(holder, scopes(text), context).map(|_| ())
    };
    let nobody = || Holder::Person(Person { user_id: "u".to_owned(), fhir_user: None });
    for holder in [Holder::Person(person("u")), Holder::Service, Holder::Operator] {
        assert_eq!(terms(holder.clone(), "patient/*.rs", None), Err(TermsError::PatientMissing));
        assert_eq!(terms(holder, "launch/patient", None), Err(TermsError::PatientMissing));
    }
    for holder in [nobody(), Holder::Service, Holder::Operator] {
        assert_eq!(terms(holder, "user/*.rs", Some("p")), Err(TermsError::UserMissing));
    }
    assert_eq!(terms(Holder::Person(person("u")), "system/*.rs", None), Err(TermsError::SystemForPerson));
    assert_eq!(terms(Holder::Service, "", None), Err(TermsError::Empty));
    assert_eq!(terms(Holder::Service, "offline_access", None), Err(TermsError::Empty));
    assert_eq!(terms(Holder::Person(person("u")), "user/*.rs", None), Ok(()));
    assert_eq!(terms(Holder::Operator, "patient/*.rs", Some("p")), Ok(()));
    assert_eq!(terms(Holder::Service, "system/*.cruds", None), Ok(()));
}

#[test]
fn oa_16_who_began_to_answer_is_who_answers() {
    let error = signed_in("patient/*.rs").sign_in(person("u2")).expect_err("another person");
    assert_eq!(error.code, ErrorCode::AccessDenied);
    assert!(signed_in("patient/*.rs").sign_in(person("u1")).is_ok());
}

#[test]
fn answers_are_given_once() {
    let all = scopes("patient/*.rs");
    let patient = || LaunchContext::of_patient("p1");
    assert!(Authorization::Requested(request("patient/*.rs")).approve(&all, patient()).is_err(), "nobody signed in");
    let approved = signed_in("patient/*.rs").approve(&all, patient()).expect("approved");
    assert!(approved.clone().approve(&all, patient()).is_err());
    assert!(approved.deny("no").is_err());
    let denied = signed_in("patient/*.rs").deny("no").expect("denied");
    assert!(denied.approve(&all, patient()).is_err());
}

#[test]
fn sm_47_a_code_is_bound_to_all_it_was_issued_with() {
    let code = Code {
        client_id: "app".to_owned(),
        redirect_uri: "https://app.example/cb".to_owned(),
        challenge: Challenge::of(VERIFIER),
        expires_at: 100,
        used_at: None,
    };
    let good = Presented { client_id: "app", redirect_uri: Some("https://app.example/cb"), verifier: Some(VERIFIER) };
    assert_eq!(code.clone().redeem(good, 99), Redemption::Accepted);
    let spent = Code { used_at: Some(1), ..code.clone() };
    assert_eq!(spent.clone().redeem(good, 99), Redemption::Replayed);
    let challenge = code.challenge.to_string();
    let bad = [
        Presented { client_id: "other", ..good },
        Presented { redirect_uri: None, ..good },
        Presented { redirect_uri: Some("https://app.example/cb/"), ..good },
        Presented { verifier: None, ..good },
        Presented { verifier: Some(""), ..good },
        Presented { verifier: Some(&challenge), ..good },
        Presented { verifier: Some("wrong-wrong-wrong-wrong-wrong-wrong-wrong-wrong"), ..good },
    ];
    for presented in bad {
        assert!(matches!(code.clone().redeem(presented, 99), Redemption::Refused(_)), "{presented:?}");
        // OA-04: such a replay revokes nothing
        assert!(matches!(spent.clone().redeem(presented, 99), Redemption::Refused(_)), "{presented:?}");
    }
    assert!(matches!(code.redeem(good, 100), Redemption::Refused(_)), "expired");
}

#[test]
fn sm_54_refresh_keeps_or_narrows() {
    let refresh = || Refresh {
        client_id: "app".to_owned(),
        scopes: scopes("patient/*.rs offline_access"),
        expires_at: 100,
        used_at: None,
    };
    assert_eq!(refresh().rotate("app", None, 1), Rotation::Accepted(scopes("patient/*.rs offline_access")));
    let narrow = scopes("patient/Observation.r");
    assert_eq!(refresh().rotate("app", Some(&narrow), 1), Rotation::Accepted(narrow));
    for wide in ["patient/*.cruds", "user/*.rs", "patient/*.rs launch/patient"] {
        let Rotation::Refused(error) = refresh().rotate("app", Some(&scopes(wide)), 1) else { panic!("{wide}") };
        assert_eq!(error.code, ErrorCode::InvalidScope);
    }
}

/// What a refresh token lives: from its making, and never longer than its grant.
fn expiry(made: i64, grant_ends: i64) -> i64 {
    std::cmp::min(grant_ends, made + lifetime::REFRESH_IDLE)
}

#[test]
fn sm_55_a_refresh_token_lives_three_months_and_each_use_renews_it() {
    let refresh = |made: i64| Refresh {
        client_id: "app".to_owned(),
        scopes: scopes("patient/*.rs offline_access"),
        expires_at: expiry(made, lifetime::GRANT),
        used_at: None,
    };
    let accepted = |made: i64, now: i64| matches!(refresh(made).rotate("app", None, now), Rotation::Accepted(_));
    assert!(accepted(0, 89 * DAY) && !accepted(0, 91 * DAY));
    let mut made = 0;
    while made + 89 * DAY < lifetime::GRANT {
        assert!(accepted(made, made + 89 * DAY), "day {}", made / DAY + 89);
        made += 89 * DAY;
    }
    assert!(made > 200 * DAY);
    assert!(!accepted(made, lifetime::GRANT), "OA-09: a grant ends, however often it is renewed");
}

#[test]
fn oa_08_a_superseded_refresh_token_is_reuse() {
    let late = lifetime::REFRESH_GRACE + 2;
    let refresh =
        Refresh { client_id: "app".to_owned(), scopes: scopes("patient/*.rs"), expires_at: i64::MAX, used_at: Some(1) };
    assert_eq!(refresh.clone().rotate("app", None, late), Rotation::Reused);
    assert_eq!(Refresh { expires_at: 10, ..refresh.clone() }.rotate("app", None, late), Rotation::Reused);
    assert!(matches!(refresh.rotate("other", None, late), Rotation::Refused(_)), "a stranger's guess revokes nothing");
}

#[test]
fn oa_08_a_lost_answer_can_be_asked_for_again_within_a_minute() {
    let refresh = || Refresh {
        client_id: "app".to_owned(),
        scopes: scopes("patient/*.rs"),
        expires_at: i64::MAX,
        used_at: Some(1),
    };
    let all = scopes("patient/*.rs");
    for now in [1, 2, lifetime::REFRESH_GRACE + 1] {
        assert_eq!(refresh().rotate("app", None, now), Rotation::Repeated(all.clone()), "{now}");
    }
    let wide = refresh().rotate("app", Some(&scopes("patient/*.cruds")), 2);
    assert!(matches!(wide, Rotation::Refused(_)), "{wide:?}");
    let expired = Refresh { expires_at: 2, ..refresh() };
    assert!(matches!(expired.rotate("app", None, 2), Rotation::Refused(_)));
}

#[test]
fn fhir_users_are_patients_and_practitioners() {
    assert_eq!(FhirUser::parse("Patient/p1").map(|user| user.to_string()), Some("Patient/p1".to_owned()));
    for text in
        ["", "Patient", "Patient/", "Patient/../x", "Device/1", "patient/1", "https://x/Patient/1", "Patient/a/b"]
    {
        assert_eq!(FhirUser::parse(text), None, "{text}");
    }
}
