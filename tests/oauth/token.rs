//! Tests of `server/src/oauth/token.rs`.

use tests::{Answer, TestServer};

use crate::assertion;
use crate::launch::{App, SCOPE, add_app, error, exchange, launch, parameter, post, read, refresh, seed, tokens};

tests::on_both_engines!(
    sm_31_sm_45_sm_46_a_launch_gives_one_patients_data,
    sm_47_oa_05_a_code_is_bound_to_all_it_was_issued_with,
    oa_04_a_code_that_comes_again_withdraws_what_came_of_it,
    oa_08_a_refresh_token_that_comes_again_withdraws_the_family,
    sm_53_a_confidential_client_authenticates_at_refresh_too,
    sm_54_refresh_may_narrow_but_not_widen,
    sm_54_a_refused_refresh_spends_nothing,
    sm_56_an_invalid_refresh_token_is_refused,
    oa_35_a_token_of_another_base_opens_nothing,
    in_11_nul_is_refused,
    oa_11_grant_types_are_those_of_the_client,
    sm_48_sm_49_what_the_resource_server_refuses,
    oa_06_no_artefact_passes_for_another,
    sm_53_a_public_app_may_refresh_without_its_name,
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
    let granted = "launch/patient patient/Patient.read openid fhirUser";
    assert_eq!(body.str("scope"), Some(granted), "SM-23: v1 asked, v1 returned");
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
    let third = read(&refresh(&server, &app, &second.refresh, None).await.expect_status(200));
    let again = refresh(&server, &app, &first.refresh, None).await.expect_status(400);
    assert_eq!(error(&again), "invalid_grant");
    client.get("Patient/p1").await.expect_status(401);
    refresh(&server, &app, &third.refresh, None).await.expect_status(400);
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
    let (public, backend) = (add_app(&server, "public"), assertion::backend(&server));
    for (form, code) in [
        (vec![("grant_type", "client_credentials"), ("scope", "system/*.rs")], "unauthorized_client"),
        (vec![("grant_type", "password"), ("username", "a"), ("password", "b")], "unsupported_grant_type"),
        (vec![("scope", "system/*.rs")], "invalid_request"),
    ] {
        let answer = post(&server, &public, "/oauth/token", &form).await.expect_status(400);
        assert_eq!(error(&answer), code, "{form:?}");
    }
    for grant_type in ["authorization_code", "refresh_token"] {
        let form = [("grant_type", grant_type), ("code", "x"), ("refresh_token", "x")];
        let answer = backend.post(&server, "/oauth/token", &form).await.expect_status(400);
        assert_eq!(error(&answer), "unauthorized_client", "{grant_type}");
    }
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

/// As the SMART JavaScript client does: RFC 6749 §6 asks for no `client_id`.
async fn sm_53_a_public_app_may_refresh_without_its_name(server: TestServer) {
    let account = seed(&server).await;
    let renew = async |token: &str| {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        server.anonymous().post("/oauth/token").form(&form).await
    };
    let granted = tokens(&server, &add_app(&server, "public"), &account, SCOPE).await;
    let renewed = read(&renew(&granted.refresh).await.expect_status(200));
    assert_eq!(renewed.scope, granted.scope);
    server.anonymous().with_token(&renewed.access).get("Patient/p1").await.expect_status(200);
    for wrong in [&renewed.access, "trr_nonsense", ""] {
        renew(wrong).await.expect_status(400);
    }
    let granted = tokens(&server, &add_app(&server, "confidential"), &account, SCOPE).await;
    assert_eq!(error(&renew(&granted.refresh).await.expect_status(401)), "invalid_client");
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

async fn sm_56_an_invalid_refresh_token_is_refused(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let granted = tokens(&server, &app, &account, SCOPE).await;
    let other = if granted.refresh.ends_with('A') { 'E' } else { 'A' };
    let damaged = format!("{}{other}", &granted.refresh[..granted.refresh.len() - 1]);
    let unknown = "trr_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for token in ["x", unknown, &damaged, &granted.access, &granted.refresh.to_uppercase()] {
        let answer = refresh(&server, &app, token, None).await.expect_status(400);
        assert_eq!(error(&answer), "invalid_grant", "{token}");
    }
    let answer = post(&server, &app, "/oauth/token", &[("grant_type", "refresh_token")]).await.expect_status(400);
    assert_eq!(error(&answer), "invalid_request");
    refresh(&server, &app, &granted.refresh, None).await.expect_status(200);
}

async fn oa_35_a_token_of_another_base_opens_nothing(server: TestServer) {
    seed(&server).await;
    let mint = |base: &str| {
        let mut arguments = vec!["token", "--scope", "system/*.rs", "--ttl", "1h"];
        arguments.extend(["--database", server.database_url(), "--base-url", base]);
        tests::program::run(server.folder(), &arguments).trim().to_owned()
    };
    server.anonymous().with_token(&mint(server.origin())).get("Patient/p1").await.expect_status(200);
    for base in ["https://other.example", "http://127.0.0.1:1"] {
        let answer = server.anonymous().with_token(&mint(base)).get("Patient/p1").await.expect_status(401);
        assert!(answer.header("www-authenticate").unwrap_or_default().contains("invalid_token"), "{base}");
    }
}

/// What is handed out stands nowhere in the database, neither in its files nor in its log. The rows are the same on
/// both engines; only SQLite's files can be read from here.
#[test]
fn oa_31_only_hashes_are_kept() {
    tests::server::run(tests::Engine::Sqlite, "oa_31_only_hashes_are_kept", only_hashes_are_kept);
}

async fn only_hashes_are_kept(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "confidential");
    let code = code(&server, &app).await;
    let granted = read(&exchange(&server, &app, &code, &[]).await.expect_status(200));
    let renewed = read(&refresh(&server, &app, &granted.refresh, None).await.expect_status(200));
    let invitation = server.command(&["client", "invite"]).trim().to_owned();
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(server.folder()).expect("the folder is readable").flatten() {
        kept.extend(std::fs::read(entry.path()).unwrap_or_default());
    }
    let stands = |text: &str| kept.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(stands(&app.id), "the files are those of this database");
    let secret = app.secret.clone().expect("a confidential app has one");
    for secret in [&secret, &code, &granted.access, &granted.refresh, &renewed.access, &renewed.refresh, &invitation] {
        assert!(!stands(secret) && !stands(&secret[4..]), "{secret}");
    }
    assert!(!stands(&account.password));
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
