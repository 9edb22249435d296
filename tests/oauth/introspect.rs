//! Tests of `server/src/oauth/introspect.rs`.

use tests::TestServer;

use crate::launch::{SCOPE, add_app, post, seed, tokens};

tests::on_both_engines!(sm_75_sm_76_sm_77_who_learns_what_of_a_token);

async fn sm_75_sm_76_sm_77_who_learns_what_of_a_token(server: TestServer) {
    let account = seed(&server).await;
    let (app, other) = (add_app(&server, "confidential"), add_app(&server, "confidential"));
    let (public, backend) = (add_app(&server, "public"), add_app(&server, "backend"));
    let granted = tokens(&server, &app, &account, SCOPE).await;
    let ask = async |app, token: &str| post(&server, app, "/oauth/introspect", &[("token", token)]).await;
    for client in [&app, &backend] {
        let body = ask(client, &granted.access).await.expect_status(200).json();
        assert_eq!(body.get("active").and_then(fhir::json::Json::as_bool), Some(true));
        assert_eq!(body.str("scope"), Some(granted.scope.as_str()), "SM-42");
        assert_eq!(body.str("patient"), Some("p1"), "SM-42");
        assert_eq!(body.str("client_id"), Some(app.id.as_str()));
        assert_eq!(body.str("fhirUser"), Some("Patient/p1"));
        assert!(body.get("exp").is_some() && body.get("sub").is_some());
    }
    let inactive = "{\"active\":false}";
    assert_eq!(ask(&other, &granted.access).await.expect_status(200).text(), inactive);
    assert_eq!(ask(&backend, "unknown").await.expect_status(200).text(), inactive);
    assert_eq!(ask(&backend, &granted.refresh).await.expect_status(200).text(), inactive);
    ask(&public, &granted.access).await.expect_status(401);
}
