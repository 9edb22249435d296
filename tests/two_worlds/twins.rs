//! Two servers that agree inside the view of a token and nowhere else.

use std::time::Duration;

use fhir::json::Json;
use tests::random::Random;
use tests::{Answer, Client, Engine, TestServer, redact};

use crate::asker::{self, Asker};
use crate::requests::Request;

/// Headers that differ from answer to answer; whether a connection is kept after a refusal depends on how much of the
/// body had arrived by then.
const VARYING: [&str; 5] = ["connection", "date", "last-modified", "content-length", "x-request-id"];

/// Before what was busy is asked again.
const PAUSE: Duration = Duration::from_millis(300);

/// The pair.
pub(crate) struct Twins {
    worlds: [World; 2],
    resources: Vec<Json>,
}

struct World {
    client: Client,
    server: TestServer,
}

impl Twins {
    pub(crate) async fn start(engine: Engine, asker: Asker, random: &mut Random) -> Self {
        let directory = asker::directory(random);
        let content = asker.content(random);
        let [few, many] = content.hidden;
        let [one_leaving, other_leaving] = content.leaving;
        let one = World::start(engine, asker, &directory, &content.visible, (&few, &one_leaving, 3)).await;
        let other = World::start(engine, asker, &directory, &content.visible, (&many, &other_leaving, 1)).await;
        let resources = directory.into_iter().chain(content.visible).chain(few).chain(many).collect();
        Twins { worlds: [one, other], resources }
    }

    /// The same asked with another token.
    pub(crate) fn asking_with(mut self, scope: &str, patient: Option<&str>) -> Self {
        for world in &mut self.worlds {
            world.client = world.server.with_scope(scope, patient);
        }
        self
    }

    /// All that is in either world: requests are made of it, so they ask for the hidden too.
    pub(crate) fn resources(&self) -> &[Json] {
        &self.resources
    }

    /// Sends the request to both; the status if the answers are the same, also over the pages that follow.
    pub(crate) async fn ask(&self, request: &Request) -> Result<u16, String> {
        let [one, other] = &self.worlds;
        let (mut first, mut second) = tokio::join!(request.send(&one.client), request.send(&other.client));
        // A loaded machine's database is busy at times and says so: what only reads is asked again, as it says.
        for _ in 0..5 {
            if !request.only_reads() || !(is_busy(&first) || is_busy(&second)) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            (first, second) = tokio::join!(request.send(&one.client), request.send(&other.client));
        }
        let status = first.status;
        same(&first, &second)?;
        while let (Some(next), Some(also)) = (next(&first), next(&second)) {
            (first, second) = tokio::join!(one.client.get(&next), other.client.get(&also));
            same(&first, &second)?;
        }
        Ok(status)
    }
}

impl World {
    /// Loads the visible with hidden resources between, `every` so many: row ids and instants differ.
    async fn start(
        engine: Engine,
        asker: Asker,
        directory: &[Json],
        visible: &[Json],
        (hidden, leaving, every): (&[Json], &[Json], usize),
    ) -> Self {
        let server = TestServer::start(engine).await;
        let system = server.system();
        for resource in directory {
            system.store(resource).await;
        }
        let mut rest = hidden.iter();
        for (index, resource) in visible.iter().enumerate() {
            if index % every == 0
                && let Some(stranger) = rest.next()
            {
                system.store(stranger).await;
            }
            system.store(resource).await;
        }
        for stranger in rest.chain(leaving) {
            system.store(stranger).await;
        }
        // A hidden resource that is gone, and one with several versions.
        if let Some(last) = hidden.iter().rfind(|resource| resource.str("resourceType") == Some("Observation")) {
            let path = format!("Observation/{}", last.str("id").unwrap_or_default());
            system.store(last).await;
            system.delete(&path).await;
        }
        World { client: asker.client(&server), server }
    }
}

fn is_busy(answer: &Answer) -> bool {
    answer.text().contains("\"code\":\"transient\"")
}

fn next(answer: &Answer) -> Option<String> {
    if answer.status == 200 && answer.text().contains("\"next\"") { answer.link("next") } else { None }
}

fn same(one: &Answer, other: &Answer) -> Result<(), String> {
    let (one, other) = (normalised(one), normalised(other));
    if one == other { Ok(()) } else { Err(format!("--- one world\n{one}\n--- the other\n{other}")) }
}

fn normalised(answer: &Answer) -> String {
    let mut text = String::new();
    for name in answer.header_names() {
        // The statement's tag is a hash, also of the address in it; a resource's is its version.
        let is_hash = name == "etag" && answer.header(name).is_some_and(|tag| tag.len() > 16);
        if !VARYING.contains(&name) && !is_hash {
            text.push_str(&redact::text(&format!("{name}: {}\n", answer.headers(name).join(", "))));
        }
    }
    text + &redact::page(answer)
}
