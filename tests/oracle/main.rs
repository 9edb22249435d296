//! Both engines against the index-free evaluator, and against each other (invariants 2 and 5).
//!
//! The same resources go into a server on each engine; generated searches are asked of both with tokens of several
//! views, page after page, forwards and back, and the answers compared with what `search::oracle` computes from the
//! resources themselves. `TRIBUTARY_TEST_QUERIES` says how many searches, `TRIBUTARY_TEST_SEED` which.

mod expected;
mod loaded;
mod synthea;
mod views;

use std::fmt::Write as _;
use std::sync::Arc;

use expected::{Oracle, Question};
use fhir::json::Json;
use loaded::Loaded;
use search::generate::{Generated, Generator};
use tests::random::{Random, seed};
use tests::{Engine, data, server, skipped, url, world};
use tokio::task::JoinSet;
use views::Scoped;

/// Stands for the server's address in generated queries; each server gets its own.
const BASE: &str = "http://base.test/fhir";

/// Random searches of all tests here, together; those that ask for every form come to them.
const QUERIES: usize = 10_000;

/// Searches that are on their way at a time.
const AT_ONCE: usize = 4;

/// One in so many answers is compared letter by letter between the engines.
const READ_CLOSELY: usize = 25;

/// Most failures that are printed.
const SHOWN: usize = 20;

/// Most letters that are printed of each.
const LONGEST: usize = 2_000;

#[test]
fn engines_and_oracle_agree_on_every_form_of_every_parameter() {
    let mut random = Random::seeded(seed(5));
    let mut resources = world::directory(&mut random);
    for patient in ["ana", "bo", "chloe", "dov"] {
        resources.extend(world::patient(&mut random, patient, 24));
        resources.extend(world::ranges(&mut random, patient));
    }
    let references: Vec<_> = resources.iter().collect();
    let mut generator = Generator::new(&references, BASE, seed(5));
    let mut queries = generator.every();
    queries.extend(generator.take(share(20)));
    compare("engines_and_oracle_agree_on_every_form_of_every_parameter", &resources, &["ana", "bo"], &queries);
}

#[test]
fn engines_and_oracle_agree_on_the_official_examples() {
    let name = "engines_and_oracle_agree_on_the_official_examples";
    let Some(examples) = data::examples(name) else { return };
    // Without an id they cannot be put; every type is there without them.
    let is_accepted = |example: &Json| {
        let path = example.str("resourceType").zip(example.str("id")).map(|(name, id)| format!("{name}/{id}"));
        // The server writes AuditEvents itself.
        let is_written = example.str("resourceType") != Some("AuditEvent");
        is_written && path.is_some_and(|path| !data::REFUSED_EXAMPLES.iter().any(|(refused, _)| *refused == path))
    };
    let resources: Vec<_> = examples.into_iter().filter(is_accepted).collect();
    let references: Vec<_> = resources.iter().collect();
    let mut generator = Generator::new(&references, BASE, seed(6));
    let mut queries = generator.every();
    queries.extend(generator.absent());
    queries.extend(generator.take(share(20)));
    compare(name, &resources, &["example", "f001"], &queries);
}

#[test]
fn engines_and_oracle_agree_on_synthetic_patients() {
    let name = "engines_and_oracle_agree_on_synthetic_patients";
    let Some(resources) = synthea::resources(name) else { return };
    let references: Vec<_> = resources.iter().collect();
    let queries: Vec<_> = Generator::new(&references, BASE, seed(7)).take(share(60)).collect();
    let patients = resources.iter().filter(|it| it.str("resourceType") == Some("Patient"));
    let patients: Vec<&str> = patients.filter_map(|it| it.str("id")).take(2).collect();
    compare(name, &resources, &patients, &queries);
}

/// So many percent of the random searches.
fn share(percent: usize) -> usize {
    let asked = std::env::var("TRIBUTARY_TEST_QUERIES").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(QUERIES) * percent / 100
}

