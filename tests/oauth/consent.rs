//! Tests of `server/src/oauth/consent.rs`.

use fhir::{array, object};
use tests::TestServer;

use crate::launch::{
    Browser, SCOPE, add_account, add_app, exchange, fields, location, parameter, read, request, seed, tokens,
};

tests::on_both_engines!(
    sm_28_what_is_unticked_is_not_granted,
    denied_is_said_to_the_app,
    an_answer_is_given_once,
    oa_14_consent_needs_the_token_of_its_page,
    oa_16_another_person_does_not_finish_what_one_began,
    sm_37_a_practitioner_chooses_among_their_own_patients,
    a_person_without_a_record_has_nothing_to_share,
);

async fn sm_28_what_is_unticked_is_not_granted(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let mut browser = Browser::new(&server);
    let scope = "launch/patient patient/Observation.rs patient/Condition.rs offline_access";
    let login = browser.ask(&request(&server, &app, scope)).await.expect_status(200);
    let consent = browser.sign_in(&login, &account).await.expect_status(200);
    let mut form = fields(&consent.text());
    form.retain(|(_, value)| value != "patient/Condition.rs" && value != "offline_access");
    form.push(("scope".to_owned(), "patient/Patient.cruds".to_owned())); // never asked
    form.push(("decision".to_owned(), "allow".to_owned()));
    let back = location(&browser.post("/oauth/consent", &form).await.expect_status(303));
    let code = parameter(&back, "code").expect("a code");
    let granted = read(&exchange(&server, &app, &code, &[]).await.expect_status(200));
    assert_eq!(granted.scope, "launch/patient patient/Observation.rs");
    assert_eq!(granted.patient, "p1");
    assert_eq!(granted.refresh, "", "SM-52");
    let client = server.anonymous().with_token(&granted.access);
    client.get("Observation").await.expect_status(200);
    client.get("Condition").await.expect_status(403);
}

async fn denied_is_said_to_the_app(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let consent = browser.sign_in(&login, &account).await.expect_status(200);
    let back = location(&browser.decide(&consent, "deny").await.expect_status(303));
    assert_eq!(parameter(&back, "error").as_deref(), Some("access_denied"));
    assert_eq!(parameter(&back, "state").as_deref(), Some("s-1"));
    assert_eq!(parameter(&back, "iss").as_deref(), Some(server.origin()));
}

async fn an_answer_is_given_once(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let consent = browser.sign_in(&login, &account).await.expect_status(200);
    browser.decide(&consent, "allow").await.expect_status(303);
    browser.decide(&consent, "allow").await.expect_status(400);
}

async fn oa_14_consent_needs_the_token_of_its_page(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let consent = browser.sign_in(&login, &account).await.expect_status(200);
    let mut form = fields(&consent.text());
    form.push(("decision".to_owned(), "allow".to_owned()));
    form.retain(|(name, _)| name != "form_token");
    browser.post("/oauth/consent", &form).await.expect_status(400);
    Browser::new(&server).decide(&consent, "allow").await.expect_status(400);
}

async fn oa_16_another_person_does_not_finish_what_one_began(server: TestServer) {
    let account = seed(&server).await;
    let other = add_account(&server, "charles", Some("Patient/p2"));
    let app = add_app(&server, "public");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let consent = browser.sign_in(&login, &account).await.expect_status(200);
    let begun = consent.clone();
    // in a second tab the other person takes over the browser
    let second = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let switched = browser.decide(&second, "switch").await.expect_status(303);
    let login = browser.get(switched.header("location").expect("a Location")).await.expect_status(200);
    browser.sign_in(&login, &other).await.expect_status(200);
    browser.decide(&begun, "allow").await.expect_status(400);
}

async fn sm_37_a_practitioner_chooses_among_their_own_patients(server: TestServer) {
    seed(&server).await;
    let system = server.system();
    system.store(&object! { "resourceType": "Practitioner", "id": "d1" }).await;
    let doctor = object! { "reference": "Practitioner/d1" };
    let patient =
        |id: &str| object! { "resourceType": "Patient", "id": id, "generalPractitioner": array![doctor.clone()] };
    system.store(&patient("p3")).await;
    system.store(&patient("p4")).await;
    let member = object! { "member": doctor.clone() };
    let subject = object! { "reference": "Patient/p2" };
    let team = object! { "resourceType": "CareTeam", "id": "t1", "status": "active", "subject": subject, "participant": array![member] };
    system.store(&team).await;
    let account = add_account(&server, "doctor", Some("Practitioner/d1"));
    let app = add_app(&server, "public");

    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let consent = browser.sign_in(&login, &account).await.expect_status(200);
    let page = consent.text();
    for (id, offered) in [("p1", false), ("p2", true), ("p3", true), ("p4", true)] {
        assert_eq!(page.contains(&format!("name=\"patient\" value=\"{id}\"")), offered, "{id}");
    }
    let choose = |patient: &str| {
        let mut form = fields(&page);
        form.extend([("patient".to_owned(), patient.to_owned()), ("decision".to_owned(), "allow".to_owned())]);
        form
    };
    let tampered = browser.post("/oauth/consent", &choose("p1")).await.expect_status(200);
    assert!(tampered.text().contains("You cannot share this patient"), "{}", tampered.text());
    let back = location(&browser.post("/oauth/consent", &choose("p3")).await.expect_status(303));
    let code = parameter(&back, "code").expect("a code");
    let granted = read(&exchange(&server, &app, &code, &[]).await.expect_status(200));
    assert_eq!(granted.patient, "p3");
    let client = server.anonymous().with_token(&granted.access);
    client.get("Patient/p3").await.expect_status(200);
    client.get("Patient/p4").await.expect_status(404);

    let wide = tokens(&server, &app, &account, "user/Patient.rs").await;
    let mut seen = server.anonymous().with_token(&wide.access).matches("Patient").await;
    seen.sort();
    assert_eq!(seen, ["p2", "p3", "p4"], "LK-40");
}

async fn a_person_without_a_record_has_nothing_to_share(server: TestServer) {
    seed(&server).await;
    let account = add_account(&server, "nobody", None);
    let app = add_app(&server, "public");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let consent = browser.sign_in(&login, &account).await.expect_status(200);
    let mut form = fields(&consent.text());
    form.extend([
        ("scope".to_owned(), "patient/*.rs".to_owned()),
        ("patient".to_owned(), "p1".to_owned()),
        ("decision".to_owned(), "allow".to_owned()),
    ]);
    browser.post("/oauth/consent", &form).await.expect_status(200);
}
