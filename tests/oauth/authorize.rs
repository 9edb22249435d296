//! Tests of `server/src/oauth/authorize.rs`.

use tests::TestServer;

use crate::launch::{
    Browser, REDIRECT_URI, SCOPE, add_app, changed, encode, launch, location, parameter, request, seed,
};

tests::on_both_engines!(
    oa_02_unknown_client_or_redirect_uri_ends_on_a_page_here,
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
        ("prompt", Some("none"), "interaction_required"),
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
    let app = add_app(&server, "public");
    let good = request(&server, &app, SCOPE);
    let mut browser = Browser::new(&server);
    let answer = browser.post("/oauth/authorize", &good).await.expect_status(303);
    assert!(location(&answer).path().ends_with("/oauth/login"));
    let answer = browser.post("/oauth/authorize", &changed(&good, "aud", None)).await.expect_status(303);
    assert_eq!(parameter(&location(&answer), "error").as_deref(), Some("invalid_request"));
}

async fn sm_15_state_comes_back_byte_for_byte(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let state = format!("a b+c%2Bd&e=f#g?h/ü\u{1F600}\"<>'{}", "x".repeat(2000));
    let mut browser = Browser::new(&server);
    let login = browser.ask(&changed(&request(&server, &app, SCOPE), "state", Some(&state))).await;
    let consent = browser.sign_in(&login, &account).await;
    let back = location(&browser.decide(&consent, "allow").await.expect_status(303));
    assert_eq!(parameter(&back, "state"), Some(state));

    let back = launch(&server, &app, &account, SCOPE).await;
    assert_eq!(parameter(&back, "iss").as_deref(), Some(server.origin()), "SM-17");
}
