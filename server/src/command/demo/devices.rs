//! A vendor delivers its sample messages over HTTP, and they become FHIR.

use std::time::Duration;

use simulators::medisante::{Medisante, SAMPLES, Sample};
use store::Store;
use store::inbox::{self, Filter, State};

use super::seed::{Seeds, VENDOR};
use super::transcript::{Exchange, Transcript};
use super::{Demo, ensure};
use crate::command::CommandError;

/// Where the vendor delivers.
const PATH: &str = "/health-data/medisante";

/// The sample that says the same as the first.
const REPEATED: &str = "07-blood-pressure-duplicate.json";

/// The sample that breaks off in the middle.
const TRUNCATED: &str = "10-truncated-json.json";

/// How often, every 50 ms, it is looked whether everything is translated.
const LOOKS: usize = 200;

/// All samples in order, and what must come of each.
pub(super) async fn deliver(
    demo: &Demo,
    store: &Store,
    seeds: &Seeds,
    transcript: &mut Transcript,
) -> Result<(), CommandError> {
    let webhook = format!("{}{PATH}", demo.base_url);
    wrong_key(&webhook, transcript).await?;
    let vendor = Medisante::new(&webhook, &seeds.api_key)?;
    let mut receipts: Vec<Option<String>> = Vec::new();
    for sample in SAMPLES {
        let answer = vendor.send(sample.body).await?;
        let receipt = answer.receipt().map(ToOwned::to_owned);
        let checked = match sample.file {
            TRUNCATED => {
                ensure(answer.status == 400 && receipt.is_none(), "a message that breaks off is refused")?;
                "refused, nothing is kept".to_owned()
            }
            REPEATED => {
                ensure(answer.status == 200, "a message may come twice")?;
                ensure(receipt == receipts[0], "the second gets the receipt of the first")?;
                "the same receipt as the first time: it counts once".to_owned()
            }
            _ => {
                ensure(answer.status == 200 && receipt.is_some(), &format!("{} gets a receipt", sample.file))?;
                "accepted with a receipt, on disk".to_owned()
            }
        };
        receipts.push(receipt);
        transcript.step(&Exchange {
            title: &title(sample),
            request: format!("POST {webhook} ({})", sample.file),
            status: answer.status,
            body: &answer.body.to_string(),
            checked,
        });
    }
    translated(store, transcript).await
}

async fn wrong_key(webhook: &str, transcript: &mut Transcript) -> Result<(), CommandError> {
    let answer = Medisante::new(webhook, "not-the-key")?.send(SAMPLES[0].body).await?;
    ensure(answer.status == 401, "a wrong key is refused")?;
    transcript.step(&Exchange {
        title: "Somebody without the vendor's key delivers a measurement",
        request: format!("POST {webhook}"),
        status: answer.status,
        body: &answer.body.to_string(),
        checked: "401".to_owned(),
    });
    Ok(())
}

/// Waits until nothing is left to translate; only the message of a device that nobody has may be set aside.
async fn translated(store: &Store, transcript: &mut Transcript) -> Result<(), CommandError> {
    let filter = |state| Filter { vendor: Some(VENDOR.to_owned()), state: Some(state), ..Filter::default() };
    for _ in 0..LOOKS {
        if inbox::list(store, &filter(State::Received), 1).await?.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let most = SAMPLES.len() as u64;
    let waiting = inbox::list(store, &filter(State::Received), most).await?.len();
    let applied = inbox::list(store, &filter(State::Applied), most).await?.len();
    let aside = inbox::list(store, &filter(State::Quarantined), most).await?;
    ensure(waiting == 0, "every accepted message is translated within seconds")?;
    ensure(applied == SAMPLES.len() - 3, "every message of a paired device became FHIR")?;
    let unpaired =
        aside.iter().all(|message| message.device.as_deref().is_some_and(|device| device.contains("NOT-ASSIGNED")));
    ensure(aside.len() == 1 && unpaired, "the message of a device that nobody has is set aside")?;
    transcript.say(&format!(
        "\n   {applied} messages became FHIR; 1 is set aside, because its device is paired with nobody."
    ));
    Ok(())
}

fn title(sample: &Sample) -> String {
    let words =
        sample.file.trim_end_matches(".json").trim_start_matches(|c: char| c.is_ascii_digit()).replace('-', " ");
    format!("The vendor delivers:{words}")
}
