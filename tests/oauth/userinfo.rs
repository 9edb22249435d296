//! Tests of `server/src/oauth/userinfo.rs`.

use tests::TestServer;

use crate::launch::{add_app, read, seed};
use crate::openid::{SCOPES, id_token, launched, part};

tests::on_both_engines!(userinfo_says_what_the_id_token_says);

async fn userinfo_says_what_the_id_token_says(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let answer = launched(&server, &app, &account, SCOPES).await;
    let (claims, access) = (part(&id_token(&answer), 1), read(&answer).access);
    let client = server.anonymous().with_token(&access);
    for told in [client.get("/oauth/userinfo").await, client.post("/oauth/userinfo").await] {
        let told = told.expect_status(200);
        assert_eq!(told.header("cache-control"), Some("no-store"));
        for name in ["sub", "fhirUser"] {
            assert_eq!(told.json().str(name), claims.str(name));
        }
    }
    let without = launched(&server, &app, &account, "launch/patient patient/*.rs").await;
    let refused = server.anonymous().with_token(&read(&without).access).get("/oauth/userinfo").await.expect_status(403);
    assert!(refused.header("www-authenticate").is_some_and(|it| it.contains("insufficient_scope")));
    let none = server.anonymous().get("/oauth/userinfo").await.expect_status(401);
    assert_eq!(none.header("www-authenticate"), Some("Bearer"));
    server.anonymous().get(&format!("/oauth/userinfo?access_token={access}")).await.expect_status(401);
    server.anonymous().with_token(&read(&answer).refresh).get("/oauth/userinfo").await.expect_status(401);
}
