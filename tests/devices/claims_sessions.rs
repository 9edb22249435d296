//! Sessions that are about to expire, and sessions that have: told and marked by themselves, and on the worklist.

use std::time::{Duration, Instant};

use fhir::json::Json;
use simulators::smartlink::Faults;
use tests::clinic::{connected_with, draft, merged, visiting};
use tests::{Client, TestServer};

tests::on_both_engines!(a_session_is_told_to_be_about_to_expire_and_then_expires);

async fn a_session_is_told_to_be_about_to_expire_and_then_expires(server: TestServer) {
    // Sessions of six seconds, of which the last four are told.
    let settings = ["session_seconds=6", "expiring_seconds=4"];
    let (server, payer) = connected_with(&server, Faults::default(), &settings).await;
    let system = server.system();
    visiting(&system, 1).await;
    let session = merged(&system, 1).await;
    let told = request(&system, |request| extension(request, "session-expires").is_some()).await;
    assert_eq!((told.str("status"), status(&told)), (Some("active"), Some("ACTIVE")));
    let list = system.get("Claim/$worklist").await.expect_status(200).json();
    let sessions: Vec<&Json> = list.list("parameter").iter().filter(|it| it.str("name") == Some("session")).collect();
    assert_eq!(sessions.len(), 1, "{list}");
    let says = |name: &str| sessions[0].list("part").iter().find(|part| part.str("name") == Some(name)).cloned();
    assert_eq!(says("session").expect("a session").str("valueString"), Some(session.as_str()));
    assert_eq!(says("expires").expect("an end").str("valueInstant"), extension(&told, "session-expires").as_deref());
    assert!(says("claim-state").is_none());
    // Nobody learns of a session whose patient they may not see.
    let stranger = server.patient("p2").get("Claim/$worklist").await.expect_status(200).text();
    assert!(!stranger.contains("\"session\""), "{stranger}");
    let expired = request(&system, |request| status(request) == Some("EXPIRED")).await;
    assert_eq!(expired.str("status"), Some("cancelled"));
    let history = system.get(&format!("CoverageEligibilityRequest/{}/_history", expired.str("id").expect("an id")));
    assert_eq!(history.await.expect_status(200).json().list("entry").len(), 4, "fetched, merged, told, expired");
    system.store(&draft(1).0).await;
    let refused = system.post("Claim/c1/$submit").await.expect_status(422).text();
    assert!(refused.contains("has expired"), "{refused}");
    assert_eq!(payer.posts(), 0);
    let list = system.get("Claim/$worklist").await.expect_status(200).text();
    assert!(list.contains("\"EXPIRED\""), "{list}");
    let events =
        system.get(&format!("AuditEvent?entity=CoverageEligibilityRequest/{}", expired.str("id").expect("an id")));
    assert!(events.await.expect_status(200).entries("match").len() >= 4, "each is an event");
}

fn status(request: &Json) -> Option<&str> {
    request.at(&["extension", "valueCode"]).and_then(Json::as_str)
}

fn extension(request: &Json, name: &str) -> Option<String> {
    let found = request.list("extension").iter().find(|it| it.str("url").is_some_and(|url| url.ends_with(name)))?;
    found.str("valueInstant").map(str::to_owned)
}

/// Waits for the only request to be so.
async fn request(system: &Client, is_so: impl Fn(&Json) -> bool) -> Json {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let found = system.get("CoverageEligibilityRequest").await.expect_status(200).entries("match");
        assert_eq!(found.len(), 1);
        if is_so(&found[0]) {
            return found[0].clone();
        }
        assert!(Instant::now() < deadline, "{}", found[0]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
