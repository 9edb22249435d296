//! Transaction: all entries or none, in one `store.write`. <https://hl7.org/fhir/R4/http.html#trules>
//!
//! ```text
//! before   read entries, decide access, ask criteria, settle ids, replace links, validate, index
//! inside   claim criteria, ask them again; DELETE, POST, PUT, GET
//! ```
//!
//! What is asked again inside nearly always says the same, so the writer does not wait for validation; where it does
//! not, what depends on it is done again there.

use std::collections::HashMap;
use std::sync::Arc;

use ::search::parse::{Parsed, parse};
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use store::{SearchPage, Stored, Tx};

use super::entry::{Action, Aim, Entry, Get};
use super::links::{self, conditional_references};
use super::resolution::{Found, Resolution, Settled, Step, place, resolve};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::error::Error;
use crate::rest::conditional::Criteria;
use crate::rest::create::Create;
use crate::rest::delete::Delete;
use crate::rest::read::{self, Read};
use crate::rest::request::Return;
use crate::rest::response::Answer;
use crate::rest::{Context, Prepared, Written, create, delete, search, update};

/// A transaction that is ready to be carried out.
struct Plan {
    steps: Vec<Step>,
    /// Criteria in references, by their text.
    references: Vec<(String, Criteria)>,
    /// Searches of GET entries.
    searches: HashMap<usize, Parsed>,
    /// How things stood before the transaction.
    resolution: Resolution,
    prepared: Vec<Option<Prepared>>,
}

/// Carries out the entries; answers come in their order.
pub(super) async fn run(
    app: &App,
    context: &Context,
    entries: Vec<Json>,
    returned: Return,
) -> Result<Vec<Answer>, Error> {
    let plan = Arc::new(plan(app, context, entries).await?);
    let context = context.clone();
    app.store
        .write(move |tx| {
            let (context, plan) = (context.clone(), plan.clone());
            Box::pin(async move { execute(tx, &context, &plan, returned).await })
        })
        .await
}

async fn plan(app: &App, context: &Context, entries: Vec<Json>) -> Result<Plan, Error> {
    let mut steps = Vec::with_capacity(entries.len());
    let mut searches = HashMap::new();
    let mut references: Vec<(String, Criteria)> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let within = |error: Error| error.within(&place(index));
        let step = step(context, entry).map_err(within)?;
        if let Action::Get { get: Get::Search { resource_type, pairs }, .. } = &step.action {
            let parsed = parse(resource_type, pairs, &search::options(app, false)).map_err(Error::bad_request);
            let parsed = parsed.map_err(within)?;
            access::decide_search(&context.caller, &parsed.query).map_err(within)?;
            searches.insert(index, parsed);
        }
        collect_references(context, &step, &mut references).map_err(within)?;
        steps.push(step);
    }
    let mut found = Found::new();
    for criteria in asked(&steps, &references) {
        if !found.contains_key(criteria.claim()) {
            let matches = criteria.matches_before(&app.store, context).await?;
            found.insert(criteria.claim().to_owned(), matches);
        }
    }
    let resolution = resolve(&steps, &references, &found, &context.base)?;
    let prepared = prepared(context, &steps, &resolution)?;
    Ok(Plan { steps, references, searches, resolution, prepared })
}

/// Reads an entry and decides access.
fn step(context: &Context, entry: Json) -> Result<Step, Error> {
    let Entry { full_url, action } = Entry::read(entry, &context.base)?;
    let decide = |interaction, resource_type: &str| access::decide(&context.caller, interaction, resource_type);
    let criteria = match &action {
        Action::Create { resource_type, if_none_exist, .. } => {
            decide(Interaction::Create, resource_type)?;
            if_none_exist.as_deref().map(|text| Criteria::prepare(context, resource_type, text)).transpose()?
        }
        Action::Update { resource_type, aim, .. } => {
            decide(Interaction::Update, resource_type)?;
            match aim {
                Aim::Id(_) => None,
                Aim::Criteria(text) => Some(Criteria::prepare(context, resource_type, text)?),
            }
        }
        Action::Delete { resource_type, .. } => decide(Interaction::Delete, resource_type).map(|()| None)?,
        Action::Get { get: Get::Read { resource_type, .. }, .. } => {
            decide(Interaction::Read, resource_type).map(|()| None)?
        }
        Action::Get { get: Get::Search { resource_type, .. }, .. } => {
            decide(Interaction::Search, resource_type).map(|()| None)?
        }
        Action::Get { .. } => {
            let text = "a transaction reads and searches; use a batch for vread, history and metadata";
            return Err(Error::bad_request(Issue::error(IssueCode::NotSupported, text)));
        }
    };
    if let Action::Update { aim: Aim::Id(id), resource, resource_type, .. } = &action {
        update::check_stated(resource_type, id, resource)?;
    }
    Ok(Step { full_url, action, criteria, fresh_id: context.random.uuid() })
}

