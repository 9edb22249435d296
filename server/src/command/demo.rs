//! `tributary demo`: the whole product on a fresh, temporary database, every step checked.
//!
//! Seeds patients, devices, an account and an app through the same code as everything else; vendors' simulators deliver
//! measurements over HTTP, or are asked for them; an app is launched for a patient and reads what arrived, and nothing
//! else.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fhir::json::Json;

use super::{CommandError, serve};
use crate::config::Config;
use crate::random::Random;

mod browser;
mod devices;
mod launch;
mod seed;
mod transcript;
mod vendors;

use launch::Launched;
use seed::Seeds;
use transcript::{Exchange, Transcript};
use vendors::Services;

/// Options of `demo`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Stop after the last step instead of serving on.
    #[arg(long)]
    pub once: bool,
    /// Print the steps as one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// What the steps share: the server's address, a client and randomness.
struct Demo {
    fhir_base: String,
    base_url: String,
    http: reqwest::Client,
    random: Random,
}

/// An answer of the server.
struct Answer {
    status: u16,
    body: String,
    json: Json,
}

/// Runs the steps, then serves on until stopped.
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    let begun = Instant::now();
    let folder = Folder::make(&Random::system())?;
    let mut config = config.clone();
    config.database = format!("sqlite:{}", folder.0.join("tributary.sqlite").display());
    config.secret_key = None;
    config.secret_key_file = None;
    // The vendors' services are on this machine.
    config.outbound_private = true;
    let running = serve::start(&config).await?;
    let mut transcript = Transcript::new(args.json);
    transcript.say(&format!("A fresh server is running on {}", running.app.config.base_url));
    let (seeds, _services) = match walk(&running, &mut transcript).await {
        Ok(walked) => walked,
        Err(error) => {
            running.stop().await?;
            return Err(error);
        }
    };
    transcript.finish(begun.elapsed().as_secs_f64());
    if args.once {
        return running.stop().await;
    }
    transcript.say("\nIt keeps serving until Ctrl+C, then its database is deleted. Look around:");
    transcript.say(&format!("  Portal     {}/", running.app.config.base_url));
    transcript.say(&format!("  FHIR base  {}", running.app.config.fhir_base()));
    transcript.say(&format!("  Account    {} with password {}", seeds.username, seeds.password));
    transcript.say(&format!("  App        client id {}, redirect {}", seeds.client_id, seeds.redirect_uri));
    let flags = running.app.config.flags_to_reach();
    transcript.say(&format!("  Token      tributary token --scope 'system/*.cruds' --ttl 1h{flags}"));
    running.until_stopped().await
}

/// All steps; the first one that goes wrong ends the demo.
async fn walk(running: &serve::Running, transcript: &mut Transcript) -> Result<(Seeds, Services), CommandError> {
    let config = &running.app.config;
    let demo = Demo {
        fhir_base: config.fhir_base(),
        base_url: config.base_url.clone(),
        http: reqwest::Client::builder().timeout(Duration::from_secs(20)).build()?,
        random: running.app.random.clone(),
    };
    let seeds = seed::plant(&running.app).await?;
    transcript
        .say(&format!("{} patients, {} devices, one account and one app are in it", seeds.patients, seeds.devices));
    let services = vendors::start(&running.app).await?;
    metadata(&demo, transcript).await?;
    without_token(&demo, transcript).await?;
    devices::deliver(&demo, &running.app.store, &seeds, transcript).await?;
    vendors::arrive(&demo, &running.app, (&services, &seeds), transcript).await?;
    let launched = launch::standalone(&demo, &seeds, transcript).await?;
    own_observations(&demo, &launched, transcript).await?;
    nobody_elses(&demo, &seeds, &launched, transcript).await?;
    Ok((seeds, services))
}

async fn metadata(demo: &Demo, transcript: &mut Transcript) -> Result<(), CommandError> {
    let address = format!("{}/metadata", demo.fhir_base);
    let answer = demo.get(&address, None).await?;
    ensure(answer.status == 200, "metadata answers 200")?;
    ensure(answer.json.str("fhirVersion") == Some("4.0.1"), "it speaks FHIR 4.0.1")?;
    let types = answer.json.list("rest").first().map_or(0, |rest| rest.list("resource").len());
    transcript.step(&Exchange {
        title: "The server says what it can do",
        request: format!("GET {address}"),
        status: answer.status,
        body: &answer.body,
        checked: format!("FHIR 4.0.1, {types} resource types"),
    });
    Ok(())
}

