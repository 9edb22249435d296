//! The simulators as they are run by a person: `tributary simulate …`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::healthkit::{self, Phone};
use crate::medisante::{self, Answer, Medisante, Undelivered};
use crate::pas::{self, Pas};
use crate::smart_meter::{self, SmartMeter};
use crate::smartlink::{self, SmartLink};
use crate::smartz::{self, Smartz};
use crate::trouble::Trouble;
use crate::validic::{self, Validic};

/// Whose side is played.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Vendor {
    /// Medisanté's cloud: sends the samples once, or readings at a steady rate.
    Medisante(Sender),
    /// An app on a phone: sends heart rates.
    Healthkit(Uploads),
    /// Validic Inform: a server with users, records, an event stream, and Smart Meter's devices.
    Validic(ValidicServer),
    /// Smart Meter's own service: a server that is asked for readings.
    SmartMeter(SmartMeterServer),
    /// Smartz Connect, as we imagine it: a server with tokens, lists, statuses and alerts.
    Smartz(SmartzServer),
    /// A payer that speaks FHIR as Da Vinci PAS does: a server with tokens, claims, inquiries and a ledger.
    Pas(PasServer),
    /// SmartLink of Smart Applications: a server with tokens, sessions, members, claims and a ledger.
    Smartlink(SmartLinkServer),
}

/// What Medisanté's cloud sends.
#[derive(clap::Args, Clone, Debug)]
pub struct Sender {
    /// The webhook.
    #[arg(long, default_value = "http://127.0.0.1:8080/health-data/medisante")]
    pub url: String,
    /// What `tributary vendor add medisante` printed.
    #[arg(long)]
    pub api_key: String,
    /// Readings a second; without it the samples are sent once.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Device whose readings are generated.
    #[arg(long, default_value = "TaiDoc:BP800:001-3261717440000AAA-0D")]
    pub device: String,
    /// Start of the correlation ids: the same again is the same messages again.
    #[arg(long, default_value = "simulated")]
    pub run: String,
    /// How many readings to generate.
    #[arg(long, default_value_t = u64::MAX)]
    pub count: u64,
    /// Every so many messages are sent twice.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub duplicate_every: u64,
}

/// What a phone sends.
#[derive(clap::Args, Clone, Debug)]
pub struct Uploads {
    /// Where to.
    #[arg(long, default_value = "http://127.0.0.1:8080/health-data/healthkit")]
    pub url: String,
    /// Access token for the record of one patient.
    #[arg(long)]
    pub token: String,
    /// Samples a second.
    #[arg(long, default_value_t = 1.0)]
    pub rate: f64,
    /// Start of the samples' ids: the same again is the same samples again.
    #[arg(long, default_value = "simulated")]
    pub run: String,
    /// How many samples to send.
    #[arg(long, default_value_t = 60)]
    pub count: u64,
    /// Every so many messages are sent twice.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub duplicate_every: u64,
}

/// Validic's server.
#[derive(clap::Args, Clone, Debug)]
pub struct ValidicServer {
    /// Where it listens.
    #[arg(long = "at", value_name = "ADDRESS", default_value = "127.0.0.1:9401")]
    pub at: SocketAddr,
    /// The token that it takes.
    #[arg(long, default_value = "validic-token")]
    pub token: String,
    /// Records a second that it sends for each user.
    #[arg(long, default_value_t = 1.0)]
    pub rate: f64,
    /// What goes wrong.
    #[command(flatten)]
    pub trouble: Trouble,
}

/// Smart Meter's server.
#[derive(clap::Args, Clone, Debug)]
pub struct SmartMeterServer {
    /// Where it listens.
    #[arg(long = "at", value_name = "ADDRESS", default_value = "127.0.0.1:9403")]
    pub at: SocketAddr,
    /// The key that it takes.
    #[arg(long, default_value = "smart-meter-key")]
    pub key: String,
    /// Device whose readings it takes in.
    #[arg(long, default_value = "860000000000011")]
    pub device: String,
    /// Readings a second.
    #[arg(long, default_value_t = 0.2)]
    pub rate: f64,
    /// What goes wrong.
    #[command(flatten)]
    pub trouble: Trouble,
}

