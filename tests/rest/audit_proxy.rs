//! Tests of `server/src/client_address.rs`: whom the audit trail names behind a reverse proxy.

use tests::{Engine, TestServer};

#[tokio::test]
async fn co_02_behind_a_trusted_proxy_the_trail_names_the_client() {
    let names = async |arguments: &[&str], address: &str| {
        let server = TestServer::start_with(Engine::Sqlite, arguments).await;
        let system = server.system();
        let asked = system.get("Patient?name=x").header("x-forwarded-for", "198.51.100.1, 203.0.113.9").await;
        asked.expect_status(200);
        let found = system.get(&format!("AuditEvent?subtype=search-type&address={address}")).await.expect_status(200);
        found.matches().len()
    };
    assert_eq!(names(&["--trusted-proxies", "127.0.0.1,::1"], "203.0.113.9").await, 1);
    assert_eq!(names(&["--trusted-proxies", "127.0.0.1,203.0.113.0/24"], "198.51.100.1").await, 1);
    assert_eq!(names(&[], "203.0.113.9").await, 0, "anybody may write such a header");
    assert_eq!(names(&[], "127.0.0.1").await, 1);
}
