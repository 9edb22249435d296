//! Tests of `server/src/portal/admin.rs`.

use tests::TestServer;

use crate::launch::{Account, Browser, seed};
use crate::portal::{SCOPES, administrator, between, code, decide, make_app, send, shown, sign_in, sign_up};

tests::on_both_engines!(
    oa_25_administrators_need_a_second_factor,
    to_others_there_is_no_administration,
    administrators_see_apps_accounts_and_events,
    administrators_look_through_the_audit_trail,
    an_administrator_switches_any_client_off,
    an_invitation_registers_one_app,
    oa_30_what_was_changed_meanwhile_is_not_approved_but_shown_again,
);

const PAGES: [&str; 4] = ["/portal/admin", "/portal/admin/accounts", "/portal/admin/events", "/portal/admin/audit"];

async fn oa_25_administrators_need_a_second_factor(server: TestServer) {
    let added = server.command(&["user", "add", "root", "--admin", "--json"]);
    let account = Account { username: "root".to_owned(), password: between(&added, "password\":\"", "\"").to_owned() };
    let mut root = sign_in(&server, &account).await;
    for page in PAGES {
        root.get(page).await.expect_status(400);
    }
    assert!(root.get("/portal").await.expect_status(200).text().contains("need a second factor"));
    let (key, _) = crate::portal::add_second_factor(&mut root, &account.password).await;
    for page in PAGES {
        root.get(page).await.expect_status(200);
    }
    let mut half = sign_in(&server, &account).await;
    half.get("/portal/admin").await.expect_status(303);
    let page = "/account/second-factor";
    send(&mut half, page, page, &[("code", &code(&key, 1))]).await.expect_status(303);
    half.get("/portal/admin").await.expect_status(200);
}

async fn to_others_there_is_no_administration(server: TestServer) {
    let account = seed(&server).await;
    let mut people = [sign_in(&server, &account).await, sign_up(&server, "dev", "work").await];
    for person in &mut people {
        for page in PAGES {
            person.get(page).await.expect_status(404);
        }
        send(person, "/portal", "/portal/admin/invitations", &[]).await.expect_status(404);
    }
    for page in PAGES {
        Browser::new(&server).get(page).await.expect_status(303);
    }
}

async fn administrators_see_apps_accounts_and_events(server: TestServer) {
    let account = seed(&server).await;
    let mut root = administrator(&server).await;
    let mut dev = sign_up(&server, "dev", "work").await;
    let id = make_app(&mut dev, "public", SCOPES).await;
    let shown = root.get("/portal/admin").await.expect_status(200).text();
    for told in [id.as_str(), "Heart Watch", "Shows the pulse.", "Dev Eloper (dev)", "https://app.example/callback"] {
        assert!(shown.contains(told), "{told}");
    }
    let refused = [("decision", "refuse"), ("reason", "Ask for less.")];
    let to = format!("/portal/admin/apps/{id}");
    send(&mut root, "/portal/admin", &to, &refused).await.expect_status(303);
    assert!(dev.get(&format!("/portal/apps/{id}")).await.text().contains("Ask for less."));
    decide(&mut root, "unknown", "approve").await.expect_status(404);
    let mut wrong = Browser::new(&server);
    let pairs = [("username", account.username.as_str()), ("password", "wrong")];
    send(&mut wrong, "/account/sign-in", "/account/sign-in", &pairs).await.expect_status(401);
    let accounts = root.get("/portal/admin/accounts").await.expect_status(200).text();
    assert!(accounts.contains("ada") && accounts.contains("Patient/p1") && accounts.contains("administrator"));
    let events = root.get("/portal/admin/events").await.expect_status(200).text();
    for told in ["refused an app", "asked for an app", "failed to sign in", "opened an account", "127.0.0.1"] {
        assert!(events.contains(told), "{told}");
    }
}