/// Smartz's server.
#[derive(clap::Args, Clone, Debug)]
pub struct SmartzServer {
    /// Where it listens.
    #[arg(long = "at", value_name = "ADDRESS", default_value = "127.0.0.1:9402")]
    pub at: SocketAddr,
    /// Statuses a second.
    #[arg(long, default_value_t = 0.2)]
    pub rate: f64,
    /// How long a token is good, in seconds.
    #[arg(long, default_value_t = 3600)]
    pub token_life: u64,
    /// What goes wrong.
    #[command(flatten)]
    pub trouble: Trouble,
}

/// A FHIR payer's server.
#[derive(clap::Args, Clone, Debug)]
pub struct PasServer {
    /// Where it listens.
    #[arg(long = "at", value_name = "ADDRESS", default_value = "127.0.0.1:9403")]
    pub at: SocketAddr,
    /// What becomes of claims, and what goes wrong with them.
    #[command(flatten)]
    pub faults: pas::Faults,
    /// What goes wrong with any request.
    #[command(flatten)]
    pub trouble: Trouble,
}

/// SmartLink's server.
#[derive(clap::Args, Clone, Debug)]
pub struct SmartLinkServer {
    /// Where it listens.
    #[arg(long = "at", value_name = "ADDRESS", default_value = "127.0.0.1:9404")]
    pub at: SocketAddr,
    /// What the faults come of.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What goes wrong with claims.
    #[command(flatten)]
    pub faults: smartlink::Faults,
    /// What goes wrong with any request.
    #[command(flatten)]
    pub trouble: Trouble,
}

