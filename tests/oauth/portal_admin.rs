//! Tests of `server/src/portal/admin.rs`.

use tests::TestServer;

use crate::launch::{Account, Browser, seed};
use crate::portal::{SCOPES, administrator, between, code, decide, make_app, send, sign_in, sign_up};

tests::on_both_engines!(
    oa_25_administrators_need_a_second_factor,
    to_others_there_is_no_administration,
    administrators_see_apps_accounts_and_events,
    an_administrator_switches_any_client_off,
    an_invitation_registers_one_app,
);

const PAGES: [&str; 3] = ["/portal/admin", "/portal/admin/accounts", "/portal/admin/events"];

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
