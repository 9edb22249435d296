//! Tests of `server/src/oauth/introspect.rs`.

use fhir::json::Json;
use tests::{Answer, TestServer};

use crate::assertion;
use crate::launch::{self, App, SCOPE, add_app, parameter, post, seed, tokens};

tests::on_both_engines!(
    sm_75_sm_76_sm_77_who_learns_what_of_a_token,
    sm_42_introspection_tells_what_the_token_answer_told,
    sm_76_what_is_not_live_is_only_inactive,
);

const INACTIVE: &str = "{\"active\":false}";

async fn ask(server: &TestServer, app: &App, token: &str) -> Answer {
    post(server, app, "/oauth/introspect", &[("token", token)]).await
}

async fn sm_75_sm_76_sm_77_who_learns_what_of_a_token(server: TestServer) {
    let account = seed(&server).await;
    let (app, other) = (add_app(&server, "confidential"), add_app(&server, "confidential"));
    let (public, backend) = (add_app(&server, "public"), assertion::backend(&server));
    let granted = tokens(&server, &app, &account, SCOPE).await;
    let form = [("token", granted.access.as_str())];
    let by_service = backend.post(&server, "/oauth/introspect", &form).await;
    for answer in [ask(&server, &app, &granted.access).await, by_service] {
        let body = answer.expect_status(200).json();
        assert_eq!(body.get("active").and_then(Json::as_bool), Some(true));
        assert_eq!(body.str("scope"), Some(granted.scope.as_str()), "SM-42");
        assert_eq!(body.str("patient"), Some("p1"), "SM-42");
        assert_eq!(body.str("client_id"), Some(app.id.as_str()));
        assert_eq!(body.str("iss"), Some(server.origin()));
        assert_eq!(body.str("aud"), Some(server.fhir_base().as_str()));
        let number = |name: &str| body.get(name).and_then(|it| it.as_number()?.parse::<i64>().ok()).expect(name);
        assert_eq!(number("exp") - number("iat"), 3600, "SM-46");
        assert!(body.str("sub").is_some());
    }
    assert_eq!(ask(&server, &other, &granted.access).await.expect_status(200).text(), INACTIVE, "LK-55");
    for token in ["unknown", &granted.refresh] {
        let answer = backend.post(&server, "/oauth/introspect", &[("token", token)]).await;
        assert_eq!(answer.expect_status(200).text(), INACTIVE);
    }
    ask(&server, &public, &granted.access).await.expect_status(401);
    server.anonymous().post("/oauth/introspect").form(&form).await.expect_status(401);
}

async fn sm_42_introspection_tells_what_the_token_answer_told(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "confidential");
    for scope in ["launch/patient patient/Patient.rs", "openid fhirUser launch/patient patient/Patient.rs"] {
        let back = launch::launch(&server, &app, &account, scope).await;
        let code = parameter(&back, "code").expect("a code");
        let told = launch::exchange(&server, &app, &code, &[]).await.expect_status(200).json();
        let known = ask(&server, &app, told.str("access_token").expect("a token")).await.expect_status(200).json();
        let members = ["scope", "patient", "encounter", "need_patient_banner", "intent", "tenant", "fhirContext"];
        for member in members {
            assert_eq!(told.get(member), known.get(member), "{member} of {scope}");
        }
        let fhir_user = format!("{}/Patient/p1", server.fhir_base());
        let expected = scope.contains("fhirUser").then_some(fhir_user.as_str());
        assert_eq!(known.str("fhirUser"), expected, "as in the id_token, SM-75");
        assert_eq!(told.get("id_token").is_some(), scope.contains("openid"), "SM-70");
    }
}

async fn sm_76_what_is_not_live_is_only_inactive(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "confidential");
    let (one, two) = (tokens(&server, &app, &account, SCOPE).await, tokens(&server, &app, &account, SCOPE).await);
    post(&server, &app, "/oauth/revoke", &[("token", &one.access)]).await.expect_status(200);
    post(&server, &app, "/oauth/revoke", &[("token", &two.refresh)]).await.expect_status(200);
    let damaged = format!("{}x", one.access);
    for token in [&one.access, &two.access, &two.refresh, &damaged] {
        assert_eq!(ask(&server, &app, token).await.expect_status(200).text(), INACTIVE);
    }
    server.command(&["client", "disable", &app.id]);
    ask(&server, &app, &one.access).await.expect_status(401);
}
