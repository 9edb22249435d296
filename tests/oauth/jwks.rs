//! Tests of `server/src/oauth/jwks.rs`.

use tests::TestServer;

tests::on_both_engines!(sm_71_the_published_keys_are_bare_and_public);

async fn sm_71_the_published_keys_are_bare_and_public(server: TestServer) {
    let answer = server.anonymous().get("/oauth/jwks.json").header("origin", "https://any.example").await;
    let answer = answer.expect_status(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"));
    let set = answer.json();
    assert_eq!(set.list("keys").len(), 1);
    for key in set.list("keys") {
        let names: Vec<&str> = key.as_object().expect("an object").iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["kty", "use", "alg", "kid", "n", "e"], "and no d, p, q");
        assert_eq!((key.str("kty"), key.str("use"), key.str("alg")), (Some("RSA"), Some("sig"), Some("RS256")));
    }
    let again = server.anonymous().get("/oauth/jwks.json").await.expect_status(200);
    assert_eq!(again.text(), answer.text(), "a key stays");
}
