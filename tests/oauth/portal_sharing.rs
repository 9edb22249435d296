//! Tests of `server/src/portal/sharing.rs`.

use tests::TestServer;

use crate::launch::{SCOPE, add_app, fields, refresh, seed, tokens};
use crate::portal::{send, sign_in, sign_up};
use crate::portal_apps::until;

tests::on_both_engines!(
    oa_19_sm_57_what_is_taken_back_ends_with_the_next_request,
    oa_30_what_others_gave_is_not_taken_back,
    patients_see_when_an_app_looked_last,
);

async fn oa_19_sm_57_what_is_taken_back_ends_with_the_next_request(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let granted = tokens(&server, &app, &account, SCOPE).await;
    let client = server.anonymous().with_token(&granted.access);
    client.get("Patient/p1").await.expect_status(200);
    let mut browser = sign_in(&server, &account).await;
    let page = browser.get("/portal/sharing").await.expect_status(200).text();
    assert!(page.contains("Heart Watch") && page.contains("See: The whole record"), "{page}");
    let grant = fields(&page).into_iter().find(|(name, _)| name == "grant").expect("a grant").1;
    let to = "/portal/sharing";
    send(&mut browser, to, to, &[("grant", &grant)]).await.expect_status(303);
    client.get("Patient/p1").await.expect_status(401);
    refresh(&server, &app, &granted.refresh, None).await.expect_status(400);
    assert!(browser.get(to).await.text().contains("No app may see anything"));
    send(&mut browser, to, to, &[("grant", &grant)]).await.expect_status(404);
}

async fn oa_30_what_others_gave_is_not_taken_back(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let granted = tokens(&server, &app, &account, SCOPE).await;
    let mut browser = sign_in(&server, &account).await;
    let page = browser.get("/portal/sharing").await.expect_status(200).text();
    let grant = fields(&page).into_iter().find(|(name, _)| name == "grant").expect("a grant").1;
    let mut stranger = sign_up(&server, "stranger", "personal").await;
    let to = "/portal/sharing";
    assert!(!stranger.get(to).await.text().contains(&grant));
    send(&mut stranger, to, to, &[("grant", &grant)]).await.expect_status(404);
    server.anonymous().with_token(&granted.access).get("Patient/p1").await.expect_status(200);
}

async fn patients_see_when_an_app_looked_last(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let granted = tokens(&server, &app, &account, SCOPE).await;
    let mut browser = sign_in(&server, &account).await;
    assert!(browser.get("/portal/sharing").await.text().contains("<dd>not yet</dd>"));
    server.anonymous().with_token(&granted.access).get("Patient/p1").await.expect_status(200);
    until(async || (!browser.get("/portal/sharing").await.text().contains("<dd>not yet</dd>")).then_some(())).await;
}
