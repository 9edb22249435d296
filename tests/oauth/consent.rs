//! Tests of `server/src/oauth/consent.rs`.

use fhir::{array, object};
use tests::TestServer;

use crate::ehr_launch;
use crate::launch::{
    App, Browser, SCOPE, add_account, add_app, exchange, fields, location, parameter, read, request, seed, tokens,
};
use crate::portal::{SCOPES, administrator, decide, developer, make_app, send};

tests::on_both_engines!(
    lk_40_a_limited_app_is_offered_its_patients_only,
    sm_28_what_is_unticked_is_not_granted,
    denied_is_said_to_the_app,
    an_answer_is_given_once,
    oa_14_consent_needs_the_token_of_its_page,
    oa_16_another_person_does_not_finish_what_one_began,
    sm_37_a_practitioner_chooses_among_their_own_patients,
    sm_26_parts_of_observations_and_conditions_can_be_given,
    sm_27_the_whole_record_is_said_to_cover_later_kinds,
    sm_37_many_patients_are_found_by_name,
    sm_37_who_cares_for_others_chooses_among_them,
    sm_37_sm_39_a_visit_is_chosen_of_the_chosen_patient,
    lk_54_care_ends_at_its_instant,
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

const LABORATORY: &str =
    "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory";
const CONCERN: &str =
    "patient/Condition.rs?category=http://hl7.org/fhir/us/core/CodeSystem/condition-category|health-concern";

async fn sm_26_parts_of_observations_and_conditions_can_be_given(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let scope = "launch/patient patient/Patient.rs patient/Condition.rs patient/Observation.rs offline_access";
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, scope)).await.expect_status(200);
    let consent = browser.sign_in(&login, &account).await.expect_status(200);
    let page = consent.text();
    assert_eq!(page.matches("?category=http").count(), 9, "the categories of HTI-1");
    assert!(page.contains("offline_access") && page.contains("without you"), "offline_access is explained");
    let mut form = fields(&page); // the whole stays ticked: parts narrow it
    form.extend([LABORATORY, CONCERN, "patient/Observation.rs?category=x|y", "patient/Goal.rs"].map(|scope| {
        ("scope".to_owned(), scope.to_owned()) // the last two are not on offer
    }));
    form.push(("decision".to_owned(), "allow".to_owned()));
    let back = location(&browser.post("/oauth/consent", &form).await.expect_status(303));
    let code = parameter(&back, "code").expect("a code");
    let granted = read(&exchange(&server, &app, &code, &[]).await.expect_status(200));
    assert_eq!(granted.scope, format!("launch/patient patient/Patient.rs {CONCERN} {LABORATORY} offline_access"));
    let client = server.anonymous().with_token(&granted.access);
    client.get("Observation?patient=p1").await.expect_status(200);
    client.get("Goal?patient=p1").await.expect_status(403);
    // after an error the page still holds what was ticked
    let again = browser.ask(&request(&server, &app, scope)).await.expect_status(200);
    let mut form = fields(&again.text());
    form.retain(|(name, _)| name != "scope");
    form.extend(
        [("scope", LABORATORY), ("decision", "again")].map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let shown = browser.post("/oauth/consent", &form).await.expect_status(200).text();
    let kept: Vec<String> =
        fields(&shown).into_iter().filter(|(name, _)| name == "scope").map(|(_, value)| value).collect();
    assert_eq!(kept, [LABORATORY]);
}

async fn sm_27_the_whole_record_is_said_to_cover_later_kinds(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let page = browser.sign_in(&login, &account).await.expect_status(200).text();
    assert!(page.contains("The whole record") && page.contains("also kinds that are added later"), "{page}");
}

