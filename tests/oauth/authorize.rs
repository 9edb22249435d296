//! Tests of `server/src/oauth/authorize.rs`.

use tests::TestServer;

use crate::launch::{
    Browser, REDIRECT_URI, SCOPE, add_app, changed, encode, exchange, launch, location, parameter, post, read, request,
    seed, tokens,
};

tests::on_both_engines!(
    oa_02_unknown_client_or_redirect_uri_ends_on_a_page_here,
    oa_01_no_other_redirect_uri_gets_an_answer,
    sm_11_a_form_without_cookie_comes_round_by_a_link,
    sm_14_par_stands_for_its_parameters,
    sm_18_prompt_and_max_age_ask_for_a_new_sign_in,
    sm_18_unknown_parameters_change_nothing,
    sm_23_v1_is_answered_in_v1_and_v2_in_v2,
    sm_08_the_scopes_of_g10_can_be_granted,
    sm_12_sm_13_sm_14_faults_go_back_to_the_app,
    sm_11_get_and_post_are_equal,
    sm_15_state_comes_back_byte_for_byte,
);

async fn oa_02_unknown_client_or_redirect_uri_ends_on_a_page_here(server: TestServer) {
    let app = add_app(&server, "public");
    let good = request(&server, &app, SCOPE);
    let mut twice = good.clone();
    twice.push(("state".to_owned(), "other".to_owned()));
    let cases = [
        changed(&good, "client_id", Some("nobody")),
        changed(&good, "client_id", None),
        changed(&good, "redirect_uri", None),
        changed(&good, "redirect_uri", Some("https://evil.example/callback")),
        changed(&good, "redirect_uri", Some("https://app.example/callback/")),
        changed(&good, "redirect_uri", Some("https://app.example/callback?x=1")),
        twice,
    ];
    for case in cases {
        let answer = server.anonymous().get(&format!("/oauth/authorize?{}", encode(&case))).await;
        assert_eq!(answer.status, 400, "{case:?}");
        assert!(answer.header("location").is_none(), "{case:?}");
        assert!(answer.header("content-security-policy").is_some_and(|it| it.contains("frame-ancestors 'none'")));
    }
}

async fn sm_12_sm_13_sm_14_faults_go_back_to_the_app(server: TestServer) {
    let app = add_app(&server, "public");
    let good = request(&server, &app, SCOPE);
    let cases = [
        ("response_type", Some("token"), "unsupported_response_type"),
        ("response_type", None, "invalid_request"),
        ("aud", None, "invalid_request"),
        ("aud", Some("https://elsewhere.example/fhir"), "invalid_target"),
        ("resource", Some("https://elsewhere.example/fhir"), "invalid_target"),
        ("state", None, "invalid_request"),
        ("code_challenge", None, "invalid_request"),
        ("code_challenge", Some("tooshort"), "invalid_request"),
        ("code_challenge_method", Some("plain"), "invalid_request"),
        ("code_challenge_method", None, "invalid_request"),
        ("scope", Some("patient/Observation.sr"), "invalid_scope"),
        ("scope", Some("system/*.rs"), "invalid_scope"),
        ("scope", Some("patient/Observation.rs?no-such-parameter=1"), "invalid_scope"),
        ("scope", None, "invalid_scope"),
        ("launch", Some("abc"), "invalid_request"),
        ("prompt", Some("none"), "login_required"),
        ("prompt", Some("none login"), "invalid_request"),
        ("max_age", Some("soon"), "invalid_request"),
        ("request", Some("e30.e30."), "invalid_request"),
        ("response_mode", Some("fragment"), "invalid_request"),
    ];
    for (name, value, error) in cases {
        let case = changed(&good, name, value);
        let answer = server.anonymous().get(&format!("/oauth/authorize?{}", encode(&case))).await.expect_status(303);
        let back = location(&answer);
        assert!(back.as_str().starts_with(&format!("{REDIRECT_URI}?")), "{name} {value:?}: {back}");
        assert_eq!(parameter(&back, "error").as_deref(), Some(error), "{name} {value:?}: {back}");
        assert_eq!(parameter(&back, "iss").as_deref(), Some(server.origin()), "SM-17");
        assert!(parameter(&back, "code").is_none());
        let state = (name != "state").then(|| "s-1".to_owned());
        assert_eq!(parameter(&back, "state"), state, "SM-15");
    }
}