fn collect_references(context: &Context, step: &Step, references: &mut Vec<(String, Criteria)>) -> Result<(), Error> {
    let Some((_, resource)) = step.action.resource() else { return Ok(()) };
    let mut texts = Vec::new();
    conditional_references(resource, &mut |resource_type, text| texts.push((resource_type, text)));
    for (resource_type, text) in texts {
        if !references.iter().any(|(known, _)| known == text) {
            let criteria = Criteria::of_reference(context, resource_type, &text[resource_type.len() + 1..])?;
            references.push((text.to_owned(), criteria));
        }
    }
    Ok(())
}

fn asked<'a>(steps: &'a [Step], references: &'a [(String, Criteria)]) -> impl Iterator<Item = &'a Criteria> {
    steps.iter().filter_map(|step| step.criteria.as_ref()).chain(references.iter().map(|(_, criteria)| criteria))
}

/// Replaces links, validates and indexes what is written.
fn prepared(context: &Context, steps: &[Step], resolution: &Resolution) -> Result<Vec<Option<Prepared>>, Error> {
    let one = |step: &Step, settled: &Settled| {
        let Some((resource_type, resource)) = step.action.resource() else { return Ok(None) };
        let mut resource = resource.clone();
        links::rewrite(&mut resource, step.full_url.as_deref(), &resolution.links).map_err(Error::bad_request)?;
        Prepared::new(context, resource_type, step.id(settled), resource).map(Some)
    };
    let steps = steps.iter().zip(&resolution.settled).enumerate();
    steps.map(|(index, (step, settled))| one(step, settled).map_err(|error| error.within(&place(index)))).collect()
}

async fn execute(tx: &mut Tx, context: &Context, plan: &Plan, returned: Return) -> Result<Vec<Answer>, Error> {
    let found = ask(tx, context, plan).await?;
    let changed;
    // Without criteria nothing can have changed.
    let now =
        if found.is_empty() { None } else { Some(resolve(&plan.steps, &plan.references, &found, &context.base)?) };
    let (resolution, prepared) = match now.filter(|now| *now != plan.resolution) {
        None => (&plan.resolution, &plan.prepared),
        Some(other) => {
            let prepared = prepared(context, &plan.steps, &other)?;
            changed = (other, prepared);
            (&changed.0, &changed.1)
        }
    };
    tx.lock(&changed_resources(&plan.steps, resolution)).await?;
    let order = order(&plan.steps, resolution);
    let mut work = Work { tx, context, plan, found: &found, returned, answers: vec![None; plan.steps.len()] };
    for index in order {
        let prepared = prepared[index].as_ref();
        let answer = work.carry_out(index, &plan.steps[index], &resolution.settled[index], prepared).await;
        work.answers[index] = Some(answer.map_err(|error| error.within(&place(index)))?);
    }
    work.answers.into_iter().map(|answer| answer.ok_or_else(|| Error::internal("an entry has no phase"))).collect()
}

/// What entries update or delete, by type and id.
fn changed_resources<'a>(steps: &'a [Step], resolution: &'a Resolution) -> Vec<(&'a str, &'a str)> {
    let pairs = steps.iter().zip(&resolution.settled);
    pairs
        .filter_map(|(step, settled)| match &step.action {
            Action::Update { resource_type, .. } | Action::Delete { resource_type, .. } => {
                Some((resource_type.as_str(), step.id(settled)))
            }
            Action::Create { .. } | Action::Get { .. } => None,
        })
        .collect()
}

/// Positions of the entries in the order in which they are carried out: phase by phase, updates by type and id, so
/// that of two transactions that bring the same resources into being one waits for the other.
fn order(steps: &[Step], resolution: &Resolution) -> Vec<usize> {
    let key = |index: &usize| {
        let step = &steps[*index];
        let updated = match &step.action {
            Action::Update { resource_type, .. } => {
                Some((resource_type.as_str(), step.id(&resolution.settled[*index])))
            }
            _ => None,
        };
        (Phase::of(&step.action), updated, *index)
    };
    let mut order: Vec<usize> = (0..steps.len()).collect();
    order.sort_unstable_by(|one, other| key(one).cmp(&key(other)));
    order
}

