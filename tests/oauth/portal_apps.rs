//! Tests of `server/src/portal/{apps,app_form,key,patients}.rs` and of the usage figures.

use std::time::{Duration, Instant};

use fhir::{array, object};
use tests::TestServer;

use crate::launch::{
    App, Browser, REDIRECT_URI, add_account, error, exchange, fields, launch, parameter, post, read, refresh, request,
    seed, tokens,
};
use crate::portal::{
    SCOPES, administrator, between, decide, developer, make_app, make_secret, patient_developer, send, sign_up,
};

tests::on_both_engines!(
    an_app_works_from_approval_until_it_is_switched_off,
    oa_30_another_developers_app_is_not_there,
    sm_61_a_secret_is_shown_once_and_two_live,
    oa_03_oa_29_faults_are_told_at_their_fields,
    what_an_administrator_looked_at_is_looked_at_again,
    sm_28_scopes_that_an_app_loses_are_lost_to_its_grants,
    sm_28_sm_52_an_app_that_may_not_stay_connected_is_not_renewed,
    validity_is_kept,
    usage_and_errors_are_shown_without_patients,
    lk_40_a_list_of_patients_confines_an_app,
    oa_30_names_are_inert,
);

async fn an_app_works_from_approval_until_it_is_switched_off(server: TestServer) {
    let account = seed(&server).await;
    let mut root = administrator(&server).await;
    let mut dev = sign_up(&server, "dev", "work").await;
    let id = make_app(&mut dev, "public", SCOPES).await;
    let app = App { id: id.clone(), secret: None };
    let page = dev.get(&format!("/portal/apps/{id}")).await.expect_status(200).text();
    assert!(page.contains("waits for approval") && page.contains(&id));
    Browser::new(&server).ask_refused(&request(&server, &app, "patient/*.rs")).await;
    decide(&mut root, &id, "approve").await.expect_status(303);
    let granted = tokens(&server, &app, &account, "launch/patient patient/*.rs offline_access").await;
    let client = server.anonymous().with_token(&granted.access);
    client.get("Patient/p1").await.expect_status(200);
    let state = format!("/portal/apps/{id}/state");
    send(&mut dev, "/portal", &state, &[("state", "off")]).await.expect_status(303);
    client.get("Patient/p1").await.expect_status(401);
    send(&mut dev, "/portal", &state, &[("state", "on")]).await.expect_status(303);
    client.get("Patient/p1").await.expect_status(200);
    decide(&mut root, &id, "stop").await.expect_status(303);
    client.get("Patient/p1").await.expect_status(401);
    // its developer cannot switch on what an administrator switched off
    send(&mut dev, "/portal", &state, &[("state", "on")]).await.expect_status(303);
    client.get("Patient/p1").await.expect_status(401);
    decide(&mut root, &id, "release").await.expect_status(303);
    client.get("Patient/p1").await.expect_status(200);
    decide(&mut root, &id, "refuse").await.expect_status(303);
    client.get("Patient/p1").await.expect_status(401);
}

async fn oa_30_another_developers_app_is_not_there(server: TestServer) {
    let (mut dev, mut other) = (sign_up(&server, "dev", "work").await, sign_up(&server, "other", "work").await);
    let id = make_app(&mut dev, "confidential", SCOPES).await;
    make_secret(&mut dev, &id).await;
    for id in [id.as_str(), "unknown"] {
        for page in ["", "/edit", "/patients"] {
            other.get(&format!("/portal/apps/{id}{page}")).await.expect_status(404);
        }
        for (to, pairs) in [
            ("/edit", vec![("name", "Mine now")]),
            ("/state", vec![("state", "off")]),
            ("/secret", vec![("newest", "0")]),
            ("/secret/end", vec![("secret", "00")]),
            ("/patients", vec![("limit", "everybody")]),
        ] {
            send(&mut other, "/portal", &format!("/portal/apps/{id}{to}"), &pairs).await.expect_status(404);
        }
        let pairs = [("app", id), ("method", "GET"), ("path", "Patient")];
        send(&mut other, "/portal", "/portal/console", &pairs).await.expect_status(404);
        send(&mut other, "/portal", &format!("/portal/admin/apps/{id}"), &[("decision", "approve")])
            .await
            .expect_status(404);
    }
    assert!(!other.get("/portal/apps").await.expect_status(200).text().contains(&id));
    let page = dev.get(&format!("/portal/apps/{id}")).await.expect_status(200).text();
    assert!(page.contains("Heart Watch") && page.contains("made "), "nothing has changed");
}

