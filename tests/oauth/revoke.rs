//! Tests of `server/src/oauth/revoke.rs`.

use tests::TestServer;

use crate::launch::{SCOPE, add_app, post, refresh, seed, tokens};

tests::on_both_engines!(
    oa_13_a_revoked_token_is_refused_at_once,
    oa_12_a_refresh_token_takes_its_access_tokens_with_it,
    oa_12_tokens_of_others_stay,
);

async fn oa_13_a_revoked_token_is_refused_at_once(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let granted = tokens(&server, &app, &account, SCOPE).await;
    let client = server.anonymous().with_token(&granted.access);
    client.get("Patient/p1").await.expect_status(200);
    post(&server, &app, "/oauth/revoke", &[("token", &granted.access)]).await.expect_status(200);
    for _ in 0..20 {
        client.get("Patient/p1").await.expect_status(401);
    }
    post(&server, &app, "/oauth/revoke", &[("token", &granted.access)]).await.expect_status(200);
    post(&server, &app, "/oauth/revoke", &[("token", "unknown")]).await.expect_status(200);
    refresh(&server, &app, &granted.refresh, None).await.expect_status(200);
}

async fn oa_12_a_refresh_token_takes_its_access_tokens_with_it(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let granted = tokens(&server, &app, &account, SCOPE).await;
    let form = [("token", granted.refresh.as_str()), ("token_type_hint", "access_token")];
    post(&server, &app, "/oauth/revoke", &form).await.expect_status(200);
    server.anonymous().with_token(&granted.access).get("Patient/p1").await.expect_status(401);
    refresh(&server, &app, &granted.refresh, None).await.expect_status(400);
}

async fn oa_12_tokens_of_others_stay(server: TestServer) {
    let account = seed(&server).await;
    let (app, other) = (add_app(&server, "public"), add_app(&server, "confidential"));
    let granted = tokens(&server, &app, &account, SCOPE).await;
    for token in [&granted.access, &granted.refresh] {
        post(&server, &other, "/oauth/revoke", &[("token", token)]).await.expect_status(200);
    }
    server.anonymous().with_token(&granted.access).get("Patient/p1").await.expect_status(200);
    refresh(&server, &app, &granted.refresh, None).await.expect_status(200);
}
