//! LK-00: what a patient's app is answered depends only on what its token may see.
//!
//! Two servers hold the same data inside the patient's view and different data outside of it. Thousands of generated
//! requests with the patient's token go to both; every answer must be the same but for addresses, instants and
//! identifiers that the servers made up. <https://en.wikipedia.org/wiki/Non-interference_(security)>

mod requests;
mod twins;

use requests::Requests;
use tests::random::{Random, seed};
use tests::server;
use twins::Twins;

/// Requests to each pair of servers, unless `TRIBUTARY_TEST_REQUESTS` says how many.
const REQUESTS: usize = 5000;

/// Most failures that are printed.
const SHOWN: usize = 10;

#[test]
fn lk_00_a_patients_app_cannot_tell_two_worlds_apart_on_sqlite() {
    server::block_on(run(tests::Engine::Sqlite));
}

#[test]
fn lk_00_a_patients_app_cannot_tell_two_worlds_apart_on_postgres() {
    if tests::Engine::Postgres.is_available() {
        server::block_on(run(tests::Engine::Postgres));
    } else {
        tests::skipped::skip("lk_00_…_on_postgres", "TRIBUTARY_TEST_POSTGRES is not set");
    }
}

async fn run(engine: tests::Engine) {
    let seed = seed(0x10);
    let twins = Twins::start(engine, &mut Random::seeded(seed)).await;
    let mut requests = Requests::new(twins.resources(), seed);
    let (mut failures, mut found) = (Vec::new(), 0);
    let asked = std::env::var("TRIBUTARY_TEST_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(REQUESTS);
    // In the last fifth resources are created too. Their ids are random, so sorting by id is no longer asked for.
    let before_creates = asked / 5 * 4;
    for number in 0..asked {
        let request = requests.next(number >= before_creates);
        match twins.ask(&request).await {
            Ok(status) => found += usize::from((200..300).contains(&status)),
            Err(difference) => failures.push(format!("{number}: {request:?}\n{difference}")),
        }
    }
    println!("{asked} requests, {found} answered with 2xx, {} differences", failures.len());
    assert!(found > asked / 4, "most requests are real ones: {found}");
    let shown = failures.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} differences, seed {seed}:\n{shown}", failures.len());
}
