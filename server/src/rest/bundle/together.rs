//! Transactions that share one commit: what would be many small ones at once, each with an event of its own.
//!
//! They succeed or fail together: who needs one of them even if another fails carries it out by itself. No two of them may
//! write the same resource.

use std::sync::Arc;

use fhir::json::Json;
use store::{Birth, Tx, Work};

use super::transaction::{self, Before, Plan};
use super::{Asked, Kind, asking, opened};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::Context;
use crate::rest::request::Return;

/// What else is written in the commit; it is told where the entries of each Bundle are now.
pub type Then = Arc<dyn for<'t> Fn(&'t mut Tx, Vec<Vec<String>>) -> Work<'t, (), Error> + Send + Sync>;

/// Carries out Bundles of type transaction in one commit; one without entries changes nothing. What they write is taken
/// to be new, which the transaction checks.
pub async fn execute_together(app: &App, caller: &Caller, bundles: Vec<Json>, then: Then) -> Result<(), Error> {
    let context = Context::new(app, caller);
    let mut plans = Vec::with_capacity(bundles.len());
    for bundle in bundles {
        let (kind, entries) = opened(bundle, app.config.max_bundle_entries)?;
        if kind != Kind::Transaction {
            return Err(Error::internal("only transactions share a commit"));
        }
        plans.push(transaction::plan(app, &context, Asked::by_the_server(entries), Before::References).await?);
    }
    let write = context
        .in_transaction(app, (plans, then), |tx, context, (plans, then)| Box::pin(execute(tx, context, plans, then)));
    write.await
}

async fn execute(tx: &mut Tx, context: &Context, plans: &[Plan], then: &Then) -> Result<(), Error> {
    let all: Vec<&Plan> = plans.iter().collect();
    let found = asking::ask(tx, context, &all).await?;
    let mut settled = Vec::with_capacity(plans.len());
    for plan in &all {
        settled.push(transaction::settled_now(context, plan, &found)?);
    }
    let now = || all.iter().zip(&settled).map(|(plan, now)| (*plan, now.as_ref()));
    let changed: Vec<(&str, &str)> = now().flat_map(|(plan, now)| transaction::changed_resources(plan, now)).collect();
    tx.lock(&changed).await?;
    let births: Vec<Birth<'_>> = now().flat_map(|(plan, now)| transaction::births(plan, now)).collect();
    let at = context.instant_after(tx, 0).await?;
    tx.foresee(&births, at).await?;
    let mut locations = Vec::with_capacity(plans.len());
    for (plan, now) in all.iter().zip(settled) {
        let answers = if plan.steps.is_empty() {
            Vec::new()
        } else {
            transaction::carry_out(tx, context, plan, &found, now, Return::Minimal).await?
        };
        locations.push(answers.into_iter().filter_map(|answer| answer.location).collect());
        tx.end_event();
    }
    tx.all_are_put()?;
    then(tx, locations).await
}