async fn without_token(demo: &Demo, transcript: &mut Transcript) -> Result<(), CommandError> {
    let address = format!("{}/Observation", demo.fhir_base);
    let answer = demo.get(&address, None).await?;
    ensure(answer.status == 401, "nothing is told without a token")?;
    transcript.step(&Exchange {
        title: "Nobody gets data without a token",
        request: format!("GET {address}"),
        status: answer.status,
        body: &answer.body,
        checked: "401".to_owned(),
    });
    Ok(())
}

async fn own_observations(demo: &Demo, launched: &Launched, transcript: &mut Transcript) -> Result<(), CommandError> {
    let address = format!("{}/Observation?patient={}&_sort=-date", demo.fhir_base, launched.patient);
    let answer = demo.get(&address, Some(&launched.access_token)).await?;
    ensure(answer.status == 200, "the search answers 200")?;
    let entries = answer.json.list("entry");
    ensure(!entries.is_empty(), "the patient's measurements are there")?;
    let own = format!("Patient/{}", launched.patient);
    let subjects = entries.iter().map(|entry| entry.at(&["resource", "subject", "reference"]).and_then(Json::as_str));
    ensure(subjects.into_iter().all(|subject| subject == Some(&own)), "every one is the patient's own")?;
    transcript.step(&Exchange {
        title: "The app reads the patient's measurements",
        request: format!("GET {address}"),
        status: answer.status,
        body: &entries.iter().map(summary).collect::<Vec<_>>().join("\n"),
        checked: format!("{} Observations, all of {own}", entries.len()),
    });
    Ok(())
}

/// Another patient's data does not exist for this token: 404 on reading, nothing on searching. (LK-01)
async fn nobody_elses(
    demo: &Demo,
    seeds: &Seeds,
    launched: &Launched,
    transcript: &mut Transcript,
) -> Result<(), CommandError> {
    let address = format!("{}/Patient/{}", demo.fhir_base, seeds.other_patient);
    let answer = demo.get(&address, Some(&launched.access_token)).await?;
    ensure(answer.status == 404, "another patient cannot be read")?;
    transcript.step(&Exchange {
        title: "The app asks for another patient, who exists",
        request: format!("GET {address}"),
        status: answer.status,
        body: &answer.body,
        checked: "404, as if nobody of that id existed".to_owned(),
    });
    let address = format!("{}/Observation?patient={}", demo.fhir_base, seeds.other_patient);
    let answer = demo.get(&address, Some(&launched.access_token)).await?;
    ensure(answer.status == 200 && answer.json.list("entry").is_empty(), "another patient's data cannot be found")?;
    transcript.step(&Exchange {
        title: "The app searches for that patient's measurements, which exist",
        request: format!("GET {address}"),
        status: answer.status,
        body: &answer.body,
        checked: "nothing is found".to_owned(),
    });
    Ok(())
}

impl Demo {
    async fn get(&self, address: &str, token: Option<&str>) -> Result<Answer, CommandError> {
        let mut request = self.http.get(address);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let body = response.text().await?;
        let json = Json::parse(body.as_bytes()).unwrap_or(Json::Null);
        Ok(Answer { status, body, json })
    }
}

/// A search result in one line: what, how much, when.
fn summary(entry: &Json) -> String {
    let resource = entry.get("resource").unwrap_or(&Json::Null);
    let name = |part: &Json| part.at(&["code", "text"]).or(part.at(&["code", "coding", "display"])).cloned();
    let value = |part: &Json| {
        let quantity = part.get("valueQuantity")?;
        let unit = quantity.str("unit").or(quantity.str("code")).unwrap_or_default().to_owned();
        Some(format!("{} {unit}", quantity.get("value")?.as_number()?))
    };
    let parts: Vec<String> = std::iter::once(resource).chain(resource.list("component")).filter_map(value).collect();
    let what = name(resource).and_then(|name| name.as_str().map(ToOwned::to_owned)).unwrap_or_default();
    let when = resource.str("effectiveDateTime").unwrap_or_default();
    format!("{when}  {what}  {}", parts.join(" / "))
}

/// Fails loudly where a step did not go as it should.
fn ensure(holds: bool, expectation: &str) -> Result<(), CommandError> {
    if holds { Ok(()) } else { Err(CommandError::new(format!("demo: expected that {expectation}, and it is not so"))) }
}

/// A temporary folder that goes away with the demo.
struct Folder(PathBuf);

impl Folder {
    fn make(random: &Random) -> Result<Self, CommandError> {
        let path = std::env::temp_dir().join(format!("tributary-demo-{}", random.uuid()));
        std::fs::create_dir(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "the demo's folder stays behind");
        }
    }
}
