//! Two servers that agree inside the view of one patient and nowhere else.

use fhir::json::Json;
use fhir::object;
use tests::random::Random;
use tests::{Answer, Client, Engine, TestServer, redact, world};

use crate::requests::Request;

/// Whose app asks.
pub(crate) const PATIENT: &str = "ana";

/// Headers that differ from answer to answer.
const VARYING: [&str; 4] = ["date", "last-modified", "content-length", "x-request-id"];

/// The pair.
pub(crate) struct Twins {
    worlds: [World; 2],
    resources: Vec<Json>,
}

struct World {
    client: Client,
    /// Keeps the server running.
    _server: TestServer,
}

impl Twins {
    pub(crate) async fn start(engine: Engine, random: &mut Random) -> Self {
        let directory = world::directory(random);
        let visible = world::patient(random, PATIENT, 40);
        let few = hidden(random, &[("bo", 10)]);
        let many = hidden(random, &[("bo", 14), ("chloe", 25), ("dov", 12)]);
        let one = World::start(engine, &directory, &visible, &few, 3).await;
        let other = World::start(engine, &directory, &visible, &many, 1).await;
        let resources = directory.into_iter().chain(visible).chain(few).chain(many).collect();
        Twins { worlds: [one, other], resources }
    }

    /// All that is in either world: requests are made of it, so they ask for the hidden too.
    pub(crate) fn resources(&self) -> &[Json] {
        &self.resources
    }

    /// Sends the request to both; the status if the answers are the same, also over the pages that follow.
    pub(crate) async fn ask(&self, request: &Request) -> Result<u16, String> {
        let [one, other] = &self.worlds;
        let (mut first, mut second) = (request.send(&one.client).await, request.send(&other.client).await);
        let status = first.status;
        same(&first, &second)?;
        while let (Some(next), Some(also)) = (next(&first), next(&second)) {
            (first, second) = (one.client.get(&next).await, other.client.get(&also).await);
            same(&first, &second)?;
        }
        Ok(status)
    }
}

impl World {
    /// Loads the visible with hidden resources between, `every` so many: row ids and instants differ.
    async fn start(engine: Engine, directory: &[Json], visible: &[Json], hidden: &[Json], every: usize) -> Self {
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
        for stranger in rest {
            system.store(stranger).await;
        }
        // A hidden resource that is gone, and one with several versions.
        if let Some(last) = hidden.last() {
            let path = format!("Observation/{}", last.str("id").unwrap_or_default());
            system.store(last).await;
            system.delete(&path).await;
        }
        World { client: server.patient(PATIENT), _server: server }
    }
}

/// Patients that the view does not hold, each first the patient and then the data.
fn hidden(random: &mut Random, patients: &[(&str, usize)]) -> Vec<Json> {
    let mut resources = Vec::new();
    for (patient, observations) in patients {
        resources.extend(world::patient(random, patient, *observations));
    }
    resources.push(object! { "resourceType": "Basic", "id": "nobodys", "code": object! { "text": "hidden" } });
    resources.push(world::observation(random, patients[0].0, 999));
    resources
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
