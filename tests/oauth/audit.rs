//! Tests of `server/src/audit.rs` where people and apps prove who they are.

use fhir::json::Json;
use tests::{Answer, Client, TestServer};

use crate::ehr_launch::{clinic, make, signed_in, with_launch};
use crate::launch::{Browser, SCOPE, add_app, fields, refresh, request, seed, tokens};
use crate::portal::{administrator, decide, developer, make_app, send, sign_in};

tests::on_both_engines!(
    co_04_authentication_is_in_the_trail,
    co_04_what_operators_do_is_in_the_trail,
    co_09_patients_see_who_looked,
    co_01_who_is_shown_to_choose_among_is_told_of,
);

/// All events of a kind, as subtype, outcome and text.
async fn events(client: &Client) -> Vec<(String, String, Json)> {
    let page = client.get("AuditEvent?_sort=date&_count=500").await.expect_status(200);
    let told = |event: Json| {
        let subtype = event.list("subtype").first().and_then(|it| it.str("code")).unwrap_or_default().to_owned();
        (subtype, event.str("outcome").unwrap_or_default().to_owned(), event)
    };
    page.entries("match").into_iter().map(told).collect()
}

async fn co_04_authentication_is_in_the_trail(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let granted = tokens(&server, &app, &account, SCOPE).await;
    refresh(&server, &app, &granted.refresh, None).await.expect_status(200);
    refresh(&server, &app, "nonsense", None).await.expect_status(400);
    let told = server.anonymous().with_token(&granted.access).get("/oauth/userinfo").await;
    let wrong = [("grant_type", "authorization_code"), ("client_id", "nobody"), ("code", "x")];
    server.anonymous().post("/oauth/token").form(&wrong).await;
    let mut browser = sign_in(&server, &account).await;
    browser.get("/portal/sharing").await.expect_status(200);
    send(&mut browser, "/portal/sharing", "/account/sign-out", &[]).await.expect_status(303);
    let system = server.system();
    let events = events(&system).await;
    for (subtype, outcome) in [
        ("110122", "0"),
        ("110123", "0"),
        ("consent-given", "0"),
        ("token-by-code", "0"),
        ("token-by-refresh", "0"),
        ("token-by-refresh", "4"),
        ("token", "4"),
        ("token-by-operator", "0"),
    ] {
        let found = events.iter().any(|(known, ended, _)| known == subtype && ended == outcome);
        let all: Vec<_> = events.iter().map(|(subtype, outcome, _)| (subtype, outcome)).collect();
        assert!(found, "{subtype} {outcome} of {all:?}");
    }
    let request = told.header("x-request-id").expect("a name");
    let userinfo = events.iter().map(|(.., event)| event.to_string()).find(|text| text.contains(request));
    assert!(userinfo.as_ref().is_some_and(|text| text.contains(&app.id)), "who asks for userinfo: {userinfo:?}");
    for (subtype, _, event) in &events {
        let text = event.to_string();
        for secret in [granted.access.as_str(), granted.refresh.as_str()] {
            assert!(!text.contains(secret), "{subtype}: {text}");
        }
        if subtype == "consent-given" {
            let patient = event.list("entity").iter().filter_map(|it| it.at(&["what", "reference"])?.as_str());
            assert_eq!(patient.collect::<Vec<_>>(), ["Patient/p1"], "whose data it is: {text}");
        }
    }
}

async fn co_04_what_operators_do_is_in_the_trail(server: TestServer) {
    let redirect = "https://app.example/callback";
    let client = ["client", "add", "--id", "watch", "--name=Watch", "--kind=confidential", "--scope=patient/*.rs"];
    server.command(&[&client[..], &["--redirect-uri", redirect]].concat());
    server.command(&["client", "disable", "watch"]);
    server.command(&["user", "add", "ada"]);
    server.command(&["user", "record", "ada", "Patient/p1"]);
    server.command(&["user", "recover", "ada"]);
    server.command(&["user", "disable", "ada"]);
    server.command(&["key", "rotate"]);
    let key = server.command(&["vendor", "add", "medisante"]);
    server.try_command(&["client", "enable", "nobody"]);
    let all = events(&server.system()).await;
    for (subtype, what) in [
        ("client-added", "client/watch"),
        ("client-disabled", "client/watch"),
        ("account-added", "account/ada"),
        ("account-linked", "account/ada"),
        ("account-recovery-made", "account/ada"),
        ("account-disabled", "account/ada"),
        ("signing-key-made", "signing-key"),
        ("vendor-key-added", "vendor/medisante"),
    ] {
        let found: Vec<_> = all.iter().filter(|(known, ..)| known == subtype).collect();
        let [(_, outcome, event)] = found.as_slice() else { panic!("{subtype}: {found:?}") };
        let text = event.to_string();
        assert!(outcome == "0" && text.contains(what) && text.contains("\"operator\""), "{text}");
        assert!(!text.contains(key.trim()), "{text}");
    }
    assert!(all.iter().all(|(subtype, ..)| subtype != "client-enabled"), "what was not done is not told");
}

