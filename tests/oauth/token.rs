//! Tests of `server/src/oauth/token.rs`.

use tests::{Answer, TestServer};

use crate::launch::{App, SCOPE, add_app, error, exchange, launch, parameter, post, read, refresh, seed, tokens};

tests::on_both_engines!(
    sm_31_sm_45_sm_46_a_launch_gives_one_patients_data,
    sm_47_oa_05_a_code_is_bound_to_all_it_was_issued_with,
    oa_04_a_code_that_comes_again_withdraws_what_came_of_it,
    oa_04_parallel_exchange_gives_one_token,
    oa_08_a_refresh_token_that_comes_again_withdraws_the_family,
    sm_53_a_confidential_client_authenticates_at_refresh_too,
    sm_54_refresh_may_narrow_but_not_widen,
    sm_54_a_refused_refresh_spends_nothing,
    in_11_nul_is_refused,
    oa_11_grant_types_are_those_of_the_client,
    sm_67_a_backend_service_gets_its_own_scopes,
    sm_48_sm_49_what_the_resource_server_refuses,
    oa_06_no_artefact_passes_for_another,
);

fn assert_uncached(answer: &Answer) {
    assert_eq!(answer.header("cache-control"), Some("no-store"), "SM-45");
    assert_eq!(answer.header("pragma"), Some("no-cache"), "SM-45");
}

async fn code(server: &TestServer, app: &App) -> String {
    let account = crate::launch::add_account(server, &format!("u{}", app.id), Some("Patient/p1"));
    parameter(&launch(server, app, &account, SCOPE).await, "code").expect("a code")
}

async fn sm_31_sm_45_sm_46_a_launch_gives_one_patients_data(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let back = launch(&server, &app, &account, "launch/patient patient/Patient.read openid fhirUser").await;
    let answer = exchange(&server, &app, &parameter(&back, "code").expect("a code"), &[]).await.expect_status(200);
    assert_uncached(&answer);
    let body = answer.json();
    assert_eq!(body.str("token_type"), Some("Bearer"));
    assert_eq!(body.get("expires_in").and_then(|it| it.as_number()), Some("3600"));
    assert_eq!(body.str("scope"), Some("launch/patient patient/Patient.read"), "SM-23: v1 asked, v1 returned");
    assert_eq!(body.str("patient"), Some("p1"));
    assert!(body.get("refresh_token").is_none(), "SM-52");
    let client = server.anonymous().with_token(body.str("access_token").expect("a token"));
    client.get("Patient/p1").await.expect_status(200);
    client.get("Patient/p2").await.expect_status(404);
    assert_eq!(client.matches("Patient").await, ["p1"]);
}

async fn sm_47_oa_05_a_code_is_bound_to_all_it_was_issued_with(server: TestServer) {
    seed(&server).await;
    let (app, other) = (add_app(&server, "public"), add_app(&server, "public"));
    let code = code(&server, &app).await;
    let wrong = [
        [("code_verifier", "")],
        [("code_verifier", "wrong-wrong-wrong-wrong-wrong-wrong-wrong-wrong")],
        [("code_verifier", crate::launch::CHALLENGE)],
        [("redirect_uri", "")],
        [("redirect_uri", "https://app.example/other")],
    ];
    for changes in &wrong {
        let answer = exchange(&server, &app, &code, changes).await.expect_status(400);
        assert_eq!(error(&answer), "invalid_grant", "{changes:?}");
        assert_uncached(&answer);
    }
    assert_eq!(error(&exchange(&server, &other, &code, &[]).await.expect_status(400)), "invalid_grant");
    exchange(&server, &app, &code, &[]).await.expect_status(200);
}