async fn administrators_look_through_the_audit_trail(server: TestServer) {
    let account = seed(&server).await;
    let app = crate::launch::add_app(&server, "public");
    let granted = crate::launch::tokens(&server, &app, &account, crate::launch::SCOPE).await;
    let client = server.anonymous().with_token(&granted.access);
    for number in 0..60 {
        client.get("Patient/p1").header("x-request-id", &format!("seen-{number}")).await.expect_status(200);
    }
    client.get("Patient/p2").header("x-request-id", "not-seen").await.expect_status(404);
    let mut root = administrator(&server).await;
    let at = |query: &str| format!("/portal/admin/audit?{query}");
    let first = root.get(&at(&format!("app={}&outcome=done&patient=p1", app.id))).await.expect_status(200).text();
    assert!(first.contains("request seen-59") && !first.contains("request seen-9<"), "{first}");
    assert!(first.contains("ada, with") && first.contains("Patient/p1/_history/1") && !first.contains("not-seen"));
    let earlier = between(&first, "rel=\"next\" href=\"", "\"").replace("&amp;", "&").replace("&#38;", "&");
    let second = root.get(&earlier).await.expect_status(200).text();
    assert!(second.contains("request seen-9<") && !second.contains("request seen-59"), "{second}");
    let later = between(&second, "rel=\"prev\" href=\"", "\"").replace("&amp;", "&").replace("&#38;", "&");
    assert!(root.get(&later).await.expect_status(200).text().contains("request seen-59"));
    for (query, told, not_told) in [
        ("person=ada&outcome=refused", "not-seen", "request seen-59"),
        ("person=nobody", "Nothing fits", "request seen"),
        ("patient=p9", "Nothing fits", "request seen"),
        ("patient=Patient/p1", "request seen-59", "Nothing fits"),
        ("until=2020-01-01", "Nothing fits", "request seen"),
        ("since=2020-01-01&outcome=refused", "not-seen", "request seen-59"),
    ] {
        let page = root.get(&at(query)).await.expect_status(200).text();
        assert!(page.contains(told) && !page.contains(not_told), "{query}: {page}");
    }
    for (query, status) in
        [("since=yesterday", 400), ("since=2020-02-02&until=2020-01-01", 400), ("from=nonsense", 404)]
    {
        root.get(&at(query)).await.expect_status(status);
    }
    let text = root.get(&at("person=%3Cscript%3E&app=%22%3E%3Cb%3E")).await.expect_status(200).text();
    assert!(!text.contains("<script>") && !text.contains("\"><b>"), "{text}");
}

async fn an_administrator_switches_any_client_off(server: TestServer) {
    let account = seed(&server).await;
    let app = crate::launch::add_app(&server, "public");
    let granted = crate::launch::tokens(&server, &app, &account, crate::launch::SCOPE).await;
    let client = server.anonymous().with_token(&granted.access);
    let mut root = administrator(&server).await;
    assert!(root.get("/portal/admin").await.text().contains(&app.id));
    for (decision, status) in [("stop", 401), ("release", 200)] {
        decide(&mut root, &app.id, decision).await.expect_status(303);
        client.get("Patient/p1").await.expect_status(status);
    }
}

async fn an_invitation_registers_one_app(server: TestServer) {
    let mut root = administrator(&server).await;
    let shown = send(&mut root, "/portal/admin", "/portal/admin/invitations", &[]).await.expect_status(200).text();
    let invitation = between(&shown, "id=\"invitation\">", "</code>");
    assert!(invitation.starts_with("tri_"), "{invitation}");
}

async fn oa_30_what_was_changed_meanwhile_is_not_approved_but_shown_again(server: TestServer) {
    let mut root = administrator(&server).await;
    let mut dev = sign_up(&server, "dev", "work").await;
    let id = make_app(&mut dev, "public", SCOPES).await;
    let own = format!("/portal/apps/{id}");
    let good = [
        ("name", "Heart Watch"),
        ("description", "Shows the pulse."),
        ("authentication", "secret"),
        ("redirect_uris", "https://app.example/callback"),
        ("launch_uri", ""),
        ("scopes", SCOPES),
    ];
    for (field, value) in [
        ("redirect_uris", "https://evil.example/callback"),
        ("name", "Hospital"),
        ("launch_uri", "https://evil.example/launch"),
        ("scopes", "launch/patient patient/*.cruds"),
        ("description", "Shows everything."),
    ] {
        let seen = shown(&mut root, &id).await;
        let edit = format!("{own}/edit");
        let changed = good.map(|(name, was)| (name, if name == field { value } else { was }));
        send(&mut dev, &edit, &edit, &changed).await.expect_status(303);
        let approve = |seen: &str| [("decision", "approve".to_owned()), ("shown", seen.to_owned())];
        for seen in [seen.as_str(), ""] {
            let pairs = approve(seen);
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let to = format!("/portal/admin/apps/{id}");
            let again = send(&mut root, "/portal/admin", &to, &pairs).await.expect_status(409).text();
            assert!(again.contains("was changed since") && again.contains(value), "{field}: {again}");
            assert!(dev.get(&own).await.text().contains("waits for approval"), "{field}");
        }
        send(&mut dev, &edit, &edit, &good).await.expect_status(303);
    }
    decide(&mut root, &id, "approve").await.expect_status(303);
    assert!(dev.get(&own).await.text().contains("active"));
}