async fn sm_61_a_secret_is_shown_once_and_two_live(server: TestServer) {
    seed(&server).await;
    let mut root = administrator(&server).await;
    let mut dev = patient_developer(&server, "p1").await;
    let id = make_app(&mut dev, "confidential", SCOPES).await;
    decide(&mut root, &id, "approve").await.expect_status(303);
    let page = format!("/portal/apps/{id}");
    let first = make_secret(&mut dev, &id).await;
    let second = make_secret(&mut dev, &id).await;
    assert!(!dev.get(&page).await.text().contains(&first), "shown once");
    let works = async |secret: &str| {
        let app = App { id: id.clone(), secret: Some(secret.to_owned()) };
        let form = [("grant_type", "refresh_token"), ("refresh_token", "trr_none")];
        error(&post(&server, &app, "/oauth/token", &form).await) == "invalid_grant"
    };
    assert!(works(&first).await && works(&second).await);
    // the page of the first one sent again makes none
    let again = [("newest", "0")];
    send(&mut dev, &page, &format!("{page}/secret"), &again).await.expect_status(303);
    let third = make_secret(&mut dev, &id).await;
    assert!(!works(&first).await && works(&second).await && works(&third).await);
    let shown = dev.get(&page).await.text();
    let newest = fields(&shown).into_iter().find(|(name, _)| name == "secret").expect("a secret's name").1;
    send(&mut dev, &page, &format!("{page}/secret/end"), &[("secret", &newest)]).await.expect_status(303);
    assert!(works(&second).await && !works(&third).await);
}

async fn oa_03_oa_29_faults_are_told_at_their_fields(server: TestServer) {
    let mut dev = sign_up(&server, "dev", "personal").await;
    let faultless = [
        ("name", "Heart Watch"),
        ("description", "Shows the pulse."),
        ("kind", "public"),
        ("redirect_uris", "https://app.example/cb"),
        ("scopes", "patient/*.rs"),
    ];
    for (field, value) in [
        ("name", ""),
        ("name", "Heart\u{202e}hctaW"),
        ("description", ""),
        ("kind", "desktop"),
        ("kind", "backend"),
        ("redirect_uris", ""),
        ("redirect_uris", "http://app.example/cb"),
        ("redirect_uris", "https://*.example/cb"),
        ("redirect_uris", "javascript:alert(1)"),
        ("launch_uri", "data:text/html,x"),
        ("scopes", ""),
        ("scopes", "system/*.rs"),
        ("scopes", "patient/Observation.rs?nonsense=1"),
        ("valid_from", "tomorrow"),
    ] {
        let mut pairs: Vec<(&str, &str)> = faultless.iter().filter(|(name, _)| *name != field).copied().collect();
        pairs.push((field, value));
        let answer = send(&mut dev, "/portal/apps/new", "/portal/apps/new", &pairs).await.expect_status(400);
        assert!(answer.text().contains(&format!("id=\"{field}-problem\"")), "{field} {value}: {}", answer.text());
    }
    assert!(dev.get("/portal/apps").await.text().contains("You have no app yet"));
    let nobody = add_account(&server, "plain", None);
    let mut plain = crate::portal::sign_in(&server, &nobody).await;
    plain.get("/portal/apps/new").await.expect_status(404);
}