async fn oa_04_a_code_that_comes_again_withdraws_what_came_of_it(server: TestServer) {
    seed(&server).await;
    let app = add_app(&server, "public");
    let code = code(&server, &app).await;
    let granted = read(&exchange(&server, &app, &code, &[]).await.expect_status(200));
    let client = server.anonymous().with_token(&granted.access);
    let wrong = [("code_verifier", "wrong-wrong-wrong-wrong-wrong-wrong-wrong-wrong")];
    exchange(&server, &app, &code, &wrong).await.expect_status(400);
    client.get("Patient/p1").await.expect_status(200);
    let again = exchange(&server, &app, &code, &[]).await.expect_status(400);
    assert_eq!(error(&again), "invalid_grant");
    client.get("Patient/p1").await.expect_status(401);
    refresh(&server, &app, &granted.refresh, None).await.expect_status(400);
}

async fn oa_04_parallel_exchange_gives_one_token(server: TestServer) {
    seed(&server).await;
    let app = add_app(&server, "public");
    let code = code(&server, &app).await;
    let server = std::sync::Arc::new(server);
    let attempts: Vec<_> = (0..32)
        .map(|_| {
            let (server, app, code) = (server.clone(), app.clone(), code.clone());
            tokio::spawn(async move { exchange(&server, &app, &code, &[]).await.status })
        })
        .collect();
    let mut successes = 0;
    for attempt in attempts {
        successes += usize::from(attempt.await.expect("answered") == 200);
    }
    assert_eq!(successes, 1);
}

async fn oa_08_a_refresh_token_that_comes_again_withdraws_the_family(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let first = tokens(&server, &app, &account, SCOPE).await;
    let second = read(&refresh(&server, &app, &first.refresh, None).await.expect_status(200));
    assert_eq!(second.scope, first.scope);
    assert_eq!(second.patient, "p1", "SM-42");
    assert_ne!(second.refresh, first.refresh);
    let client = server.anonymous().with_token(&second.access);
    client.get("Patient/p1").await.expect_status(200);
    let again = refresh(&server, &app, &first.refresh, None).await.expect_status(400);
    assert_eq!(error(&again), "invalid_grant");
    client.get("Patient/p1").await.expect_status(401);
    refresh(&server, &app, &second.refresh, None).await.expect_status(400);
}

async fn sm_53_a_confidential_client_authenticates_at_refresh_too(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "confidential");
    let granted = tokens(&server, &app, &account, SCOPE).await;
    let unproven = App { secret: None, ..app.clone() };
    let wrong = App { secret: Some("trk_wrong".to_owned()), ..app.clone() };
    for app in [unproven, wrong] {
        let answer = refresh(&server, &app, &granted.refresh, None).await.expect_status(401);
        assert_eq!(error(&answer), "invalid_client");
        assert_uncached(&answer);
    }
    let stranger = add_app(&server, "confidential");
    assert_eq!(error(&refresh(&server, &stranger, &granted.refresh, None).await.expect_status(400)), "invalid_grant");
    refresh(&server, &app, &granted.refresh, None).await.expect_status(200);
}

async fn sm_54_refresh_may_narrow_but_not_widen(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let granted = tokens(&server, &app, &account, SCOPE).await;
    let wide = refresh(&server, &app, &granted.refresh, Some("patient/*.cruds")).await.expect_status(400);
    assert_eq!(error(&wide), "invalid_scope");
    let narrow = read(&refresh(&server, &app, &granted.refresh, Some("patient/Patient.r")).await.expect_status(200));
    assert_eq!(narrow.scope, "patient/Patient.r");
    let client = server.anonymous().with_token(&narrow.access);
    client.get("Patient/p1").await.expect_status(200);
    client.get("Observation").await.expect_status(403);
    let whole = read(&refresh(&server, &app, &narrow.refresh, None).await.expect_status(200));
    assert_eq!(whole.scope, granted.scope, "the refresh token itself is not narrowed");
}

async fn oa_11_grant_types_are_those_of_the_client(server: TestServer) {
    let (public, backend) = (add_app(&server, "public"), add_app(&server, "backend"));
    for (app, form, code) in [
        (&public, vec![("grant_type", "client_credentials"), ("scope", "system/*.rs")], "unauthorized_client"),
        (&public, vec![("grant_type", "password"), ("username", "a"), ("password", "b")], "unsupported_grant_type"),
        (&public, vec![("scope", "system/*.rs")], "invalid_request"),
        (&backend, vec![("grant_type", "authorization_code"), ("code", "x")], "unauthorized_client"),
    ] {
        let answer = post(&server, app, "/oauth/token", &form).await.expect_status(400);
        assert_eq!(error(&answer), code, "{form:?}");
    }
}

