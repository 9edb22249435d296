//! Tests of `server/src/qsmartcare.rs`.

use fhir::{array, object};
use tests::{Answer, TestServer};

use crate::launch::{App, Browser, add_app, seed};
use crate::portal::{
    SCOPES, administrator, between, decide, developer, make_app, make_secret, patient_developer, send, sign_in,
};

tests::on_both_engines!(
    a_personal_app_reads_its_own_patient,
    a_work_app_reads_the_patients_that_were_chosen,
    wrong_keys_and_sessions_are_told_in_the_known_words,
    sm_28_lk_10_the_doors_show_what_the_token_shows,
    oa_08_tokens_are_renewed_by_rotation,
    an_app_that_asks_again_goes_on_with_its_grant,
    oa_19_sm_57_what_is_taken_back_is_not_asked_for_again,
    oa_09_a_new_password_takes_back_what_keys_give,
);

const TOKEN: &str = "/R4-patient-api/oauth2/token";
const SINGLE: &str = "/R4-patient-api/single";
const MULTIPLE: &str = "/R4-patient-api/multiple/api";

/// An approved app with a secret.
async fn app(dev: &mut Browser<'_>, root: &mut Browser<'_>, scopes: &str) -> App {
    let id = make_app(dev, "confidential", scopes).await;
    decide(root, &id, "approve").await.expect_status(303);
    let secret = make_secret(dev, &id).await;
    App { id, secret: Some(secret) }
}

async fn ask(server: &TestServer, path: &str, app: &App) -> Answer {
    let secret = app.secret.as_deref().unwrap_or_default();
    let form = [("grant_type", "authorization_code"), ("Client_ID", &app.id), ("Client_secret", secret)];
    server.anonymous().post(path).form(&form).await
}

async fn a_personal_app_reads_its_own_patient(server: TestServer) {
    seed(&server).await;
    let mut root = administrator(&server).await;
    let mut dev = patient_developer(&server, "p1").await;
    let app = app(&mut dev, &mut root, SCOPES).await;
    for path in [TOKEN, "/R4-patient-api/oauth2/token.php"] {
        let answer = ask(&server, path, &app).await.expect_status(200);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "SM-45");
        let body = answer.json();
        assert_eq!(body.str("patient"), Some("p1"));
        assert_eq!(body.str("token_type"), Some("Bearer"));
        assert!(body.str("refresh_token").is_some());
        assert!(!body.str("scope").unwrap_or_default().contains("user/"), "SM-31: a personal app is for one patient");
        let token = body.str("access_token").expect("a token");
        for (scheme, path) in [
            ("Bearer", format!("{SINGLE}/Patient?id=p1")),
            ("bearer", format!("{SINGLE}/Patient.php?id=p1")),
            ("bearer", format!("{SINGLE}/Patient.php")),
        ] {
            let call = server.anonymous().get(&path).header("authorization", &format!("{scheme} {token}"));
            let patient = call.await.expect_status(200);
            assert_eq!(patient.json().str("id"), Some("p1"), "{path}");
            assert!(patient.header("content-type").is_some_and(|it| it.starts_with("application/fhir+json")));
        }
        let client = server.anonymous().with_token(token);
        client.get(&format!("{SINGLE}/Patient?id=p2")).await.expect_status(404);
        let found = client.get(&format!("{MULTIPLE}/patient.php")).await.expect_status(200);
        assert_eq!(found.matches(), ["p1"]);
    }
}