/// Asks all engines that are there all queries; fails with the first failures.
fn compare(name: &str, resources: &[Json], patients: &[&str], queries: &[Generated]) {
    let started = std::time::Instant::now();
    // The trail has a search of its own, see tests/rest/audit_search.rs.
    let queries: Vec<Generated> =
        queries.iter().filter(|query| !format!("{query:?}").contains("AuditEvent")).cloned().collect();
    let views = views::of(resources, patients, &mut Random::seeded(seed(8)));
    let servers = server::block_on(start(name, resources, &views));
    println!("{name}: {} resources are loaded after {:?}", resources.len(), started.elapsed());
    let outcome = std::thread::scope(|scope| {
        let (sender, receiver) = tokio::sync::mpsc::channel(AT_ONCE * 4);
        let (views, servers, queries_asked) = (&views, &servers, &queries);
        scope.spawn(move || {
            let stored: Vec<_> = servers.iter().map(|server| server.rows()).collect();
            let oracle = Oracle::new(&stored, views);
            for question in oracle.questions(queries_asked) {
                if sender.blocking_send(question).is_err() {
                    return;
                }
            }
        });
        server::block_on(ask_all(servers, receiver))
    });
    println!("{name}: {} after {:?}", outcome.summary(servers.len()), started.elapsed());
    outcome.check();
}

/// A server with the resources on each engine that is there.
async fn start(name: &str, resources: &[Json], views: &[Scoped]) -> Vec<Arc<Loaded>> {
    let mut servers = Vec::new();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        if engine.is_available() {
            servers.push(Arc::new(Loaded::start(engine, resources, views).await));
        } else {
            skipped::skip(&format!("{name}::postgres"), "TRIBUTARY_TEST_POSTGRES is not set");
        }
    }
    servers
}

/// What came of all questions.
#[derive(Default)]
struct Outcome {
    asked: usize,
    refused: usize,
    matched: usize,
    failures: Vec<String>,
}

async fn ask_all(servers: &[Arc<Loaded>], mut questions: tokio::sync::mpsc::Receiver<Question>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut running = JoinSet::new();
    while let Some(question) = questions.recv().await {
        outcome.asked += 1;
        outcome.refused += usize::from(question.is_refused());
        let is_read = outcome.asked % READ_CLOSELY == 0;
        let servers = servers.to_vec();
        running.spawn(async move { ask(&servers, &question, is_read).await });
        while running.len() >= AT_ONCE {
            outcome.add(running.join_next().await);
        }
    }
    while let Some(done) = running.join_next().await {
        outcome.add(Some(done));
    }
    outcome
}

/// Asks both engines; how many matches were seen, and what was wrong.
async fn ask(servers: &[Arc<Loaded>], question: &Question, is_read: bool) -> (usize, Vec<String>) {
    let described = format!("{} as {}", describe(&question.generated), question.view);
    let (mut matched, mut texts, mut failures) = (0, Vec::new(), Vec::new());
    for (number, server) in servers.iter().enumerate() {
        match server.check(question, number, is_read).await {
            Ok(agreed) => {
                matched += agreed.matches;
                texts.push(agreed.text);
            }
            Err(why) => failures.push(format!("{:?} {described}\n    {why}", server.engine())),
        }
    }
    // The order of one instant may differ.
    let is_ordered = !question.generated.pairs.iter().any(|(_, value)| value.contains("_lastUpdated"));
    if let [one, other] = &texts[..]
        && is_ordered
        && one != other
    {
        failures.push(format!("engines differ: {described}\n{one}\n{other}"));
    }
    (matched, failures)
}

impl Outcome {
    fn add(&mut self, done: Option<Result<(usize, Vec<String>), tokio::task::JoinError>>) {
        match done {
            Some(Ok((matched, failures))) => {
                self.matched += matched;
                self.failures.extend(failures);
            }
            Some(Err(error)) => self.failures.push(format!("the test itself failed: {error}")),
            None => {}
        }
    }

    fn summary(&self, engines: usize) -> String {
        let Outcome { asked, refused, matched, failures } = self;
        format!(
            "{asked} queries ({refused} refused), {engines} engines, {matched} matches, {} failures",
            failures.len()
        )
    }

    fn check(&self) {
        let mut report = String::new();
        for failure in self.failures.iter().take(SHOWN) {
            let shown: String = failure.chars().take(LONGEST).collect();
            let _ = writeln!(report, "  {shown}");
        }
        assert!(self.failures.is_empty(), "{} failures, seed as printed:\n{report}", self.failures.len());
        assert!(self.matched > self.asked / 2, "the queries find something: {} matches", self.matched);
        assert!(self.refused < self.asked / 10, "most queries are accepted: {} of {}", self.refused, self.asked);
    }
}

fn describe(query: &Generated) -> String {
    let (path, more) = query.place.path();
    let pairs: Vec<_> = more.into_iter().chain(query.pairs.iter().cloned()).collect();
    url::search(&path, &pairs)
}
