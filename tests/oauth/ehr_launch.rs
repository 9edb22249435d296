//! Tests of `server/src/oauth/launch.rs` and `server/src/oauth/launch/ehr.rs`: launches that begin in an EHR.

use fhir::json::Json;
use fhir::{array, object};
use tests::signer::Signer;
use tests::{Answer, Client, TestServer};
use url::Url;

use crate::launch::{
    Account, App, Browser, REDIRECT_URI, add_account, changed, error, exchange, fields, location, parameter, request,
};

tests::on_both_engines!(
    sm_38_sm_41_sm_42_a_launch_from_an_ehr_carries_its_context,
    sm_35_a_launch_is_taken_once,
    sm_35_a_launch_is_of_its_app_and_its_person,
    sm_35_a_launch_of_the_built_in_ehr_is_of_its_browser,
    sm_36_scope_and_parameter_come_together,
    sm_39_a_visit_is_of_its_patient,
    sm_40_what_an_ehr_may_not_say,
    launches_are_made_by_programs_with_the_scope_only,
    a_clinician_starts_an_app_from_a_patient,
    sm_37_the_built_in_ehr_opens_no_other_patients,
    lk_40_a_right_that_ended_ends_the_launch,
);

const LAUNCH_URI: &str = "https://app.example/launch";
const EHR_SCOPE: &str = "launch openid fhirUser offline_access user/Patient.rs user/Observation.rs";

/// A doctor with two patients, of whom the first has a visit; a patient of nobody's; an app that can be launched.
pub(crate) struct Clinic {
    pub(crate) doctor: Account,
    pub(crate) app: App,
}

pub(crate) async fn clinic(server: &TestServer) -> Clinic {
    let system = server.system();
    let name = |family: &str| array![object! { "family": family, "given": array!["Ada"] }];
    let doctor = object! { "reference": "Practitioner/d1" };
    system.store(&object! { "resourceType": "Practitioner", "id": "d1", "name": name("Snow") }).await;
    for (id, family) in [("p1", "Lovelace"), ("p2", "Babbage")] {
        let patient = object! {
            "resourceType": "Patient", "id": id, "name": name(family), "birthDate": "1815-12-10",
            "generalPractitioner": array![doctor.clone()],
        };
        system.store(&patient).await;
    }
    system.store(&object! { "resourceType": "Patient", "id": "p3", "name": name("Stranger") }).await;
    for (id, patient) in [("e1", "p1"), ("e2", "p2"), ("e3", "p3")] {
        let encounter = object! {
            "resourceType": "Encounter", "id": id, "status": "finished",
            "class": object! { "code": "AMB", "display": "ambulatory" },
            "subject": object! { "reference": format!("Patient/{patient}") },
            "period": object! { "start": "2026-03-04T10:00:00Z" },
        };
        system.store(&encounter).await;
    }
    let doctor = add_account(server, "snow", Some("Practitioner/d1"));
    Clinic { doctor, app: app(server, "Growth Chart") }
}

fn app(server: &TestServer, name: &str) -> App {
    let arguments = ["client", "add", "--name", name, "--redirect-uri", REDIRECT_URI, "--launch-uri", LAUNCH_URI];
    let added = json(&server.command(&[&arguments[..], &["--json"]].concat()));
    App { id: added.str("client_id").expect("a client_id").to_owned(), secret: None }
}

