//! Sends Medisanté messages to a webhook: the samples once, or generated readings at a steady rate.

use std::process::ExitCode;

use clap::Parser;
use simulators::run::{self, Sender};

/// Plays Medisanté's cloud against a webhook.
#[derive(Parser)]
#[command(name = "medisante-simulator")]
struct Arguments {
    #[command(flatten)]
    sender: Sender,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run::send(&Arguments::parse().sender).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("medisante-simulator: {error}");
            ExitCode::FAILURE
        }
    }
}
