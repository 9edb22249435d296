//! Transactions that share one commit: what would be many small ones at once, each with an event of its own.
//!
//! All of them are there, or none: whoever needs one that stands in spite of the others carries it out by itself. No two
//! of them may be about the same resource.

use std::sync::Arc;

use fhir::json::Json;
use store::{Tx, Work};

use super::transaction::{self, Before, Plan};
use super::{Kind, opened};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::Context;
use crate::rest::request::Return;

/// What else is written with a transaction, by where its entries are now.
pub type Then = Arc<dyn for<'t> Fn(&'t mut Tx, Vec<String>) -> Work<'t, (), Error> + Send + Sync>;

/// One of several transactions.
pub struct Together {
    /// A Bundle of type transaction; one without entries only does the rest.
    pub bundle: Json,
    /// What is written with it.
    pub then: Then,
}

/// Carries out all of them in one commit. What they write is taken to be new, which the transaction checks.
pub async fn execute_together(app: &App, caller: &Caller, several: Vec<Together>) -> Result<(), Error> {
    let context = Context::new(app, caller);
    let mut plans = Vec::with_capacity(several.len());
    for Together { bundle, then } in several {
        let (kind, entries) = opened(bundle, app.config.max_bundle_entries)?;
        if kind != Kind::Transaction {
            return Err(Error::internal("only transactions share a commit"));
        }
        plans.push((transaction::plan(app, &context, entries, Before::References).await?, then));
    }
    let plans = Arc::new(plans);
    let write = app.store.write(move |tx| {
        let (context, plans) = (context.clone(), plans.clone());
        Box::pin(async move { execute(tx, &context, &plans).await })
    });
    write.await
}

async fn execute(tx: &mut Tx, context: &Context, plans: &[(Plan, Then)]) -> Result<(), Error> {
    let all: Vec<&Plan> = plans.iter().map(|(plan, _)| plan).collect();
    let found = transaction::ask(tx, context, &all).await?;
    let mut settled = Vec::with_capacity(plans.len());
    for plan in &all {
        settled.push(transaction::settled_now(context, plan, &found)?);
    }
    let changed = all.iter().zip(&settled);
    let changed: Vec<(&str, &str)> =
        changed.flat_map(|(plan, now)| transaction::changed_resources(plan, now.as_ref())).collect();
    tx.lock(&changed).await?;
    for ((plan, then), now) in plans.iter().zip(settled) {
        let answers = if plan.steps.is_empty() {
            Vec::new()
        } else {
            transaction::carry_out(tx, context, plan, (&found, now), Return::Minimal).await?
        };
        then(tx, answers.into_iter().filter_map(|answer| answer.location).collect()).await?;
        tx.end_event();
    }
    Ok(())
}