fn json(text: &str) -> Json {
    Json::parse(text.trim().as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The EHR's own program, with the right to make launches.
fn ehr(server: &TestServer) -> Client {
    server.with_scope("launch", None)
}

pub(crate) async fn make(server: &TestServer, clinic: &Clinic, more: &[(&str, Json)]) -> Answer {
    let mut body = object! { "client_id": clinic.app.id.as_str(), "user": "snow" };
    for (name, value) in more {
        body.as_object_mut().expect("an object").insert(name, value.clone());
    }
    ehr(server).post("/oauth/launch").body("application/json", body.to_string()).await
}

pub(crate) async fn handle(server: &TestServer, clinic: &Clinic, more: &[(&str, Json)]) -> String {
    let made = make(server, clinic, more).await.expect_status(201);
    made.json().str("launch").expect("a launch").to_owned()
}

pub(crate) fn with_launch(server: &TestServer, clinic: &Clinic, launch: &str) -> Vec<(String, String)> {
    changed(&request(server, &clinic.app, EHR_SCOPE), "launch", Some(launch))
}

/// The `error` that the app is told, if the request fails.
fn told(answer: &Answer) -> Option<String> {
    let back = location(answer);
    back.as_str().starts_with(REDIRECT_URI).then(|| parameter(&back, "error")).flatten()
}

async fn sm_38_sm_41_sm_42_a_launch_from_an_ehr_carries_its_context(server: TestServer) {
    let clinic = clinic(&server).await;
    let context = array![object! { "reference": "ImagingStudy/1" }];
    let more = [
        ("patient", "p1".into()),
        ("encounter", "e1".into()),
        ("need_patient_banner", Json::Bool(false)),
        ("intent", "reconcile-medications".into()),
        ("tenant", "north".into()),
        ("fhirContext", context.clone()),
    ];
    let made = make(&server, &clinic, &more).await.expect_status(201);
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let made = made.json();
    let launch = made.str("launch").expect("a launch");
    assert!(launch.len() >= 43, "at least 128 bits");
    assert_eq!(made.str("iss"), Some(server.fhir_base().as_str()));
    assert_eq!(made.get("expires_in").and_then(Json::as_number), Some("300"));
    let launch_uri = Url::parse(made.str("launch_uri").expect("a launch_uri")).expect("a URL");
    assert!(launch_uri.as_str().starts_with(LAUNCH_URI));
    assert_eq!(parameter(&launch_uri, "launch").as_deref(), Some(launch));
    assert_eq!(parameter(&launch_uri, "iss"), Some(server.fhir_base()));

    let mut browser = Browser::new(&server);
    let scope = "launch launch/encounter openid fhirUser offline_access patient/Observation.rs user/Patient.rs";
    let asked = changed(&changed(&request(&server, &clinic.app, scope), "launch", Some(launch)), "nonce", Some("n-1"));
    let login = browser.ask(&asked).await.expect_status(200);
    let consent = browser.sign_in(&login, &clinic.doctor).await.expect_status(200);
    assert!(consent.text().contains("Ada Lovelace") && consent.text().contains("ambulatory"), "{}", consent.text());
    assert!(!consent.text().contains("Babbage"), "nothing to choose");
    let mut form = fields(&consent.text());
    form.retain(|(name, _)| name != "patient");
    form.push(("patient".to_owned(), "p2".to_owned())); // what is open is not for the form to say
    form.push(("decision".to_owned(), "allow".to_owned()));
    let back = location(&browser.post("/oauth/consent", &form).await.expect_status(303));
    let code = parameter(&back, "code").expect("a code");
    let answer = exchange(&server, &clinic.app, &code, &[]).await.expect_status(200).json();
    let members = ["patient", "encounter", "intent", "tenant"].map(|name| answer.str(name).unwrap_or_default());
    assert_eq!(members, ["p1", "e1", "reconcile-medications", "north"]);
    assert_eq!(answer.get("need_patient_banner").and_then(Json::as_bool), Some(false));
    assert_eq!(answer.get("fhirContext"), Some(&context));
    assert!(answer.str("id_token").is_some() && answer.str("refresh_token").is_some());
    let style = answer.str("smart_style_url").expect("SM-41: a style").to_owned();
    server.anonymous().get(&style).await.expect_status(200);

    // one source: introspection says the same, and so does the answer to a refresh (SM-42)
    let resource_server = crate::assertion::backend(&server);
    let token = answer.str("access_token").expect("a token");
    let introspected = resource_server.post(&server, "/oauth/introspect", &[("token", token)]).await.json();
    let refresh = answer.str("refresh_token").expect("a token");
    let renewed = crate::launch::refresh(&server, &clinic.app, refresh, None).await.expect_status(200).json();
    for name in
        ["patient", "encounter", "need_patient_banner", "intent", "tenant", "fhirContext", "smart_style_url", "scope"]
    {
        assert_eq!(introspected.get(name), answer.get(name), "{name}");
        assert_eq!(renewed.get(name), answer.get(name), "{name}");
    }
    let client = server.anonymous().with_token(token);
    client.get("Patient/p1").await.expect_status(200);
    client.get("Patient/p2").await.expect_status(404);
}

async fn sm_35_a_launch_is_taken_once(server: TestServer) {
    let clinic = clinic(&server).await;
    let launch = handle(&server, &clinic, &[("patient", "p1".into())]).await;
    let asked = with_launch(&server, &clinic, &launch);
    let mut browser = Browser::new(&server);
    let login = browser.ask(&asked).await.expect_status(200);
    let again = Browser::new(&server).get(&authorize(&asked)).await.expect_status(303);
    assert_eq!(told(&again).as_deref(), Some("invalid_request"));
    assert_eq!(parameter(&location(&again), "iss").as_deref(), Some(server.origin()), "SM-17");
    // the first goes on
    let consent = browser.sign_in(&login, &clinic.doctor).await.expect_status(200);
    let back = location(&browser.decide(&consent, "allow").await.expect_status(303));
    assert!(parameter(&back, "code").is_some());
    for made_up in ["trl_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "x", "eyJwYXRpZW50IjoicDEifQ"] {
        let asked = with_launch(&server, &clinic, made_up);
        let refused = Browser::new(&server).get(&authorize(&asked)).await.expect_status(303);
        assert_eq!(told(&refused).as_deref(), Some("invalid_request"), "{made_up}");
    }
}

async fn sm_35_a_launch_is_of_its_app_and_its_person(server: TestServer) {
    let clinic = clinic(&server).await;
    let other_app = app(&server, "Other");
    let other = add_account(&server, "other", Some("Practitioner/d1"));
    let launch = handle(&server, &clinic, &[("patient", "p1".into())]).await;
    let foreign = changed(&request(&server, &other_app, EHR_SCOPE), "launch", Some(&launch));
    let refused = Browser::new(&server).get(&authorize(&foreign)).await.expect_status(303);
    assert_eq!(told(&refused).as_deref(), Some("invalid_request"), "another app's");
    // another person signs in to answer it: no code, though they may see the same patient
    let mut browser = Browser::new(&server);
    let login = browser.ask(&with_launch(&server, &clinic, &launch)).await.expect_status(200);
    let refused = browser.sign_in(&login, &other).await.expect_status(400);
    assert!(refused.text().contains("launched by another person"), "{}", refused.text());
    // another person is signed in already
    let launch = handle(&server, &clinic, &[("patient", "p1".into())]).await;
    let refused = browser.get(&authorize(&with_launch(&server, &clinic, &launch))).await.expect_status(303);
    assert_eq!(told(&refused).as_deref(), Some("invalid_request"));
}

async fn sm_35_a_launch_of_the_built_in_ehr_is_of_its_browser(server: TestServer) {
    let clinic = clinic(&server).await;
    let mut browser = signed_in(&server, &clinic.doctor).await;
    let launch = open_app(&mut browser, &clinic, "p1", None).await;
    let asked = with_launch(&server, &clinic, &launch);
    let stolen = Browser::new(&server).get(&authorize(&asked)).await.expect_status(303);
    assert_eq!(told(&stolen).as_deref(), Some("invalid_request"));
    browser.ask(&asked).await.expect_status(200); // and was not spent by the thief
}

async fn sm_36_scope_and_parameter_come_together(server: TestServer) {
    let clinic = clinic(&server).await;
    let launch = handle(&server, &clinic, &[]).await;
    let good = with_launch(&server, &clinic, &launch);
    for bad in [
        changed(&good, "launch", None),
        changed(&good, "scope", Some("user/Patient.rs openid")),
        changed(&good, "scope", Some("launch/patient user/Patient.rs")),
    ] {
        let refused = Browser::new(&server).get(&authorize(&bad)).await.expect_status(303);
        assert_eq!(told(&refused).as_deref(), Some("invalid_request"), "{bad:?}");
    }
    Browser::new(&server).ask(&good).await.expect_status(200); // none of them took it
}

async fn sm_39_a_visit_is_of_its_patient(server: TestServer) {
    let clinic = clinic(&server).await;
    for (patient, encounter, what) in [
        (Some("p1"), Some("e2"), "of another patient"),
        (Some("p1"), Some("e9"), "of nobody"),
        (None, Some("e1"), "without a patient"),
        (Some("p3"), None, "not in the doctor's care"),
        (Some("p9"), None, "not there"),
    ] {
        let mut more = Vec::new();
        more.extend(patient.map(|patient| ("patient", Json::from(patient))));
        more.extend(encounter.map(|encounter| ("encounter", Json::from(encounter))));
        let refused = make(&server, &clinic, &more).await.expect_status(400);
        assert_eq!(error(&refused), "invalid_request", "{what}");
    }
    let answers = [
        make(&server, &clinic, &[("patient", "p3".into())]).await,
        make(&server, &clinic, &[("patient", "p9".into())]).await,
    ];
    assert_eq!(answers[0].text(), answers[1].text(), "hidden is unknown");
}

async fn sm_40_what_an_ehr_may_not_say(server: TestServer) {
    let clinic = clinic(&server).await;
    let long = "x".repeat(201);
    let cases: Vec<(&str, Json)> = vec![
        ("fhirContext", object! {}),
        ("fhirContext", array![object! { "reference": "Patient/p2" }]),
        ("fhirContext", array![object! { "reference": "ImagingStudy/1", "role": "" }]),
        ("need_patient_banner", "true".into()),
        ("intent", long.as_str().into()),
        ("tenant", "".into()),
        ("patient", Json::Bool(true)),
        ("client_id", "nobody".into()),
        ("user", "nobody".into()),
        ("user", "Practitioner/d9".into()),
        ("pateint", "p1".into()),
    ];
    for (name, value) in cases {
        let refused = make(&server, &clinic, &[(name, value.clone())]).await.expect_status(400);
        assert_eq!(error(&refused), "invalid_request", "{name}: {value}");
    }
    make(&server, &clinic, &[("user", "Practitioner/d1".into())]).await.expect_status(201);
}

async fn launches_are_made_by_programs_with_the_scope_only(server: TestServer) {
    let clinic = clinic(&server).await;
    let body = object! { "client_id": clinic.app.id.as_str(), "user": "snow", "patient": "p1" }.to_string();
    let send = |client: Client| client.post("/oauth/launch").body("application/json", body.clone());
    send(server.anonymous()).await.expect_status(401);
    send(server.anonymous().with_token("tra_nonsense")).await.expect_status(401);
    let refused = send(server.system()).await.expect_status(403);
    assert_eq!(error(&refused), "insufficient_scope");
    // a person's token with the scope launch is a launched app's, and launches nothing
    let launch = handle(&server, &clinic, &[("patient", "p1".into())]).await;
    let mut browser = Browser::new(&server);
    let login = browser.ask(&with_launch(&server, &clinic, &launch)).await.expect_status(200);
    let consent = browser.sign_in(&login, &clinic.doctor).await.expect_status(200);
    let back = location(&browser.decide(&consent, "allow").await.expect_status(303));
    let code = parameter(&back, "code").expect("a code");
    let granted = crate::launch::read(&exchange(&server, &clinic.app, &code, &[]).await.expect_status(200));
    send(server.anonymous().with_token(&granted.access)).await.expect_status(403);
    // a backend service that is registered for it
    let program = crate::assertion::add(&server, Signer::es384("k1"), &["--kind", "backend", "--scope", "launch"]);
    let answer = program.token(&server, "launch").await.expect_status(200).json();
    assert_eq!(answer.str("scope"), Some("launch"));
    assert!(answer.get("smart_style_url").is_none());
    let program = server.anonymous().with_token(answer.str("access_token").expect("a token"));
    send(program.clone()).await.expect_status(201);
    program.get("Patient/p1").await.expect_status(403);
}

async fn a_clinician_starts_an_app_from_a_patient(server: TestServer) {
    let clinic = clinic(&server).await;
    let mut browser = Browser::new(&server);
    let sent = browser.get("/ehr").await.expect_status(303);
    assert!(sent.header("location").is_some_and(|it| it.contains("/account/sign-in?to=/ehr")), "{sent:?}");
    let mut browser = signed_in(&server, &clinic.doctor).await;
    let list = browser.get("/ehr").await.expect_status(200).text();
    assert!(list.contains("/ehr/p1") && list.contains("/ehr/p2") && !list.contains("Stranger"), "{list}");
    let found = browser.get("/ehr?find=babb").await.expect_status(200).text();
    assert!(!found.contains("/ehr/p1") && found.contains("/ehr/p2"));
    let born = browser.get("/ehr?find=1815-12-10+love").await.expect_status(200).text();
    assert!(born.contains("/ehr/p1") && !born.contains("/ehr/p2"));
    browser.get("/ehr?find=%2C%7C%24%5C").await.expect_status(200);

    let launch = open_app(&mut browser, &clinic, "p1", Some("e1")).await;
    let consent = browser.ask(&with_launch(&server, &clinic, &launch)).await.expect_status(200);
    let back = location(&browser.decide(&consent, "allow").await.expect_status(303));
    let code = parameter(&back, "code").expect("a code");
    let answer = exchange(&server, &clinic.app, &code, &[]).await.expect_status(200).json();
    assert_eq!((answer.str("patient"), answer.str("encounter")), (Some("p1"), Some("e1")));
    assert_eq!(answer.get("need_patient_banner").and_then(Json::as_bool), Some(true));
}

async fn sm_37_the_built_in_ehr_opens_no_other_patients(server: TestServer) {
    let clinic = clinic(&server).await;
    let mut browser = signed_in(&server, &clinic.doctor).await;
    let hidden = browser.get("/ehr/p3").await.expect_status(404);
    let unknown = browser.get("/ehr/p9").await.expect_status(404);
    assert_eq!(hidden.text(), unknown.text());
    let page = browser.get("/ehr/p1").await.expect_status(200);
    let mut form = fields(&page.text());
    form.push(("app".to_owned(), clinic.app.id.clone()));
    browser.post("/ehr/p3", &form).await.expect_status(404);
    let foreign = changed(&form, "encounter", Some("e2"));
    browser.post("/ehr/p1", &foreign).await.expect_status(400);
    browser.post("/ehr/p1", &changed(&form, "app", Some("nobody"))).await.expect_status(400);
    browser.post("/ehr/p1", &changed(&form, "form_token", None)).await.expect_status(400);
}

async fn lk_40_a_right_that_ended_ends_the_launch(server: TestServer) {
    let clinic = clinic(&server).await;
    let launch = handle(&server, &clinic, &[("patient", "p1".into())]).await;
    let mut browser = Browser::new(&server);
    let login = browser.ask(&with_launch(&server, &clinic, &launch)).await.expect_status(200);
    let consent = browser.sign_in(&login, &clinic.doctor).await.expect_status(200);
    server.system().store(&object! { "resourceType": "Patient", "id": "p1" }).await; // another doctor's now
    browser.decide(&consent, "allow").await.expect_status(400);
}

fn authorize(request: &[(String, String)]) -> String {
    format!("/oauth/authorize?{}", crate::launch::encode(request))
}

/// A browser in which the person signed in without any app.
pub(crate) async fn signed_in<'a>(server: &'a TestServer, account: &Account) -> Browser<'a> {
    let mut browser = Browser::new(server);
    let page = browser.get("/account/sign-in?to=/ehr").await.expect_status(200);
    let mut form = fields(&page.text());
    form.push(("username".to_owned(), account.username.clone()));
    form.push(("password".to_owned(), account.password.clone()));
    let sent = browser.post("/account/sign-in", &form).await.expect_status(303);
    assert!(sent.header("location").is_some_and(|it| it.ends_with("/ehr")), "{sent:?}");
    browser
}

/// Opens a patient and an app; the launch handle that the app gets.
async fn open_app(browser: &mut Browser<'_>, clinic: &Clinic, patient: &str, encounter: Option<&str>) -> String {
    let page = browser.get(&format!("/ehr/{patient}")).await.expect_status(200);
    let mut form = fields(&page.text());
    if let Some(encounter) = encounter {
        form.retain(|(name, _)| name != "encounter");
        form.push(("encounter".to_owned(), encounter.to_owned()));
    }
    form.push(("app".to_owned(), clinic.app.id.clone()));
    let opening = browser.post(&format!("/ehr/{patient}"), &form).await.expect_status(200);
    let refresh = opening.header("refresh").expect("a way on").to_owned();
    let address = Url::parse(refresh.split_once("url=").expect("an address").1).expect("a URL");
    assert!(address.as_str().starts_with(LAUNCH_URI), "{address}");
    parameter(&address, "launch").expect("a launch")
}