async fn sm_67_a_backend_service_gets_its_own_scopes(server: TestServer) {
    seed(&server).await;
    let app = add_app(&server, "backend");
    let form = [("grant_type", "client_credentials"), ("scope", "system/Patient.rs patient/*.rs offline_access")];
    let answer = post(&server, &app, "/oauth/token", &form).await.expect_status(200);
    assert_uncached(&answer);
    let body = answer.json();
    assert_eq!(body.str("scope"), Some("system/Patient.rs"));
    assert_eq!(body.get("expires_in").and_then(|it| it.as_number()), Some("300"), "SM-46");
    assert!(body.get("refresh_token").is_none(), "SM-46");
    let client = server.anonymous().with_token(body.str("access_token").expect("a token"));
    assert_eq!(client.matches("Patient").await.len(), 2);
    client.get("Observation").await.expect_status(403);
    let patient = [("grant_type", "client_credentials"), ("scope", "patient/*.rs")];
    assert_eq!(error(&post(&server, &app, "/oauth/token", &patient).await.expect_status(400)), "invalid_scope");
    server.command(&["client", "disable", &app.id]);
    client.get("Patient").await.expect_status(401);
    assert_eq!(error(&post(&server, &app, "/oauth/token", &form).await.expect_status(401)), "invalid_client");
}

async fn sm_48_sm_49_what_the_resource_server_refuses(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let granted = tokens(&server, &app, &account, SCOPE).await;
    let truncated = &granted.access[..granted.access.len() - 1];
    for token in ["", "x", &granted.refresh, truncated, &granted.access.to_uppercase()] {
        let answer = server.anonymous().with_token(token).get("Patient/p1").await.expect_status(401);
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with("Bearer") && challenge.contains("invalid_token"), "{token}: {challenge}");
    }
    let none = server.anonymous().get("Patient/p1").await.expect_status(401);
    assert!(none.header("www-authenticate").unwrap_or_default().starts_with("Bearer"));
    server.anonymous().get(&format!("Patient/p1?access_token={}", granted.access)).await.expect_status(401);
}

async fn oa_06_no_artefact_passes_for_another(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let code = code(&server, &app).await;
    let granted = tokens(&server, &app, &account, SCOPE).await;
    for other in [&granted.access, &granted.refresh] {
        exchange(&server, &app, other, &[]).await.expect_status(400);
    }
    for other in [&granted.access, &code] {
        refresh(&server, &app, other, None).await.expect_status(400);
    }
    for other in [&granted.refresh, &code] {
        server.anonymous().with_token(other).get("Patient/p1").await.expect_status(401);
    }
}

async fn sm_54_a_refused_refresh_spends_nothing(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let granted = tokens(&server, &app, &account, "launch/patient offline_access patient/Patient.rs").await;
    let nothing = refresh(&server, &app, &granted.refresh, Some("offline_access")).await;
    if nothing.status != 200 {
        assert_eq!(error(&nothing.expect_status(400)), "invalid_scope");
        refresh(&server, &app, &granted.refresh, None).await.expect_status(200);
    }
}

async fn in_11_nul_is_refused(server: TestServer) {
    seed(&server).await;
    let nul = App { id: "a\0b".to_owned(), secret: None };
    let form = [("grant_type", "client_credentials"), ("scope", "system/*.rs")];
    assert_eq!(error(&post(&server, &nul, "/oauth/token", &form).await.expect_status(400)), "invalid_request");
    let basic = App { secret: Some("c\0d".to_owned()), ..nul };
    assert_eq!(error(&post(&server, &basic, "/oauth/token", &form).await.expect_status(401)), "invalid_client");
    server.anonymous().get("/oauth/authorize?client_id=a%00b").await.expect_status(400);
}
