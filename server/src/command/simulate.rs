//! `tributary simulate`: the vendors' side, to try an integration without a vendor.

use simulators::run::{self, Vendor};

use super::CommandError;
use crate::config::Config;

/// Options of `simulate`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Whose side is played.
    #[command(subcommand)]
    pub vendor: Vendor,
}

/// Plays a vendor until it has sent all, or until it is stopped.
pub async fn run(args: Args, _: &Config) -> Result<(), CommandError> {
    Ok(run::run(&args.vendor).await?)
}
