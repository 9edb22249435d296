//! Sends Medisanté messages to a webhook: the samples once, or generated readings at a steady rate.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use simulators::medisante::{self, Answer, Medisante, Undelivered};

/// Plays Medisanté's cloud against a webhook.
#[derive(Parser)]
#[command(name = "medisante-simulator")]
struct Arguments {
    /// The webhook.
    #[arg(long, default_value = "http://127.0.0.1:8080/health-data/medisante")]
    url: String,
    /// What `tributary vendor add medisante` printed.
    #[arg(long)]
    api_key: String,
    /// Readings a second; without it the samples are sent once.
    #[arg(long)]
    rate: Option<f64>,
    /// Device whose readings are generated.
    #[arg(long, default_value = "TaiDoc:BP800:001-3261717440000AAA-0D")]
    device: String,
    /// Start of the correlation ids: the same again is the same messages again.
    #[arg(long, default_value = "simulated")]
    run: String,
    /// How many readings to generate.
    #[arg(long, default_value_t = u64::MAX)]
    count: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match send(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("medisante-simulator: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn send(arguments: &Arguments) -> Result<(), Undelivered> {
    let cloud = Medisante::new(&arguments.url, &arguments.api_key)?;
    let Some(rate) = arguments.rate else {
        for sample in medisante::SAMPLES {
            show(sample.file, &cloud.send(sample.body).await?);
        }
        return Ok(());
    };
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate.clamp(0.001, 10_000.0)));
    for number in 0..arguments.count {
        ticks.tick().await;
        let message = medisante::blood_pressure(&arguments.device, &arguments.run, number);
        show(&format!("{}-{number}", arguments.run), &cloud.send(message).await?);
    }
    Ok(())
}

fn show(what: &str, answer: &Answer) {
    println!("{} {what} {}", answer.status, answer.body);
}