async fn a_work_app_reads_the_patients_that_were_chosen(server: TestServer) {
    seed(&server).await;
    for id in ["p1", "p2", "p3"] {
        let doctor = object! { "reference": "Practitioner/d1" };
        let patient = object! { "resourceType": "Patient", "id": id, "generalPractitioner": array![doctor] };
        server.system().store(&patient).await;
        let subject = object! { "reference": format!("Patient/{id}") };
        let code = object! { "text": "pulse" };
        let pulse = object! { "resourceType": "Observation", "id": format!("o-{id}"), "status": "final", "code": code, "subject": subject };
        server.system().store(&pulse).await;
    }
    let mut root = administrator(&server).await;
    let mut dev = developer(&server, "grace", "Practitioner/d1", "work").await;
    let app = app(&mut dev, &mut root, SCOPES).await;
    let nobody = ask(&server, TOKEN, &app).await.expect_status(403);
    assert!(nobody.text().contains("no patients have been chosen"), "{}", nobody.text());
    let page = format!("/portal/apps/{}/patients", app.id);
    let chosen = [("limit", "chosen"), ("patient", "p1"), ("patient", "p3")];
    send(&mut dev, &page, &page, &chosen).await.expect_status(303);
    let body = ask(&server, TOKEN, &app).await.expect_status(200).json();
    assert!(body.get("patient").is_none(), "there is no one patient");
    let client = server.anonymous().with_token(body.str("access_token").expect("a token"));
    let patients = client.get(&format!("{MULTIPLE}/patient?_sort=_id")).await.expect_status(200);
    assert_eq!(patients.matches(), ["p1", "p3"]);
    let pulses = client.get(&format!("{MULTIPLE}/Observation.php?_sort=_id")).await.expect_status(200);
    assert_eq!(pulses.matches(), ["o-p1", "o-p3"]);
    client.get(&format!("{SINGLE}/Patient.php?id=p3")).await.expect_status(200);
    client.get(&format!("{SINGLE}/Patient.php?id=p2")).await.expect_status(404);
    client.get(&format!("{SINGLE}/Patient.php")).await.expect_status(400);
    // who leaves the list is gone with the next request, and so is who leaves the developer's care
    send(&mut dev, &page, &page, &[("limit", "chosen"), ("shown", "p1"), ("shown", "p3"), ("patient", "p3")])
        .await
        .expect_status(303);
    assert_eq!(client.get(&format!("{MULTIPLE}/patient")).await.matches(), ["p3"]);
    server.system().store(&object! { "resourceType": "Patient", "id": "p3" }).await;
    assert!(client.get(&format!("{MULTIPLE}/patient")).await.matches().is_empty());
}

async fn wrong_keys_and_sessions_are_told_in_the_known_words(server: TestServer) {
    seed(&server).await;
    let mut root = administrator(&server).await;
    let mut dev = patient_developer(&server, "p1").await;
    let waiting = make_app(&mut dev, "confidential", SCOPES).await;
    let secret = make_secret(&mut dev, &waiting).await;
    let good = app(&mut dev, &mut root, SCOPES).await;
    let by_command = add_app(&server, "confidential");
    for (id, secret) in [
        (good.id.as_str(), "wrong"),
        (good.id.as_str(), ""),
        (good.id.as_str(), secret.as_str()),
        (waiting.as_str(), secret.as_str()),
        ("unknown", secret.as_str()),
        ("", ""),
        (by_command.id.as_str(), by_command.secret.as_deref().unwrap_or_default()),
    ] {
        let wrong = App { id: id.to_owned(), secret: Some(secret.to_owned()) };
        let answer = ask(&server, TOKEN, &wrong).await.expect_status(401);
        let body = answer.json();
        assert_eq!(body.str("error"), Some("invalid_client"), "{id}");
        assert_eq!(body.str("Result"), Some("Error: Wrong Client_ID or Client_secret Key"), "{id}");
    }
    let form = [("grant_type", "password"), ("Client_ID", good.id.as_str())];
    let answer = server.anonymous().post(TOKEN).form(&form).await.expect_status(400);
    assert_eq!(answer.json().str("error"), Some("unsupported_grant_type"));
    server.anonymous().post(TOKEN).form(&[("Client_ID", "x")]).await.expect_status(400);
    server.anonymous().get(TOKEN).await.expect_status(405);
    let unknown = server.anonymous();
    for client in [unknown.clone(), unknown.with_token("x"), unknown.with_token("tra_wrong")] {
        for path in [format!("{SINGLE}/Patient.php?id=p1"), format!("{MULTIPLE}/patient")] {
            let answer = client.get(&path).await.expect_status(401);
            let told = answer.text();
            assert!(told.contains("User session not found. User must re-authenticate"), "{told}");
            assert_eq!(answer.json().str("resourceType"), Some("OperationOutcome"));
            assert!(answer.header("www-authenticate").is_some());
        }
    }
}

