//! Connections to the database that are lost while nobody uses them.

use fhir::{array, object};
use tests::{Engine, TestServer};

tests::on_both_engines!(nobody_is_told_of_connections_that_were_lost_meanwhile);

async fn nobody_is_told_of_connections_that_were_lost_meanwhile(server: TestServer) {
    if server.engine() != Engine::Postgres {
        return; // a file has none
    }
    let client = server.system();
    let patient =
        |family: &str| object! { "resourceType": "Patient", "id": "p", "name": array![object! { "family": family }] };
    for round in 0..3 {
        let family = format!("round {round}");
        client.store(&patient(&family)).await;
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let client = client.clone();
            readers.spawn(async move { client.get("Patient/p").await.status });
        }
        assert_eq!(readers.join_all().await, [200; 16]);
        server.tamper(
            "DO $$ BEGIN PERFORM pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid(); END $$",
        );
        match round {
            0 => assert!(client.get("Patient/p").await.expect_status(200).text().contains(&family)),
            1 => assert_eq!(client.get("Patient?_id=p").await.expect_status(200).json().list("entry").len(), 1),
            _ => assert_eq!(client.store(&patient("last")).await.status, 200),
        }
    }
}
