//! Tests of `server/src/oauth/metadata.rs`.

use tests::TestServer;

tests::on_both_engines!(sm_01_sm_05_smart_configuration_is_json_for_anybody);

async fn sm_01_sm_05_smart_configuration_is_json_for_anybody(server: TestServer) {
    for accept in ["application/fhir+xml", "text/html", "*/*;q=0", "application/json"] {
        let answer = server
            .anonymous()
            .get(".well-known/smart-configuration")
            .header("accept", accept)
            .header("host", "evil.example")
            .await
            .expect_status(200);
        assert!(answer.header("content-type").is_some_and(|it| it.starts_with("application/json")), "{accept}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let document = answer.json();
        assert_eq!(document.str("token_endpoint"), Some(format!("{}/oauth/token", server.origin()).as_str()));
        assert!(!answer.text().contains("evil.example"), "SM-05");
    }
}
