//! `tributary reindex`: makes the search index again from the stored resources.
//!
//! Versions and bodies stay as they are. It goes by row id in small transactions, so the server may go on working;
//! started again after an interruption it does no harm.

use std::sync::Arc;
use std::time::Instant;

use fhir::json::Json;
use indicatif::{ProgressBar, ProgressStyle};
use search::entry::Extracted;
use store::{Standing, Store, StoreError, Stored};

use super::CommandError;
use crate::app::App;
use crate::config::Config;
use crate::search_parameters;

/// Resources in one transaction.
const BATCH: u64 = 200;

/// Options of `reindex`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
    /// Do nothing but say how far the index is with the search parameters that this database defines.
    #[arg(long)]
    pub status: bool,
}

/// Goes once through all current resources; fails where one could not be indexed.
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    let app = App::open_ready(config).await?;
    if args.status {
        return status(&app, args.json).await;
    }
    let base = app.config.fhir_base();
    let bar = ProgressBar::new(app.store.count_current().await?).with_style(style());
    let begun = Instant::now();
    let (mut after, mut count, mut failures) = (0, 0_u64, Vec::new());
    loop {
        let batch = app.store.each_current(after, BATCH).await?;
        let Some(last) = batch.last() else { break };
        after = last.rid;
        let mut extracted = Vec::with_capacity(batch.len());
        for Standing { stored, .. } in batch {
            match extract(&stored, &base) {
                Ok(entries) => extracted.push((stored.resource_type, stored.id, stored.version, entries)),
                Err(reason) => {
                    bar.suspend(|| eprintln!("{}/{}: {reason}", stored.resource_type, stored.id));
                    failures.push(format!("{}/{}: {reason}", stored.resource_type, stored.id));
                }
            }
        }
        count += extracted.len() as u64;
        rewrite(&app.store, extracted).await?;
        bar.set_position(count);
    }
    bar.finish_and_clear();
    let seconds = begun.elapsed().as_secs_f64();
    if args.json {
        println!("{}", serde_json::json!({ "resources": count, "seconds": seconds, "errors": failures }));
    } else {
        println!("{count} resources indexed again in {seconds:.1} s, {} error(s)", failures.len());
    }
    match failures.len() {
        0 => Ok(()),
        count => Err(CommandError::new(format!("{count} resource(s) could not be indexed"))),
    }
}

async fn status(app: &App, json: bool) -> Result<(), CommandError> {
    let lines = search_parameters::status(&app.store.search_parameters().await?.kept);
    if json {
        println!("{}", serde_json::Value::from(lines));
    } else if lines.is_empty() {
        println!("this database defines no search parameters of its own; those of R4 are indexed");
    } else {
        for line in &lines {
            println!("{line}");
        }
    }
    Ok(())
}

fn extract(stored: &Stored, base: &str) -> Result<Extracted, String> {
    let resource = Json::parse(stored.body.as_bytes()).map_err(|error| error.to_string())?;
    search::extract::extract(&resource, base).map_err(|error| error.to_string())
}

/// Replaces the index rows of what has not changed since it was read; what has changed got new ones then.
async fn rewrite(store: &Store, batch: Vec<(String, String, i64, Extracted)>) -> Result<(), StoreError> {
    let batch = Arc::new(batch);
    store
        .write(move |tx| {
            let batch = batch.clone();
            Box::pin(async move {
                for (resource_type, id, version, extracted) in batch.iter() {
                    tx.reindex(resource_type, id, *version, extracted).await?;
                }
                Ok(())
            })
        })
        .await
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:32} {pos}/{len} resources, {per_sec}, {eta} left")
        .expect("the template is valid")
}
