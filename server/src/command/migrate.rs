//! `tributary migrate`: brings the database's tables up to date. Safe to run again.

use super::CommandError;
use crate::app::App;
use crate::config::Config;

/// Options of `migrate`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Only list what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Applies the migrations that are missing and says which.
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    let app = App::open(config).await?;
    let pending = app.store.pending_migrations().await?;
    if !args.dry_run {
        app.store.migrate().await?;
    }
    let database = app.config.database_for_display();
    if args.json {
        println!("{}", serde_json::json!({ "database": database, "applied": !args.dry_run, "migrations": pending }));
        return Ok(());
    }
    if pending.is_empty() {
        println!("{database} is up to date");
    }
    for migration in &pending {
        println!("{} {migration}", if args.dry_run { "pending" } else { "applied" });
    }
    Ok(())
}