/// Asks all criteria in an order that is the same for every transaction, so that none waits for another crosswise.
async fn ask(tx: &mut Tx, context: &Context, plan: &Plan) -> Result<Found, Error> {
    let mut criteria: Vec<&Criteria> = asked(&plan.steps, &plan.references).collect();
    criteria.sort_unstable_by_key(|criteria| criteria.claim());
    criteria.dedup_by_key(|criteria| criteria.claim());
    let mut claims: Vec<&str> = plan.steps.iter().filter_map(|step| Some(step.criteria.as_ref()?.claim())).collect();
    claims.sort_unstable();
    claims.dedup();
    for claim in claims {
        tx.claim(claim).await?;
    }
    let mut found = Found::new();
    for criteria in criteria {
        let matches = criteria.matches(tx, context).await?;
        found.insert(criteria.claim().to_owned(), matches);
    }
    Ok(found)
}

/// The order in which entries are carried out, whatever their order in the Bundle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Delete,
    Create,
    Update,
    Get,
}

impl Phase {
    fn of(action: &Action) -> Self {
        match action {
            Action::Delete { .. } => Phase::Delete,
            Action::Create { .. } => Phase::Create,
            Action::Update { .. } => Phase::Update,
            Action::Get { .. } => Phase::Get,
        }
    }
}

struct Work<'a> {
    tx: &'a mut Tx,
    context: &'a Context,
    plan: &'a Plan,
    found: &'a Found,
    returned: Return,
    answers: Vec<Option<Answer>>,
}

impl Work<'_> {
    async fn carry_out(
        &mut self,
        index: usize,
        step: &Step,
        settled: &Settled,
        prepared: Option<&Prepared>,
    ) -> Result<Answer, Error> {
        let context = self.context;
        match (&step.action, settled, prepared) {
            (Action::Delete { resource_type, id, preconditions }, _, _) => {
                let (resource_type, id) = (resource_type.clone(), id.clone());
                let delete = Delete { resource_type, id, preconditions: preconditions.clone() };
                delete::execute(self.tx, context, &delete).await
            }
            (Action::Create { .. }, Settled::Existing(id), _) => {
                let claim = step.criteria.as_ref().map_or("", Criteria::claim);
                let stored = self.found.get(claim).into_iter().flatten().find(|stored| stored.id == *id);
                let stored = stored.cloned().ok_or_else(|| Error::internal("criteria lost their match"))?;
                Ok(self.written(&create::existing(stored)))
            }
            (Action::Create { .. }, Settled::SameAs(earlier), _) => {
                let first = self.answers[*earlier].clone();
                let first = first.ok_or_else(|| Error::internal("entries are created in their order"))?;
                Ok(Answer { status: actix_web::http::StatusCode::OK, ..first })
            }
            (Action::Create { .. }, _, Some(prepared)) => {
                // The criteria have been asked for all entries at once.
                let create = Create { prepared: prepared.clone(), if_none_exist: None };
                let written = create::execute(self.tx, context, &create).await?;
                Ok(self.written(&written))
            }
            (Action::Update { preconditions, .. }, Settled::Update(_, origin), Some(prepared)) => {
                let written = update::execute_prepared(self.tx, context, prepared, preconditions, *origin).await?;
                Ok(self.written(&written))
            }
            (Action::Get { get, head }, _, _) => {
                let answer = self.got(index, get).await?;
                Ok(if *head { Answer { body: None, ..answer } } else { answer })
            }
            _ => Err(Error::internal("an entry is not settled")),
        }
    }

    fn written(&self, written: &Written) -> Answer {
        Answer::written(written, &self.context.base, self.returned)
    }

    async fn got(&mut self, index: usize, get: &Get) -> Result<Answer, Error> {
        let view = &self.context.caller.view;
        match (get, self.plan.searches.get(&index)) {
            (Get::Read { resource_type, id, if_none_match, if_modified_since }, _) => {
                let stored: Option<Stored> = self.tx.current(view, resource_type, id).await?;
                let (if_none_match, if_modified_since) = (if_none_match.as_deref(), if_modified_since.as_deref());
                read::answer(stored, Read { resource_type, id, if_none_match, if_modified_since })
            }
            (Get::Search { .. }, Some(parsed)) => {
                let page = self.tx.search(view, &parsed.query).await?;
                // A page inside of a transaction cannot be continued outside of it.
                let page = SearchPage { next: None, ..page };
                Ok(Answer::resource(search::bundle(&self.context.base, parsed, &page)))
            }
            _ => Err(Error::internal("a transaction reads and searches only")),
        }
    }
}