async fn what_an_administrator_looked_at_is_looked_at_again(server: TestServer) {
    let mut root = administrator(&server).await;
    let mut dev = sign_up(&server, "dev", "work").await;
    let id = make_app(&mut dev, "public", "patient/*.rs").await;
    decide(&mut root, &id, "approve").await.expect_status(303);
    let edit = format!("/portal/apps/{id}/edit");
    let page = format!("/portal/apps/{id}");
    for (name, uris, scopes, waits) in [
        ("Heart Watch", "https://app.example/callback", "patient/*.rs", false),
        ("Heart Watch", "https://app.example/callback", "patient/Observation.rs", false),
        ("Your Hospital", "https://app.example/callback", "patient/Observation.rs", true),
        ("Your Hospital", "https://app.example/callback https://b.example/", "patient/Observation.rs", true),
        ("Your Hospital", "https://b.example/", "patient/Observation.rs", false),
        ("Your Hospital", "https://b.example/", "patient/*.cruds", true),
    ] {
        let pairs = [("name", name), ("description", "d"), ("redirect_uris", uris), ("scopes", scopes)];
        send(&mut dev, &edit, &edit, &pairs).await.expect_status(303);
        let shown = dev.get(&page).await.text();
        assert_eq!(shown.contains("waits for approval"), waits, "{name} {uris} {scopes}");
        decide(&mut root, &id, "approve").await.expect_status(303);
    }
    // what it is does not change
    let pairs = [
        ("name", "Your Hospital"),
        ("description", "d"),
        ("redirect_uris", "https://b.example/"),
        ("scopes", "patient/*.cruds"),
        ("kind", "confidential"),
    ];
    send(&mut dev, &edit, &edit, &pairs).await.expect_status(303);
    assert!(dev.get(&page).await.text().contains("app on phones or in browsers"));
}

/// An app of `dev` is registered for other scopes from now on.
async fn register(dev: &mut Browser<'_>, id: &str, scopes: &str) {
    let edit = format!("/portal/apps/{id}/edit");
    let pairs = [
        ("name", "Heart Watch"),
        ("description", "Shows the pulse."),
        ("redirect_uris", REDIRECT_URI),
        ("scopes", scopes),
    ];
    send(dev, &edit, &edit, &pairs).await.expect_status(303);
}

async fn sm_28_scopes_that_an_app_loses_are_lost_to_its_grants(server: TestServer) {
    let account = seed(&server).await;
    let mut root = administrator(&server).await;
    let mut dev = sign_up(&server, "dev", "work").await;
    let id = make_app(&mut dev, "public", "launch/patient offline_access patient/*.cruds").await;
    decide(&mut root, &id, "approve").await.expect_status(303);
    let app = App { id: id.clone(), secret: None };
    let first = tokens(&server, &app, &account, "launch/patient offline_access patient/*.cruds").await;
    assert!(first.scope.contains("patient/*.cruds"), "{}", first.scope);
    let back = launch(&server, &app, &account, "launch/patient patient/*.cruds").await;
    let code = parameter(&back, "code").expect("a code");
    let another = server.another().await;
    let processes = [server.anonymous().with_token(&first.access), another.client().with_token(&first.access)];
    for client in &processes {
        client.get("Patient/p1").await.expect_status(200);
        client.get("Condition").await.expect_status(200);
    }
    register(&mut dev, &id, "launch/patient offline_access patient/Observation.rs").await;
    for client in &processes {
        client.get("Patient/p1").await.expect_status(403);
        client.get("Condition").await.expect_status(403);
        client.get("Observation").await.expect_status(200);
    }
    let mut renewed = read(&refresh(&server, &app, &first.refresh, None).await.expect_status(200));
    assert_eq!(renewed.scope, "launch/patient offline_access patient/Observation.rs");
    let wider = refresh(&server, &app, &renewed.refresh, Some("patient/*.cruds")).await.expect_status(400);
    assert_eq!(error(&wider), "invalid_scope");
    let late = read(&exchange(&server, &app, &code, &[]).await.expect_status(200));
    assert_eq!(late.scope, "launch/patient patient/Observation.rs", "consented before, exchanged after");
    // what the app gets back comes back to the grant, and nothing else
    for (registered, expected) in [
        (
            "launch/patient patient/Observation.rs offline_access user/*.rs",
            "launch/patient offline_access patient/Observation.rs",
        ),
        ("launch/patient offline_access patient/*.cruds user/*.cruds", "launch/patient offline_access patient/*.cruds"),
    ] {
        register(&mut dev, &id, registered).await;
        decide(&mut root, &id, "approve").await.expect_status(303);
        renewed = read(&refresh(&server, &app, &renewed.refresh, None).await.expect_status(200));
        assert_eq!(renewed.scope, expected, "registered: {registered}");
    }
    processes[1].get("Patient/p1").await.expect_status(200);
    register(&mut dev, &id, "user/*.rs").await;
    for client in &processes {
        client.get("Observation").await.expect_status(401);
    }
    refresh(&server, &app, &renewed.refresh, None).await.expect_status(400);
}

