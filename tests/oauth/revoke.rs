//! Tests of `server/src/oauth/revoke.rs`.

use tests::{Engine, TestServer};

use crate::launch::{SCOPE, add_app, post, refresh, seed, tokens};

tests::on_both_engines!(
    oa_13_a_revoked_token_is_refused_at_once,
    oa_12_a_refresh_token_takes_its_access_tokens_with_it,
    oa_12_tokens_of_others_stay,
);

#[test]
fn oa_13_what_one_process_revokes_no_other_accepts() {
    let name = "oa_13_what_one_process_revokes_no_other_accepts";
    tests::server::run(Engine::Postgres, name, what_one_process_revokes_no_other_accepts);
}

/// Two processes on one PostgreSQL, both of which know the token when it ends, in each way in which one ends.
async fn what_one_process_revokes_no_other_accepts(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let another = server.another().await;
    let opens = async |access: &str| {
        let (here, there) = (server.anonymous().with_token(access), another.client().with_token(access));
        let reads = ["Patient/p1", "Patient/p1/_history/1", "Patient", "Observation?patient=p1"];
        let mut statuses = Vec::new();
        for path in reads {
            statuses.extend([there.get(path).await.status, here.get(path).await.status]);
        }
        assert!(statuses.iter().all(|status| *status == statuses[0]), "{statuses:?}");
        statuses[0]
    };
    let by_hand = "UPDATE access_token SET revoked_at = 1 WHERE revoked_at IS NULL";
    let gone = "DELETE FROM access_token";
    let ways = ["token", "refresh token", by_hand, gone, "app", "person"];
    for way in ways {
        let granted = tokens(&server, &app, &account, SCOPE).await;
        for _ in 0..2 {
            assert_eq!(opens(&granted.access).await, 200, "before {way}");
        }
        match way {
            "token" => drop(post(&server, &app, "/oauth/revoke", &[("token", &granted.access)]).await),
            "refresh token" => drop(post(&server, &app, "/oauth/revoke", &[("token", &granted.refresh)]).await),
            "app" => drop(server.command(&["client", "disable", &app.id])),
            "person" => drop(server.command(&["user", "disable", &account.username])),
            statement => server.tamper(statement),
        }
        assert_eq!(opens(&granted.access).await, 401, "after {way}");
        if way == "app" {
            server.tamper("UPDATE client SET disabled_at = NULL");
            assert_eq!(opens(&granted.access).await, 200, "what is let in again is let in at once");
        }
    }
}

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