async fn sm_37_many_patients_are_found_by_name(server: TestServer) {
    let system = server.system();
    let doctor = object! { "reference": "Practitioner/d1" };
    let patient = |number: usize| {
        let name = object! { "family": format!("Family{number:02}") };
        object! {
            "request": object! { "method": "PUT", "url": format!("Patient/m{number}") },
            "resource": object! {
                "resourceType": "Patient", "id": format!("m{number}"), "name": array![name],
                "generalPractitioner": array![doctor.clone()],
            },
        }
    };
    let entries: Vec<fhir::json::Json> = (0..60).map(patient).collect();
    system
        .post("")
        .json(&object! { "resourceType": "Bundle", "type": "batch", "entry": entries })
        .await
        .expect_status(200);
    let account = add_account(&server, "doctor", Some("Practitioner/d1"));
    let app = add_app(&server, "public");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, SCOPE)).await.expect_status(200);
    let page = browser.sign_in(&login, &account).await.expect_status(200).text();
    assert!(page.contains("There are 10 more"), "{page}");
    assert!(!page.contains("value=\"m59\""));
    let mut form = fields(&page);
    form.extend([("find", "family59"), ("decision", "find")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    let found = browser.post("/oauth/consent", &form).await.expect_status(200).text();
    assert!(found.contains("value=\"m59\"") && !found.contains("value=\"m58\""), "{found}");
    let mut form = fields(&found);
    form.extend([("patient", "m59"), ("decision", "allow")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    let back = location(&browser.post("/oauth/consent", &form).await.expect_status(303));
    let code = parameter(&back, "code").expect("a code");
    assert_eq!(read(&exchange(&server, &app, &code, &[]).await.expect_status(200)).patient, "m59");
}

/// A mother whose own record of a related person is of the first child, and who is linked to that of the second.
async fn family(server: &TestServer) {
    let system = server.system();
    for id in ["child1", "child2", "child3"] {
        system.store(&object! { "resourceType": "Patient", "id": id, "name": array![object! { "text": id }] }).await;
    }
    for (id, child) in [("r1", "child1"), ("r2", "child2"), ("r3", "child3")] {
        let patient = object! { "reference": format!("Patient/{child}") };
        system.store(&object! { "resourceType": "RelatedPerson", "id": id, "patient": patient }).await;
    }
    let link = |id: &str| object! { "target": object! { "reference": format!("RelatedPerson/{id}") } };
    system.store(&object! { "resourceType": "Person", "id": "mother", "link": array![link("r1"), link("r2")] }).await;
}

async fn sm_37_who_cares_for_others_chooses_among_them(server: TestServer) {
    family(&server).await;
    let account = add_account(&server, "mother", Some("RelatedPerson/r1"));
    let app = add_app(&server, "public");
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, "launch/patient patient/*.cruds")).await.expect_status(200);
    let page = browser.sign_in(&login, &account).await.expect_status(200).text();
    for (id, offered) in [("child1", true), ("child2", true), ("child3", false)] {
        assert_eq!(page.contains(&format!("name=\"patient\" value=\"{id}\"")), offered, "{id}");
    }
    let choose = |patient: &str| {
        let mut form = fields(&page);
        form.extend(
            [("patient", patient), ("decision", "allow")].map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        form
    };
    let tampered = browser.post("/oauth/consent", &choose("child3")).await.expect_status(200);
    assert!(tampered.text().contains("You cannot share this patient"));
    let back = location(&browser.post("/oauth/consent", &choose("child2")).await.expect_status(303));
    let code = parameter(&back, "code").expect("a code");
    let granted = read(&exchange(&server, &app, &code, &[]).await.expect_status(200));
    assert_eq!(granted.patient, "child2");
    let client = server.anonymous().with_token(&granted.access);
    client.get("Patient/child2").await.expect_status(200);
    client.get("Patient/child1").await.expect_status(404);

    // nobody makes themselves a carer of others, or one for longer
    let link = object! { "target": object! { "reference": "RelatedPerson/r3" } };
    let me = object! { "target": object! { "reference": "RelatedPerson/r1" } };
    let mine = object! { "target": object! { "reference": "Patient/child2" } };
    let person = object! { "resourceType": "Person", "link": array![me, link, mine] };
    client.post("Person").json(&person).await.expect_status(403);
    let patient = object! { "reference": "Patient/child2" };
    let longer = object! { "resourceType": "RelatedPerson", "id": "r2", "patient": patient, "active": true };
    client.put("RelatedPerson/r2").json(&longer).await.expect_status(403);
    // the patient's own app may say who cares, but links no humans either
    let own = server.patient("child2");
    own.put("RelatedPerson/r2").json(&longer).await.expect_status(200);
    own.post("Person").json(&person).await.expect_status(403);

    let wide = tokens(&server, &app, &account, "user/Patient.rs").await;
    let mut seen = server.anonymous().with_token(&wide.access).matches("Patient").await;
    seen.sort();
    assert_eq!(seen, ["child1", "child2"]);
}

async fn lk_54_care_ends_at_its_instant(server: TestServer) {
    family(&server).await;
    let account = add_account(&server, "mother", Some("RelatedPerson/r1"));
    let app = add_app(&server, "public");
    let granted = tokens(&server, &app, &account, "user/Patient.rs").await;
    let client = server.anonymous().with_token(&granted.access);
    client.get("Patient/child2").await.expect_status(200);
    let patient = object! { "reference": "Patient/child2" };
    let ended = object! {
        "resourceType": "RelatedPerson", "id": "r2", "patient": patient, "period": object! { "end": "2020-01-01" },
    };
    server.system().store(&ended).await;
    client.get("Patient/child2").await.expect_status(404);
    client.get("Patient/child1").await.expect_status(200);
}

async fn sm_37_sm_39_a_visit_is_chosen_of_the_chosen_patient(server: TestServer) {
    let clinic = crate::ehr_launch::clinic(&server).await;
    let scope = "launch/patient launch/encounter patient/Observation.rs";
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &clinic.app, scope)).await.expect_status(200);
    let consent = browser.sign_in(&login, &clinic.doctor).await.expect_status(200);
    let send = |page: &str, more: &[(&str, &str)]| {
        let mut form = fields(page);
        form.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        form.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        form
    };
    let form = send(&consent.text(), &[("patient", "p1"), ("decision", "allow")]);
    let asked = browser.post("/oauth/consent", &form).await.expect_status(200).text();
    assert!(asked.contains("name=\"encounter\" value=\"e1\"") && !asked.contains("value=\"e2\""), "{asked}");
    for foreign in ["e2", "e9"] {
        let form = send(&asked, &[("encounter", foreign), ("decision", "allow")]);
        let refused = browser.post("/oauth/consent", &form).await.expect_status(200).text();
        assert!(refused.contains("not a visit of the patient"), "{foreign}: {refused}");
    }
    // the visit was shown for another patient than the one who is chosen now
    let form = send(&asked, &[("patient", "p2"), ("encounter", "e1"), ("decision", "allow")]);
    let other = browser.post("/oauth/consent", &form).await.expect_status(200).text();
    assert!(other.contains("value=\"e2\""), "{other}");
    let form = send(&asked, &[("encounter", "e1"), ("decision", "allow")]);
    let back = location(&browser.post("/oauth/consent", &form).await.expect_status(303));
    let code = parameter(&back, "code").expect("a code");
    let answer = exchange(&server, &clinic.app, &code, &[]).await.expect_status(200).json();
    assert_eq!(
        (answer.str("patient"), answer.str("encounter"), answer.str("scope")),
        (Some("p1"), Some("e1"), Some(scope))
    );

    // none of them: then the app is not told one, and the scope does not say so
    let page = browser.ask(&request(&server, &clinic.app, scope)).await.expect_status(200).text();
    let form = send(&page, &[("patient", "p1"), ("visits_of", "p1"), ("encounter", "none"), ("decision", "allow")]);
    let back = location(&browser.post("/oauth/consent", &form).await.expect_status(303));
    let code = parameter(&back, "code").expect("a code");
    let answer = exchange(&server, &clinic.app, &code, &[]).await.expect_status(200).json();
    assert_eq!(answer.str("scope"), Some("launch/patient patient/Observation.rs"));
    assert!(answer.get("encounter").is_none());
}