async fn sm_28_lk_10_the_doors_show_what_the_token_shows(server: TestServer) {
    seed(&server).await;
    let mut root = administrator(&server).await;
    let mut dev = patient_developer(&server, "p1").await;
    let app = app(&mut dev, &mut root, "patient/Patient.r patient/Observation.rs").await;
    let body = ask(&server, TOKEN, &app).await.expect_status(200).json();
    assert_eq!(body.str("scope"), Some("patient/Patient.r patient/Observation.rs"));
    assert!(body.get("refresh_token").is_none(), "SM-52: not registered for offline_access");
    let client = server.anonymous().with_token(body.str("access_token").expect("a token"));
    client.get(&format!("{SINGLE}/Patient")).await.expect_status(200);
    client.get(&format!("{MULTIPLE}/Patient")).await.expect_status(403);
    client.get(&format!("{SINGLE}/Condition?id=x")).await.expect_status(403);
    client.get(&format!("{SINGLE}/Observation?id=x")).await.expect_status(404);
    client.get(&format!("{SINGLE}/Nothing?id=x")).await.expect_status(404);
    client.get(&format!("{SINGLE}/Observation?id=a%20b")).await.expect_status(400);
    client.get(&format!("{MULTIPLE}/Observation?nonsense=1")).await.expect_status(400);
    // an account without a record has nothing to show
    let mut plain = crate::portal::sign_up(&server, "plain", "personal").await;
    let id = make_app(&mut plain, "confidential", SCOPES).await;
    decide(&mut root, &id, "approve").await.expect_status(303);
    let secret = make_secret(&mut plain, &id).await;
    ask(&server, TOKEN, &App { id, secret: Some(secret) }).await.expect_status(403);
}

async fn oa_08_tokens_are_renewed_by_rotation(server: TestServer) {
    seed(&server).await;
    let mut root = administrator(&server).await;
    let mut dev = patient_developer(&server, "p1").await;
    let app = app(&mut dev, &mut root, SCOPES).await;
    let body = ask(&server, TOKEN, &app).await.expect_status(200).json();
    let refresh = body.str("refresh_token").expect("a refresh token");
    let secret = app.secret.as_deref().expect("a secret");
    let renew = [
        ("grant_type", "refresh_token"),
        ("Client_ID", &app.id),
        ("Client_secret", secret),
        ("refresh_token", refresh),
    ];
    let renewed = server.anonymous().post(TOKEN).form(&renew).await.expect_status(200).json();
    assert_eq!(renewed.str("patient"), Some("p1"));
    let client = server.anonymous().with_token(renewed.str("access_token").expect("a token"));
    client.get(&format!("{SINGLE}/Patient")).await.expect_status(200);
    let stranger = [
        ("grant_type", "refresh_token"),
        ("Client_ID", &app.id),
        ("Client_secret", "trk_x"),
        ("refresh_token", refresh),
    ];
    server.anonymous().post(TOKEN).form(&stranger).await.expect_status(401);
}

async fn an_app_that_asks_again_goes_on_with_its_grant(server: TestServer) {
    seed(&server).await;
    let mut root = administrator(&server).await;
    let mut dev = patient_developer(&server, "p1").await;
    let app = app(&mut dev, &mut root, SCOPES).await;
    let mut access = Vec::new();
    for _ in 0..3 {
        let body = ask(&server, TOKEN, &app).await.expect_status(200).json();
        access.push(body.str("access_token").expect("a token").to_owned());
    }
    let page = dev.get("/portal/sharing").await.expect_status(200).text();
    assert_eq!(page.matches("Heart Watch</bdi>").count(), 1, "one line for one app");
    let grant = crate::launch::fields(&page).into_iter().find(|(name, _)| name == "grant").expect("a grant").1;
    send(&mut dev, "/portal/sharing", "/portal/sharing", &[("grant", &grant)]).await.expect_status(303);
    for token in access {
        server.anonymous().with_token(&token).get("Patient/p1").await.expect_status(401);
    }
}

/// Takes back the only grant of the portal's page.
async fn take_back(dev: &mut Browser<'_>) {
    let page = dev.get("/portal/sharing").await.expect_status(200).text();
    let grant = crate::launch::fields(&page).into_iter().find(|(name, _)| name == "grant").expect("a grant").1;
    send(dev, "/portal/sharing", "/portal/sharing", &[("grant", &grant)]).await.expect_status(303);
}

