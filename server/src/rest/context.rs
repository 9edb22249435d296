//! Who acts, and what an interaction takes with it into its transaction.

use std::sync::Arc;

use store::audit::Event;
use store::{Tx, Work};

use crate::app::App;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::error::Error;
use crate::random::Random;

/// Who acts, and what an interaction needs from the server while a transaction is open; cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Who acts.
    pub caller: Arc<Caller>,
    /// The FHIR base URL.
    pub base: Arc<str>,
    /// Where `meta.lastUpdated` comes from.
    pub clock: Clock,
    /// Where logical ids come from.
    pub random: Random,
    /// Whether this is one entry of a batch. If not, the event of the write is the event of the whole request.
    pub is_part: bool,
}

impl Context {
    /// For requests of `caller`.
    pub fn new(app: &App, caller: &Caller) -> Self {
        Context {
            caller: Arc::new(caller.clone()),
            base: app.config.fhir_base().into(),
            clock: app.clock.clone(),
            random: app.random.clone(),
            is_part: false,
        }
    }

    /// A logical id that no resource has.
    pub fn fresh_id(&self) -> String {
        self.random.ordered_uuid(self.clock.now())
    }

    /// The event of a write, which the write completes.
    pub fn event(&self) -> Event {
        let trail = &self.caller.trail;
        let event = trail.event(&self.caller, &self.clock, &self.random);
        Event { written: (!self.is_part).then(|| trail.written()), ..event }
    }

    /// Whether the caller may give a new resource an id of its own: only if nothing of the type is hidden from it,
    /// for the answer to a taken id would tell that it exists. (LK-27)
    pub fn may_choose_ids(&self, resource_type: &str) -> bool {
        use search::view::{Compartment, TypeRule};
        let view = &self.caller.view;
        *view.compartment() == Compartment::Everyone && *view.rule(resource_type) == TypeRule::Whole
    }

    /// Carries prepared work out in a transaction of its own.
    pub async fn in_transaction<W, A>(
        &self,
        app: &App,
        work: W,
        execute: for<'a> fn(&'a mut Tx, &'a Context, &'a W) -> Work<'a, A, Error>,
    ) -> Result<A, Error>
    where
        W: Send + Sync + 'static,
        A: Send + 'static,
    {
        let (context, work) = (self.clone(), Arc::new(work));
        app.store
            .write(move |tx| {
                let (context, work) = (context.clone(), work.clone());
                Box::pin(async move { execute(tx, &context, &work).await })
            })
            .await
    }

    /// The instant of a new version: now, but always after the version before, also if the clock is set back. (RE-41)
    pub async fn instant_after(&self, tx: &mut Tx, previous: i64) -> Result<i64, Error> {
        Ok(tx.instant(self.clock.now()).await?.max(previous + 1))
    }
}