async fn sm_11_get_and_post_are_equal(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let good = request(&server, &app, SCOPE);
    let mut browser = Browser::new(&server);
    browser.ask(&good).await.expect_status(200); // now it has a cookie
    let answer = browser.post("/oauth/authorize", &good).await.expect_status(303);
    assert!(location(&answer).path().ends_with("/oauth/login"));
    let login = browser.get(location(&answer).as_str()).await.expect_status(200);
    let consent = browser.sign_in(&login, &account).await.expect_status(200);
    let back = location(&browser.decide(&consent, "allow").await.expect_status(303));
    assert!(parameter(&back, "code").is_some());
    for (name, value) in [("aud", None), ("code_challenge_method", Some("plain")), ("scope", Some("nonsense"))] {
        let bad = changed(&good, name, value);
        let by_form = browser.post("/oauth/authorize", &bad).await.expect_status(303);
        let by_link = browser.get(&format!("/oauth/authorize?{}", encode(&bad))).await.expect_status(303);
        assert_eq!(location(&by_form), location(&by_link), "{name}");
    }
    browser.post("/oauth/authorize", &changed(&good, "client_id", Some("nobody"))).await.expect_status(400);
}

/// Browsers leave a `SameSite=Lax` cookie out of a form on another site: who is signed in stays signed in.
async fn sm_11_a_form_without_cookie_comes_round_by_a_link(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let state = format!("ü+%2B {}", "y".repeat(1500));
    let good = changed(&request(&server, &app, SCOPE), "state", Some(&state));
    let mut browser = Browser::new(&server);
    let login = browser.ask(&good).await.expect_status(200);
    browser.sign_in(&login, &account).await.expect_status(200);
    let without = Browser::new(&server).post("/oauth/authorize", &good).await.expect_status(303);
    assert!(without.header("set-cookie").is_none(), "the session that is there is not replaced");
    let consent = browser.get(location(&without).as_str()).await.expect_status(303);
    assert!(location(&consent).path().ends_with("/oauth/consent"), "still signed in");
    let consent = browser.get(location(&consent).as_str()).await.expect_status(200);
    let back = location(&browser.decide(&consent, "allow").await.expect_status(303));
    assert_eq!(parameter(&back, "state"), Some(state));
}

/// What is not the registered `https://app.example/callback`.
const OTHER_URIS: &[&str] = &[
    "",
    " ",
    "/",
    "callback",
    "/callback",
    "//app.example/callback",
    "https:app.example/callback",
    "https:/app.example/callback",
    "https:///app.example/callback",
    "https://app.example",
    "https://app.example/",
    "https://app.example/callback/",
    "https://app.example/callback//",
    "https://app.example//callback",
    "https://app.example/callback?",
    "https://app.example/callback?x=1",
    "https://app.example/callback#",
    "https://app.example/callback#code",
    "https://app.example/callback;x",
    "https://app.example/callback/..",
    "https://app.example/x/../callback",
    "https://app.example/./callback",
    "https://app.example/call%62ack",
    "https://app.example/callback%2E%2E",
    "https://app.example/callback%252E",
    "https://app.example/callback%00",
    "https://app.example\\callback",
    "https://app.example/callback\t",
    "https://app.example/callback\r\nX: y",
    " https://app.example/callback",
    "https://app.example/callback ",
    "https://app.example/Callback",
    "https://APP.example/callback",
    "HTTPS://app.example/callback",
    "http://app.example/callback",
    "https://app.example./callback",
    "https://app.example:443/callback",
    "https://app.example:8443/callback",
    "https://app.example.evil.example/callback",
    "https://evil.example/https://app.example/callback",
    "https://user@app.example/callback",
    "https://user:password@app.example/callback",
    "https://a@b@app.example/callback",
    "https://app.example@evil.example/callback",
    "https://evil.example\\@app.example/callback",
    "https://www.app.example/callback",
    "https://xn--pp-tia.example/callback",
    "https://аpp.example/callback",
    "https://127.0.0.1/callback",
    "http://localhost/callback",
    "http://[::1]/callback",
    "com.example.app:/callback",
    "urn:ietf:wg:oauth:2.0:oob",
    "javascript:alert(1)",
    "data:text/html,x",
    "file:///callback",
    "https://app.example/callback,https://evil.example/",
    "*",
];