/// Presses *Allow again*.
async fn allow(dev: &mut Browser<'_>, app: &App) -> Answer {
    send(dev, "/portal/sharing", "/portal/sharing/allow", &[("app", &app.id)]).await
}

/// The app is refused, and told what to do.
async fn is_refused(server: &TestServer, app: &App) {
    let refused = ask(server, TOKEN, app).await.expect_status(403).json();
    assert_eq!(refused.str("error"), Some("access_denied"));
    let told = refused.str("Result").unwrap_or_default();
    assert!(told.starts_with("Error: what this app could see was taken back"), "{told}");
}

async fn oa_19_sm_57_what_is_taken_back_is_not_asked_for_again(server: TestServer) {
    seed(&server).await;
    let mut root = administrator(&server).await;
    let mut dev = patient_developer(&server, "p1").await;
    let other = app(&mut dev, &mut root, SCOPES).await;
    let app = app(&mut dev, &mut root, SCOPES).await;
    allow(&mut dev, &app).await.expect_status(404);
    let first = ask(&server, TOKEN, &app).await.expect_status(200).json();
    take_back(&mut dev).await;
    let client = server.anonymous().with_token(first.str("access_token").expect("a token"));
    client.get(&format!("{SINGLE}/Patient")).await.expect_status(401);
    for _ in 0..2 {
        is_refused(&server, &app).await;
    }
    ask(&server, TOKEN, &other).await.expect_status(200);
    let page = dev.get("/portal/sharing").await.expect_status(200).text();
    assert!(page.contains("<h2>Taken back</h2>") && page.contains("Allow again"), "{page}");
    let mut stranger = patient_developer(&server, "p2").await;
    assert!(!stranger.get("/portal/sharing").await.text().contains("Allow again"));
    allow(&mut stranger, &app).await.expect_status(404);
    is_refused(&server, &app).await;
    // nor does the app get anything by being changed, or by a new key
    send(&mut dev, "/portal", &format!("/portal/apps/{}/state", app.id), &[("state", "off")]).await.expect_status(303);
    send(&mut dev, "/portal", &format!("/portal/apps/{}/state", app.id), &[("state", "on")]).await.expect_status(303);
    let rotated = App { secret: Some(make_secret(&mut dev, &app.id).await), ..app.clone() };
    is_refused(&server, &rotated).await;
    allow(&mut dev, &app).await.expect_status(303);
    assert!(!dev.get("/portal/sharing").await.text().contains("Allow again"));
    ask(&server, TOKEN, &app).await.expect_status(200);
    client.get(&format!("{SINGLE}/Patient")).await.expect_status(401);
}

async fn oa_09_a_new_password_takes_back_what_keys_give(server: TestServer) {
    seed(&server).await;
    let mut root = administrator(&server).await;
    let account = crate::launch::add_account(&server, "grace", Some("Patient/p1"));
    let mut dev = sign_in(&server, &account).await;
    send(&mut dev, "/portal", "/account/developer", &[("purpose", "personal")]).await.expect_status(303);
    // with and without offline_access: the grant of the latter ends by itself soon
    let unused = app(&mut dev, &mut root, SCOPES).await;
    let brief = app(&mut dev, &mut root, "patient/*.rs").await;
    let app = app(&mut dev, &mut root, SCOPES).await;
    for app in [&app, &brief] {
        ask(&server, TOKEN, app).await.expect_status(200);
    }
    let new = "another quiet lake";
    let pairs = [("password", account.password.as_str()), ("new_password", new)];
    send(&mut dev, "/account", "/account/password", &pairs).await.expect_status(303);
    for app in [&app, &brief] {
        is_refused(&server, app).await;
        allow(&mut dev, app).await.expect_status(303);
        ask(&server, TOKEN, app).await.expect_status(200);
    }
    ask(&server, TOKEN, &unused).await.expect_status(200);
    let link = server.command(&["user", "recover", "grace", "--json"]);
    let link = between(&link, "link=", "\"").to_owned();
    let page = format!("/account/recover?link={link}");
    let mut browser = Browser::new(&server);
    let pairs = [("link", link.as_str()), ("password", "a third calm river")];
    send(&mut browser, &page, "/account/recover", &pairs).await.expect_status(303);
    for app in [&app, &brief, &unused] {
        is_refused(&server, app).await;
    }
}