async fn sm_28_sm_52_an_app_that_may_not_stay_connected_is_not_renewed(server: TestServer) {
    let account = seed(&server).await;
    let mut root = administrator(&server).await;
    let mut dev = sign_up(&server, "dev", "work").await;
    let id = make_app(&mut dev, "public", SCOPES).await;
    decide(&mut root, &id, "approve").await.expect_status(303);
    let app = App { id: id.clone(), secret: None };
    let first = tokens(&server, &app, &account, "launch/patient offline_access patient/*.rs").await;
    register(&mut dev, &id, "launch/patient patient/*.rs").await;
    server.anonymous().with_token(&first.access).get("Patient/p1").await.expect_status(200);
    assert_eq!(error(&refresh(&server, &app, &first.refresh, None).await.expect_status(400)), "invalid_grant");
}

async fn validity_is_kept(server: TestServer) {
    let account = seed(&server).await;
    let mut root = administrator(&server).await;
    let mut dev = sign_up(&server, "dev", "work").await;
    let id = make_app(&mut dev, "public", SCOPES).await;
    decide(&mut root, &id, "approve").await.expect_status(303);
    let app = App { id: id.clone(), secret: None };
    let (edit, page) = (format!("/portal/apps/{id}/edit"), format!("/portal/apps/{id}"));
    let granted = tokens(&server, &app, &account, "launch/patient patient/*.rs").await;
    let client = server.anonymous().with_token(&granted.access);
    for (from, to, words, status) in [
        ("2020-01-01", "2020-12-31", "no longer valid", 401),
        ("2999-01-01", "", "not valid yet", 401),
        ("2020-01-01", "2999-12-31", "from 1 January 2020 until the end of 31 December 2999", 200),
    ] {
        let pairs = [
            ("name", "Heart Watch"),
            ("description", "d"),
            ("redirect_uris", crate::launch::REDIRECT_URI),
            ("scopes", SCOPES),
            ("valid_from", from),
            ("valid_to", to),
        ];
        send(&mut dev, &edit, &edit, &pairs).await.expect_status(303);
        assert!(dev.get(&page).await.text().contains(words), "{words}");
        client.get("Patient/p1").await.expect_status(status);
        let form = dev.get(&edit).await.text();
        assert!(form.contains(&format!("value=\"{to}\"")) || to.is_empty(), "the day comes back");
    }
}

async fn usage_and_errors_are_shown_without_patients(server: TestServer) {
    let account = seed(&server).await;
    let mut root = administrator(&server).await;
    let mut dev = sign_up(&server, "dev", "work").await;
    let id = make_app(&mut dev, "public", SCOPES).await;
    decide(&mut root, &id, "approve").await.expect_status(303);
    let app = App { id: id.clone(), secret: None };
    let granted = tokens(&server, &app, &account, "launch/patient patient/*.rs").await;
    let client = server.anonymous().with_token(&granted.access);
    for _ in 0..5 {
        client.get("Patient/p1").await.expect_status(200);
    }
    client.get("Observation/secret-id-4711").await.expect_status(404);
    client.get("Patient?family=Lovelace-canary").await.expect_status(200);
    client.get("Patient?nonsense=canary").await.expect_status(400);
    client.get("Basic/1").await.expect_status(404);
    let page = format!("/portal/apps/{id}");
    let shown = until(async || {
        let shown = dev.get(&page).await.expect_status(200).text();
        shown.contains("9 requests in the last 30 days, 3 of them failed").then_some(shown)
    })
    .await;
    assert!(shown.contains("GET /Observation/{id}") && shown.contains("class=\"plot\""), "{shown}");
    assert!(shown.contains("GET /Patient</code>"), "{shown}");
    for told in ["4711", "canary", "p1<", "Lovelace"] {
        assert!(!shown.contains(told), "OA-32: {told}");
    }
    assert!(dev.get("/portal/apps").await.text().contains("9 requests"));
    assert!(root.get("/portal/admin").await.text().contains("9 requests"));
}