async fn oa_01_no_other_redirect_uri_gets_an_answer(server: TestServer) {
    let app = add_app(&server, "public");
    let good = request(&server, &app, SCOPE);
    assert!(OTHER_URIS.len() >= 55);
    for other in OTHER_URIS.iter().copied() {
        let case = changed(&good, "redirect_uri", Some(other));
        let answer = server.anonymous().get(&format!("/oauth/authorize?{}", encode(&case))).await;
        assert_eq!(answer.status, 400, "{other:?}");
        assert!(answer.header("location").is_none(), "{other:?}");
    }
    let mut twice = good.clone();
    twice.push(("redirect_uri".to_owned(), "https://evil.example/".to_owned()));
    server.anonymous().get(&format!("/oauth/authorize?{}", encode(&twice))).await.expect_status(400);
}

/// RFC 9126: what was pushed is asked, once, by the app that pushed it, whatever else stands in the address.
async fn sm_14_par_stands_for_its_parameters(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "confidential");
    let other = add_app(&server, "public");
    let pairs = request(&server, &app, SCOPE);
    let form: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let pushed = post(&server, &app, "/oauth/par", &form).await.expect_status(201).json();
    let request_uri = pushed.str("request_uri").expect("a request_uri").to_owned();
    let named = |client: &str| {
        vec![
            ("client_id".to_owned(), client.to_owned()),
            ("request_uri".to_owned(), request_uri.clone()),
            ("scope".to_owned(), "patient/*.cruds".to_owned()),
            ("redirect_uri".to_owned(), "https://evil.example/".to_owned()),
        ]
    };
    let foreign = server.anonymous().get(&format!("/oauth/authorize?{}", encode(&named(&other.id)))).await;
    assert_eq!(foreign.status, 400);
    let mut browser = Browser::new(&server);
    let login = browser.ask(&named(&app.id)).await.expect_status(200);
    let consent = browser.sign_in(&login, &account).await.expect_status(200);
    let back = location(&browser.decide(&consent, "allow").await.expect_status(303));
    assert!(back.as_str().starts_with(REDIRECT_URI), "{back}");
    let code = parameter(&back, "code").expect("a code");
    assert_eq!(read(&exchange(&server, &app, &code, &[]).await.expect_status(200)).scope, SCOPE);
    let again = server.anonymous().get(&format!("/oauth/authorize?{}", encode(&named(&app.id)))).await;
    assert_eq!(again.status, 400, "once");
}

async fn sm_18_prompt_and_max_age_ask_for_a_new_sign_in(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let good = request(&server, &app, SCOPE);
    let mut browser = Browser::new(&server);
    let login = browser.ask(&good).await.expect_status(200);
    browser.sign_in(&login, &account).await.expect_status(200);
    let next = async |browser: &mut Browser<'_>, name: &str, value: &str| {
        let asked = changed(&good, name, Some(value));
        location(&browser.get(&format!("/oauth/authorize?{}", encode(&asked))).await.expect_status(303))
    };
    for (name, value, page) in [
        ("prompt", "consent", "/oauth/consent"),
        ("prompt", "login", "/oauth/login"),
        ("prompt", "consent login", "/oauth/login"),
        ("prompt", "select_account", "/oauth/login"),
        ("max_age", "3600", "/oauth/consent"),
        ("max_age", "0", "/oauth/login"),
        ("login_hint", "ada", "/oauth/consent"),
    ] {
        let to = next(&mut browser, name, value).await;
        assert_eq!(to.path(), page, "{name}={value}");
    }
    let silent = next(&mut browser, "prompt", "none").await;
    assert_eq!(parameter(&silent, "error").as_deref(), Some("consent_required"));
    // consent cannot be reached round the new sign-in
    let login = next(&mut browser, "prompt", "login").await;
    let round = login.as_str().replace("/oauth/login", "/oauth/consent");
    let sent = browser.get(&round).await.expect_status(303);
    assert!(location(&sent).path().ends_with("/oauth/login"));
}