async fn co_09_patients_see_who_looked(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let granted = tokens(&server, &app, &account, SCOPE).await;
    server.anonymous().with_token(&granted.access).get("Patient/p1").await.expect_status(200);
    server.system().get("Patient/p1").await.expect_status(200);
    let mut browser = sign_in(&server, &account).await;
    let page = browser.get("/portal/record").await.expect_status(200).text();
    assert!(page.contains("you, Heart Watch") && page.contains("read Patient"), "{page}");
    assert!(page.contains("<bdi>operator</bdi>"), "{page}");
}

/// The patients whom the events of a request name, and whether all of them say which person it was.
async fn told_of(server: &TestServer, answer: &Answer) -> (Vec<String>, bool) {
    let name = answer.header("x-request-id").expect("a name");
    let of_it = |event: &Json| event.to_string().contains(name);
    let events: Vec<Json> = events(&server.system()).await.into_iter().map(|(.., event)| event).filter(of_it).collect();
    let references = events.iter().flat_map(|event| event.list("entity").iter());
    let references = references.filter_map(|entity| entity.at(&["what", "reference"])?.as_str());
    let mut patients: Vec<String> =
        references.filter_map(|it| it.strip_prefix("Patient/")).map(str::to_owned).collect();
    patients.sort_unstable();
    patients.dedup();
    (patients, events.iter().all(|event| event.to_string().contains("Practitioner/d1")))
}

async fn co_01_who_is_shown_to_choose_among_is_told_of(server: TestServer) {
    let clinic = clinic(&server).await;
    let mut browser = signed_in(&server, &clinic.doctor).await;
    let list = browser.get("/ehr").await.expect_status(200);
    let found = browser.get("/ehr?find=babb").await.expect_status(200);
    let nobody = browser.get("/ehr?find=nobody").await.expect_status(200);
    let page = browser.get("/ehr/p1").await.expect_status(200);
    let hidden = browser.get("/ehr/p3").await.expect_status(404);
    let mut form = fields(&page.text());
    form.push(("app".to_owned(), clinic.app.id.clone()));
    form.push(("encounter".to_owned(), "e1".to_owned()));
    let launched = browser.post("/ehr/p1", &form).await.expect_status(200);
    let mut root = administrator(&server).await;
    let mut dev = developer(&server, "grace", "Practitioner/d1", "work").await;
    let id = make_app(&mut dev, "public", SCOPE).await;
    decide(&mut root, &id, "approve").await.expect_status(303);
    let chosen = dev.get(&format!("/portal/apps/{id}/patients")).await.expect_status(200);
    let mut asking = Browser::new(&server);
    let login = asking.ask(&request(&server, &add_app(&server, "public"), SCOPE)).await.expect_status(200);
    let consent = asking.sign_in(&login, &clinic.doctor).await.expect_status(200);
    let all = ["p1", "p2"].map(str::to_owned).to_vec();
    for (what, answer, patients) in [
        ("the list", list, &all[..]),
        ("what was found", found, &all[1..]),
        ("nobody", nobody, &[]),
        ("the patient", page, &all[..1]),
        ("another's patient", hidden, &[]),
        ("the launch", launched, &all[..1]),
        ("the patients of an app", chosen, &all[..]),
        ("consent", consent, &all[..]),
    ] {
        assert_eq!(told_of(&server, &answer).await, (patients.to_vec(), true), "{what}");
    }
    let more = [("patient", "p2".into()), ("encounter", "e2".into())];
    let made = make(&server, &clinic, &more).await.expect_status(201);
    assert_eq!(told_of(&server, &made).await.0, ["p2"]);
    let launch = made.json().str("launch").expect("a launch").to_owned();
    let opened = browser.ask(&with_launch(&server, &clinic, &launch)).await.expect_status(200);
    assert_eq!(told_of(&server, &opened).await, (vec!["p2".to_owned()], true));
}
