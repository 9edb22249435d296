//! `tributary reference`: pages of the documentation that are made of the tables that run.

use super::CommandError;
use crate::config::Config;
use crate::error;

/// Options of `reference`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Which page.
    #[command(subcommand)]
    pub page: Page,
}

/// The pages that this command writes.
#[derive(clap::Subcommand, Clone, Copy, Debug)]
pub enum Page {
    /// Status and issue codes.
    Errors,
}

/// Prints the page.
#[expect(clippy::unused_async, reason = "all commands are called alike")]
pub async fn run(args: Args, _: &Config) -> Result<(), CommandError> {
    let page = match args.page {
        Page::Errors => error::page(),
    };
    print!("{page}");
    Ok(())
}