async fn lk_40_a_list_of_patients_confines_an_app(server: TestServer) {
    seed(&server).await;
    let doctor = object! { "reference": "Practitioner/d1" };
    for id in ["p1", "p2"] {
        let name = object! { "family": format!("Family-{id}") };
        let patient = object! {
            "resourceType": "Patient", "id": id, "name": array![name], "generalPractitioner": array![doctor.clone()],
        };
        server.system().store(&patient).await;
    }
    server.system().store(&object! { "resourceType": "Patient", "id": "p3" }).await;
    let mut root = administrator(&server).await;
    let mut dev = developer(&server, "grace", "Practitioner/d1", "work").await;
    let id = make_app(&mut dev, "public", SCOPES).await;
    decide(&mut root, &id, "approve").await.expect_status(303);
    let app = App { id: id.clone(), secret: None };
    let doctor = add_account(&server, "other-doctor", Some("Practitioner/d1"));
    let granted = tokens(&server, &app, &doctor, "user/*.rs offline_access").await;
    let client = server.anonymous().with_token(&granted.access);
    assert_eq!(client.matches("Patient?_sort=_id").await, ["p1", "p2"]);
    let page = format!("/portal/apps/{id}/patients");
    let shown = dev.get(&page).await.expect_status(200).text();
    assert!(shown.contains("Family-p1") && !shown.contains("value=\"p3\""));
    let stranger = [("limit", "chosen"), ("shown", "p1"), ("patient", "p3")];
    send(&mut dev, &page, &page, &stranger).await.expect_status(400);
    let one = [("limit", "chosen"), ("shown", "p1"), ("shown", "p2"), ("patient", "p2")];
    send(&mut dev, &page, &page, &one).await.expect_status(303);
    assert_eq!(client.matches("Patient").await, ["p2"]);
    client.get("Patient/p1").await.expect_status(404);
    client.get("Patient/p1/_history/1").await.expect_status(404);
    assert!(dev.get(&format!("/portal/apps/{id}")).await.text().contains("1 chosen"));
    let found = dev.get(&format!("{page}?words=Family-p1")).await.expect_status(200).text();
    assert!(found.contains("value=\"p1\"") && !found.contains("value=\"p2\""));
    // p2 was not shown, so it stays
    let more = [("limit", "chosen"), ("shown", "p1"), ("patient", "p1")];
    send(&mut dev, &page, &page, &more).await.expect_status(303);
    assert_eq!(client.matches("Patient?_sort=_id").await, ["p1", "p2"]);
    let none = [("limit", "chosen"), ("shown", "p1"), ("shown", "p2")];
    send(&mut dev, &page, &page, &none).await.expect_status(303);
    assert!(client.matches("Patient").await.is_empty());
    send(&mut dev, &page, &page, &[("limit", "everybody")]).await.expect_status(303);
    assert_eq!(client.matches("Patient?_sort=_id").await, ["p1", "p2"]);
}

async fn oa_30_names_are_inert(server: TestServer) {
    let mut root = administrator(&server).await;
    let mut dev = sign_up(&server, "dev", "work").await;
    let markup = "<script>alert(1)</script>";
    let pairs = [
        ("name", markup),
        ("description", "\"><img src=x onerror=alert(2)>"),
        ("kind", "public"),
        ("redirect_uris", crate::launch::REDIRECT_URI),
        ("scopes", "patient/*.rs"),
    ];
    let made = send(&mut dev, "/portal/apps/new", "/portal/apps/new", &pairs).await.expect_status(303);
    let id = between(made.header("location").expect("a Location"), "/apps/", "/").to_owned();
    for page in ["/portal/apps", &format!("/portal/apps/{id}"), &format!("/portal/apps/{id}/edit")] {
        let shown = dev.get(page).await.expect_status(200).text();
        assert!(!shown.contains("<script") && !shown.contains("<img"), "{page}");
    }
    let shown = root.get("/portal/admin").await.expect_status(200).text();
    assert!(!shown.contains("<script") && !shown.contains("<img") && shown.contains("alert(1)"));
}

impl Browser<'_> {
    /// Asks for authorization, which is refused on a page here.
    async fn ask_refused(&mut self, request: &[(String, String)]) {
        let page = self.get(&format!("/oauth/authorize?{}", crate::launch::encode(request))).await;
        page.expect_status(400);
    }
}

/// Figures are written every few seconds.
pub(crate) async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it does not come");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
