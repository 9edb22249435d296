//! Both engines against the index-free evaluator, and against each other (invariant 5).
//!
//! The same resources go into a server on each engine; generated searches are asked of both, page after page, and
//! the answers compared with what `search::oracle` computes from the resources themselves.

mod loaded;

use std::fmt::Write as _;

use loaded::Loaded;
use search::generate::{Generated, Generator};
use tests::random::{Random, seed};
use tests::{Engine, data, server, skipped, url, world};

/// Stands for the server's address in generated queries; each server gets its own.
const BASE: &str = "http://base.test/fhir";

/// Most failures that are printed.
const SHOWN: usize = 20;

#[test]
fn engines_and_oracle_agree_on_every_form_of_every_parameter() {
    let mut random = Random::seeded(seed(5));
    let mut resources = world::directory(&mut random);
    for patient in ["ana", "bo", "chloe", "dov"] {
        resources.extend(world::patient(&mut random, patient, 24));
    }
    let references: Vec<_> = resources.iter().collect();
    let mut generator = Generator::new(&references, BASE, seed(5));
    let mut queries = generator.every();
    queries.extend(generator.take(1500));
    server::block_on(compare("engines_and_oracle_agree_on_every_form_of_every_parameter", &resources, &queries));
}

#[test]
fn engines_and_oracle_agree_on_the_official_examples() {
    let name = "engines_and_oracle_agree_on_the_official_examples";
    let Some(examples) = data::examples(name) else { return };
    // Without an id they cannot be put; every type is there without them.
    let is_accepted = |example: &fhir::json::Json| {
        let path = example.str("resourceType").zip(example.str("id")).map(|(name, id)| format!("{name}/{id}"));
        path.is_some_and(|path| !data::REFUSED_EXAMPLES.iter().any(|(refused, _)| *refused == path))
    };
    let resources: Vec<_> = examples.into_iter().filter(is_accepted).collect();
    let references: Vec<_> = resources.iter().collect();
    let queries: Vec<_> = Generator::new(&references, BASE, seed(6)).take(1500).collect();
    server::block_on(compare(name, &resources, &queries));
}

/// Asks all engines that are there all queries; fails with the first failures.
async fn compare(name: &str, resources: &[fhir::json::Json], queries: &[Generated]) {
    let mut servers = Vec::new();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        if engine.is_available() {
            servers.push(Loaded::start(engine, resources).await);
        } else {
            skipped::skip(&format!("{name}::postgres"), "TRIBUTARY_TEST_POSTGRES is not set");
        }
    }
    let (mut failures, mut matched) = (Vec::new(), 0);
    for query in queries {
        let mut texts: Vec<String> = Vec::new();
        for server in &servers {
            match server.check(query).await {
                Ok(answer) => {
                    matched += answer.matches;
                    texts.push(answer.text);
                }
                Err(why) => failures.push(format!("{:?} {}\n    {why}", server.engine(), describe(query))),
            }
        }
        if let [one, other] = &texts[..]
            && one != other
        {
            failures.push(format!("engines differ: {}\n{one}\n{other}", describe(query)));
        }
    }
    println!("{} queries, {} engines, {matched} matches, {} failures", queries.len(), servers.len(), failures.len());
    assert!(matched > queries.len() / 4, "the queries find something: {matched} matches");
    let mut report = String::new();
    for failure in failures.iter().take(SHOWN) {
        let _ = writeln!(report, "  {failure}");
    }
    assert!(failures.is_empty(), "{} of {} failed, seed as printed:\n{report}", failures.len(), queries.len());
}

fn describe(query: &Generated) -> String {
    url::search(&query.resource_type, &query.pairs)
}