async fn lk_40_a_limited_app_is_offered_its_patients_only(server: TestServer) {
    let clinic = ehr_launch::clinic(&server).await;
    let mut developer = developer(&server, "maker", "Practitioner/d1", "work").await;
    let id = make_app(&mut developer, "confidential", SCOPES).await;
    decide(&mut administrator(&server).await, &id, "approve").await.expect_status(303);
    let patients = format!("/portal/apps/{id}/patients");
    let chosen = [("limit", "chosen"), ("shown", "p1"), ("shown", "p2"), ("patient", "p1")];
    send(&mut developer, &patients, &patients, &chosen).await.expect_status(303);
    let app = App { id, secret: None };
    let mut browser = Browser::new(&server);
    let login = browser.ask(&request(&server, &app, "launch/patient patient/*.rs user/*.rs")).await.expect_status(200);
    let consent = browser.sign_in(&login, &clinic.doctor).await.expect_status(200);
    let page = consent.text();
    assert!(page.contains("Whom it reaches") && page.contains("Lovelace"), "{page}");
    assert!(page.contains("in the records of these patients") && !page.contains("every record"), "{page}");
    assert!(!page.contains("Babbage") && !page.contains("value=\"p2\""), "{page}");
    let mut form: Vec<_> = fields(&page).into_iter().filter(|(name, _)| name != "patient").collect();
    form.extend([("patient", "p2"), ("decision", "allow")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    let again = browser.post("/oauth/consent", &form).await.expect_status(200).text();
    assert!(again.contains("You cannot share this patient&#39;s record."), "{again}");
    browser.decide(&consent, "allow").await.expect_status(303);
}