/// Why a simulator ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The receiver does not answer.
    #[error(transparent)]
    Undelivered(#[from] Undelivered),
    /// Its address cannot be listened on.
    #[error("cannot listen: {0}")]
    Listen(#[from] std::io::Error),
}

/// Plays a vendor until it has sent all, or for ever.
pub async fn run(vendor: &Vendor) -> Result<(), Ended> {
    match vendor {
        Vendor::Medisante(sender) => send(sender).await?,
        Vendor::Healthkit(uploads) => upload(uploads).await?,
        Vendor::Validic(server) => serve_validic(server).await?,
        Vendor::SmartMeter(server) => serve_smart_meter(server).await?,
        Vendor::Smartz(server) => serve_smartz(server).await?,
        Vendor::Pas(server) => serve_pas(server).await?,
        Vendor::Smartlink(server) => serve_smartlink(server).await?,
    }
    Ok(())
}

/// Sends what Medisanté's cloud sends.
pub async fn send(sender: &Sender) -> Result<(), Undelivered> {
    let cloud = Medisante::new(&sender.url, &sender.api_key)?;
    let Some(rate) = sender.rate else {
        for sample in medisante::SAMPLES {
            show(sample.file, &cloud.send(sample.body).await?);
        }
        return Ok(());
    };
    let mut ticks = ticks(rate);
    let trouble = Trouble { duplicate_every: sender.duplicate_every, ..Trouble::default() };
    for number in 0..sender.count {
        ticks.tick().await;
        let message = medisante::blood_pressure(&sender.device, &sender.run, number);
        for _ in 0..trouble.copies(number) {
            show(&format!("{}-{number}", sender.run), &cloud.send(message.clone()).await?);
        }
    }
    Ok(())
}

async fn upload(uploads: &Uploads) -> Result<(), Undelivered> {
    let phone = Phone::new(&uploads.url, &uploads.token)?;
    let mut ticks = ticks(uploads.rate);
    let trouble = Trouble { duplicate_every: uploads.duplicate_every, ..Trouble::default() };
    for number in 0..uploads.count {
        ticks.tick().await;
        let sample = healthkit::heart_rate(&uploads.run, number);
        for _ in 0..trouble.copies(number) {
            show(&format!("{}-{number}", uploads.run), &phone.send(std::slice::from_ref(&sample)).await?);
        }
    }
    Ok(())
}

async fn serve_validic(server: &ValidicServer) -> Result<(), Ended> {
    let service = Validic::start(server.at, &server.token, server.trouble.clone()).await?;
    let at = service.http.origin();
    println!("Validic listens on {at}. In a server that runs with --outbound-private=true:");
    println!(
        "  tributary connection add validic --url {at} --credential token={} --setting organization={} \
         --setting stream={} --setting stream-url={at} --setting connect-url={at}",
        server.token,
        validic::ORGANIZATION,
        validic::STREAM
    );
    let (mut ticks, mut number) = (ticks(server.rate), 0);
    loop {
        ticks.tick().await;
        for uid in service.uids() {
            service.publish(&validic::record(&uid, number, 55 + number * 3 % 40));
            number += 1;
        }
    }
}

async fn serve_smart_meter(server: &SmartMeterServer) -> Result<(), Ended> {
    let service = SmartMeter::start(server.at, &server.key, server.trouble.clone()).await?;
    let at = service.http.origin();
    println!("Smart Meter listens on {at}. In a server that runs with --outbound-private=true:");
    println!(
        "  tributary connection add smart_meter --url {at} --credential api-key={} --setting poll-seconds=5",
        server.key
    );
    let (mut ticks, mut number) = (ticks(server.rate), 0);
    loop {
        ticks.tick().await;
        let reading = smart_meter::blood_pressure(&server.device, number);
        for _ in 0..server.trouble.copies(number) {
            service.take_in(reading.clone());
        }
        number += 1;
    }
}

async fn serve_smartz(server: &SmartzServer) -> Result<(), Ended> {
    let service = Smartz::start(server.at, server.token_life, server.trouble.clone()).await?;
    let (at, [id, key, sub]) = (service.http.origin(), smartz::CREDENTIALS);
    println!("Smartz listens on {at}. In a server that runs with --outbound-private=true:");
    println!(
        "  tributary connection add smartz --url {at}/v1 --credential app-id={id} --credential app-key={key} \
         --credential sub-key={sub} --setting patients=mirror --setting poll-seconds=5"
    );
    let (mut ticks, mut number) = (ticks(server.rate), 0);
    loop {
        ticks.tick().await;
        service.status(smartz::status(number));
        if number % 10 == 9 {
            service.alert(smartz::alert(number, None));
        }
        number += 1;
    }
}

async fn serve_pas(server: &PasServer) -> Result<(), Ended> {
    let payer = Pas::start(server.at, server.faults.clone(), server.trouble.clone()).await?;
    let (at, [id, secret]) = (payer.http.origin(), pas::CREDENTIALS);
    println!("A FHIR payer listens on {at}. In a server that runs with --outbound-private=true:");
    println!(
        "  tributary connection add pas --url {at}/fhir --credential client_id={id} --credential client_secret={secret} \
         --setting token_url={at}/token --setting uses=preauthorization,claim --setting follow_seconds=10"
    );
    let mut told = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ledger = payer.ledger();
        for entry in ledger.iter().skip(told) {
            println!("{} {} {} {}", entry.identifier, entry.amount, entry.currency, entry.state);
        }
        told = ledger.len();
    }
}

async fn serve_smartlink(server: &SmartLinkServer) -> Result<(), Ended> {
    let payer = SmartLink::start_at(server.at, server.faults, server.trouble.clone(), server.seed).await?;
    println!("SmartLink listens on {}. In a server that runs with --outbound-private=true:", payer.base_url());
    println!(
        "  tributary connection add smartlink --url {} --credential client_id=hmis --credential client_secret=secret \
         --credential username=hospital --credential password=secret --setting provider_key=SKSP_0000 \
         --setting sp_id=6122 --setting settle_seconds=5 --setting follow_seconds=10",
        payer.base_url()
    );
    println!("Each patient number has a session that waits.");
    let mut told = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ledger = payer.ledger();
        for billed in ledger.iter().skip(told) {
            println!("{} {} of visit {}", billed.invoice, billed.amount, billed.visit);
        }
        told = ledger.len();
    }
}

fn ticks(rate: f64) -> tokio::time::Interval {
    tokio::time::interval(Duration::from_secs_f64(1.0 / rate.clamp(0.001, 10_000.0)))
}

fn show(what: &str, answer: &Answer) {
    println!("{} {what} {}", answer.status, answer.body);
}