async fn sm_18_unknown_parameters_change_nothing(server: TestServer) {
    let app = add_app(&server, "public");
    let mut asked = request(&server, &app, SCOPE);
    for name in ["extra", "ui_locales", "display", "claims_locales", "acr_values", "nonce"] {
        asked.push((name.to_owned(), "foobar".to_owned()));
    }
    let sent = Browser::new(&server).get(&format!("/oauth/authorize?{}", encode(&asked))).await.expect_status(303);
    assert!(location(&sent).path().ends_with("/oauth/login"));
}

async fn sm_23_v1_is_answered_in_v1_and_v2_in_v2(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    for scope in [
        "launch/patient patient/Observation.read patient/Condition.write patient/Patient.*",
        "launch/patient patient/Observation.rs patient/Condition.cud patient/Patient.cruds",
        "patient/Observation.read patient/Observation.c patient/Patient.rs", // both: the union
    ] {
        assert_eq!(tokens(&server, &app, &account, scope).await.scope, scope);
    }
}

/// What Inferno's g10 suite asks for, each granted as it was asked.
async fn sm_08_the_scopes_of_g10_can_be_granted(server: TestServer) {
    const TYPES: [&str; 18] = [
        "AllergyIntolerance",
        "CarePlan",
        "CareTeam",
        "Condition",
        "Coverage",
        "DiagnosticReport",
        "DocumentReference",
        "Goal",
        "Immunization",
        "MedicationDispense",
        "MedicationRequest",
        "Observation",
        "Patient",
        "Procedure",
        "Provenance",
        "ServiceRequest",
        "Specimen",
        "Location",
    ];
    const SHARED: &str =
        "patient/Medication.rs patient/Organization.rs patient/Practitioner.rs patient/PractitionerRole.rs";
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let of = |level: &str| TYPES.map(|name| format!("{level}/{name}.rs")).join(" ");
    let standalone = format!("launch/patient openid fhirUser offline_access {SHARED} {}", of("patient"));
    assert_eq!(tokens(&server, &app, &account, &standalone).await.scope, standalone);
    let user = format!("openid fhirUser offline_access {} {}", SHARED.replace("patient/", "user/"), of("user"));
    assert_eq!(tokens(&server, &app, &account, &user).await.scope, user);
    let v1 = standalone.replace(".rs", ".read");
    assert_eq!(tokens(&server, &app, &account, &v1).await.scope, v1);
}

async fn sm_15_state_comes_back_byte_for_byte(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let long = format!("a b+c%2Bd&e=f#g?h/ü\u{1F600}\"<>'{}", "x".repeat(2000));
    for state in [long.as_str(), "+", "%2B", "%", " ", "%25%32%42", "a\r\nLocation: https://evil.example/", "0"] {
        for decision in ["allow", "deny"] {
            let mut browser = Browser::new(&server);
            let login = browser.ask(&changed(&request(&server, &app, SCOPE), "state", Some(state))).await;
            let consent = browser.sign_in(&login, &account).await;
            let back = location(&browser.decide(&consent, decision).await.expect_status(303));
            assert_eq!(parameter(&back, "state").as_deref(), Some(state), "{decision}");
            assert_eq!(parameter(&back, "iss").as_deref(), Some(server.origin()), "SM-17");
        }
        let bad = changed(&changed(&request(&server, &app, SCOPE), "state", Some(state)), "aud", None);
        let back = location(&server.anonymous().get(&format!("/oauth/authorize?{}", encode(&bad))).await);
        assert_eq!(parameter(&back, "state").as_deref(), Some(state), "in errors too");
    }

    let back = launch(&server, &app, &account, SCOPE).await;
    assert_eq!(parameter(&back, "iss").as_deref(), Some(server.origin()), "SM-17");
}
