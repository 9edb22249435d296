//! Transaction: all entries or none, in one `store.write`. <https://hl7.org/fhir/R4/http.html#trules>
//!
//! ```text
//! before   read entries, decide access, ask criteria, patch, settle ids, replace links, validate, index
//! inside   lock criteria, ask them again, look at what is patched; DELETE, POST, PUT and PATCH, GET
//! ```
//!
//! What is asked again inside nearly always says the same, so the writer does not wait for validation; where it does
//! not, what depends on it is done again there.

use std::collections::{BTreeSet, HashMap};

use ::search::parse::Parsed;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use store::audit::{Entity, Event};
use store::{Birth, SearchPage, Store, Stored, Tx};

use super::entry::{Action, Aim, Entry, Get};
use super::links;
use super::resolution::{Found, Patched, Resolution, Settled, Step, place, resolve};
use super::{Also, Asked, asking};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::audit::{masked, patients_in};
use crate::error::Error;
use crate::rest::conditional::{Criteria, single};
use crate::rest::operation::definition;
use crate::rest::read;
use crate::rest::request::Return;
use crate::rest::response::Answer;
use crate::rest::search::terminology::Lookup;
use crate::rest::{Context, Prepared, Written, capabilities, create, delete, patch, projected, search, update, vread};

/// A transaction that is ready to be carried out.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Criteria in references, by their text.
    pub(super) references: Vec<(String, Criteria)>,
    /// What criteria found before the transaction.
    pub(super) found: Found,
    /// Searches of GET entries.
    searches: HashMap<usize, Parsed>,
    /// Answers to GET entries that no store is asked for.
    own_answers: HashMap<usize, Answer>,
    /// How things stood before the transaction.
    resolution: Resolution,
    prepared: Vec<Option<Prepared>>,
}

/// Carries out the entries; answers come in their order.
pub(super) async fn run(
    app: &App,
    context: &Context,
    asked: Asked,
    returned: Return,
    also: Option<Also>,
) -> Result<Vec<Answer>, Error> {
    let plan = plan(app, context, asked, Before::All).await?;
    let carried_out = context.in_transaction(app, (plan, returned, also), |tx, context, (plan, returned, also)| {
        Box::pin(async move {
            let answers = execute(tx, context, plan, *returned).await?;
            if let Some(also) = also {
                also(tx).await?;
            }
            Ok(answers)
        })
    });
    carried_out.await
}

/// What is asked before the transaction; what is not, is taken to find nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// All criteria.
    All,
    /// Those in references only: what is to be written is probably new.
    References,
}

/// Reads the entries and does all that costs time.
pub(super) async fn plan(app: &App, context: &Context, asked: Asked, before: Before) -> Result<Plan, Error> {
    let mut steps = Vec::with_capacity(asked.entries.len());
    let (mut searches, mut own_answers) = (HashMap::new(), HashMap::new());
    let mut lookup = Lookup::new(app, &context.caller);
    for (index, entry) in asked.entries.into_iter().enumerate() {
        let within = |error: Error| error.within(&place(index));
        let step = step(&mut lookup, (app, context), entry, asked.largest).await.map_err(within)?;
        match &step.action {
            Action::Get { get: Get::Search { resource_type, pairs }, .. } => {
                let by = (app, &*context.caller);
                let parsed =
                    search::prepare_with(&mut lookup, by, resource_type, pairs, false).await.map_err(within)?;
                if parsed.query.explain {
                    return Err(within(Error::bad_request("__explain has no place in a transaction; use a batch")));
                }
                searches.insert(index, parsed);
            }
            Action::Get { get, .. } => {
                own_answers.extend(own_answer(app, get).map_err(within)?.map(|answer| (index, answer)));
            }
            _ => {}
        }
        steps.push(step);
    }
    let room = asking::make_room(&mut steps);
    let mut found = Found::new();
    if before == Before::All {
        asking::ask_before(&app.store, context, (&steps, &[]), &mut found).await?;
    }
    for (index, step) in steps.iter_mut().enumerate() {
        step.patched =
            patched_before(&app.store, context, step, &found).await.map_err(|it| it.within(&place(index)))?;
    }
    let references = asking::references(&mut lookup, context, &steps, &room).await?;
    asking::refuse_definitions(&lookup, &steps)?;
    asking::ask_before(&app.store, context, (&[], &references), &mut found).await?;
    let resolution = resolve(&steps, &references, &found, &context.base)?;
    let prepared = prepared(context, &steps, &resolution)?;
    Ok(Plan { steps, references, found, searches, own_answers, resolution, prepared })
}

/// The answer to a GET entry about what the server itself is; nothing for other entries.
fn own_answer(app: &App, get: &Get) -> Result<Option<Answer>, Error> {
    match get {
        Get::Capabilities(asked) => capabilities::execute(app, asked).map(Some),
        Get::Read(it) => {
            let own = definition::own(app, &it.resource_type, &it.id);
            own.map(|answer| answer.cut(&it.elements)).transpose()
        }
        _ => Ok(None),
    }
}

/// What a PATCH entry makes of what probably stands; nothing for other entries.
async fn patched_before(
    store: &Store,
    context: &Context,
    step: &Step,
    found: &Found,
) -> Result<Option<Patched>, Error> {
    let Action::Patch { resource_type, aim, .. } = &step.action else { return Ok(None) };
    let stored = match aim {
        Aim::Id(id) => store.read(&context.caller.view, resource_type, id).await?,
        Aim::Criteria(_) => matched(step, found)?,
    };
    patched(context, step, stored).map(Some)
}

/// The one match of the entry's criteria.
fn matched(step: &Step, found: &Found) -> Result<Option<Stored>, Error> {
    single(found.get(step.lock_key()).cloned().unwrap_or_default())
}

fn patched(context: &Context, step: &Step, stored: Option<Stored>) -> Result<Patched, Error> {
    let Action::Patch { resource_type, aim, patch, preconditions } = &step.action else {
        return Err(Error::internal("the entry is no PATCH"));
    };
    let stored = patch::living(stored, resource_type, aim.id())?;
    let resource = patch::applied(context, &stored, patch, preconditions)?;
    Ok(Patched { id: stored.id, version: stored.version, before: stored.body, resource })
}

/// Reads an entry and decides access.
async fn step(
    lookup: &mut Lookup<'_>,
    (app, context): (&App, &Context),
    entry: Json,
    largest: usize,
) -> Result<Step, Error> {
    let Entry { full_url, action } = Entry::read(entry, &context.base, largest)?;
    let decide = |interaction, resource_type: &str| access::decide(&context.caller, interaction, resource_type);
    let text = match &action {
        Action::Create { resource_type, if_none_exist, .. } => {
            decide(Interaction::Create, resource_type)?;
            if_none_exist.as_deref()
        }
        Action::Update { resource_type, aim, .. } => {
            decide(Interaction::Update, resource_type)?;
            aim.criteria()
        }
        Action::Patch { resource_type, aim, .. } => {
            decide(Interaction::Patch, resource_type)?;
            aim.criteria()
        }
        Action::Delete { resource_type, aim, .. } => {
            decide(Interaction::Delete, resource_type)?;
            aim.criteria()
        }
        Action::Get { get, .. } => decide_get(context, get).map(|()| None)?,
        Action::Operation { .. } => return Err(not_here()),
    };
    let criteria = match (text, &action) {
        (None, _) => None,
        (Some(text), Action::Delete { resource_type, .. }) => {
            Some(delete::criteria(app.config.conditional_delete, lookup, context, resource_type, text).await?)
        }
        (Some(text), _) => Some(Criteria::prepare(lookup, context, action.resource_type(), text).await?),
    };
    if let Action::Update { aim: Aim::Id(id), resource, resource_type, .. } = &action {
        update::check_stated(resource_type, id, resource)?;
    }
    let (conditional_delete, fresh_id) = (app.config.conditional_delete, context.fresh_id());
    Ok(Step { full_url, action, criteria, conditional_delete, patched: None, fresh_id })
}

fn decide_get(context: &Context, get: &Get) -> Result<(), Error> {
    let (interaction, resource_type) = match get {
        Get::Read(it) if definition::is_own(&it.resource_type, &it.id) => return Ok(()),
        Get::Read(instance) => (Interaction::Read, &instance.resource_type),
        Get::Vread(instance, _) => (Interaction::Vread, &instance.resource_type),
        Get::Search { resource_type, .. } => (Interaction::Search, resource_type),
        Get::Capabilities(_) => return Ok(()),
        Get::History { .. } | Get::Histories { .. } | Get::SystemSearch { .. } | Get::CompartmentSearch { .. } => {
            return Err(not_here());
        }
    };
    access::decide(&context.caller, interaction, resource_type)?;
    projected::refuse_among_others(resource_type)
}

fn not_here() -> Error {
    let text =
        "a transaction reads and searches single types; use a batch for histories, operations and other searches";
    Error::bad_request(Issue::error(IssueCode::NotSupported, text))
}

/// Replaces links, validates and indexes what is written.
fn prepared(context: &Context, steps: &[Step], resolution: &Resolution) -> Result<Vec<Option<Prepared>>, Error> {
    let one = |step: &Step, settled: &Settled| {
        let Some((resource_type, resource)) = step.resource() else { return Ok(None) };
        let mut resource = resource.clone();
        let before = step.patched.as_ref().map(|patched| &*patched.before);
        links::rewrite(&mut resource, step.full_url.as_deref(), &resolution.links, before)
            .map_err(Error::bad_request)?;
        let prepare = if step.patched.is_some() { patch::prepared } else { Prepared::new };
        prepare(context, resource_type, step.id(settled), resource).map(Some)
    };
    let steps = steps.iter().zip(&resolution.settled).enumerate();
    steps.map(|(index, (step, settled))| one(step, settled).map_err(|error| error.within(&place(index)))).collect()
}

async fn execute(tx: &mut Tx, context: &Context, plan: &Plan, returned: Return) -> Result<Vec<Answer>, Error> {
    let found = asking::ask(tx, context, &[plan]).await?;
    let now = settled_now(context, plan, &found)?;
    tx.lock(&changed_resources(plan, now.as_ref())).await?;
    carry_out(tx, context, plan, &found, now, returned).await
}

/// How things stand inside the transaction; nothing where they cannot have changed.
pub(super) fn settled_now(context: &Context, plan: &Plan, found: &Found) -> Result<Option<Resolution>, Error> {
    if asking::is_as_before(plan, found) {
        return Ok(None);
    }
    resolve(&plan.steps, &plan.references, found, &context.base).map(Some)
}

/// Carries out the entries once their criteria are asked and what they change is locked; `now` is how things stand, where
/// that may have changed since they were planned.
pub(super) async fn carry_out(
    tx: &mut Tx,
    context: &Context,
    plan: &Plan,
    found: &Found,
    now: Option<Resolution>,
    returned: Return,
) -> Result<Vec<Answer>, Error> {
    tx.record(Event { subtype: "transaction".into(), action: 'E', status: 200, ..context.event() });
    let resolution = now.as_ref().unwrap_or(&plan.resolution);
    check_unchanged(tx, context, plan, resolution, found).await?;
    let repatched = repatched(tx, context, plan, resolution).await?;
    let now = match &repatched {
        Some(steps) => Some(resolve(steps, &plan.references, found, &context.base)?),
        None => now.filter(|now| *now != plan.resolution),
    };
    let steps = repatched.as_deref().unwrap_or(&plan.steps);
    let changed;
    let (resolution, prepared) = match now {
        None => (&plan.resolution, &plan.prepared),
        Some(other) => {
            let prepared = prepared(context, steps, &other)?;
            changed = (other, prepared);
            (&changed.0, &changed.1)
        }
    };
    let order = order(steps, resolution);
    let mut work = Work { tx, context, plan, found, returned, answers: vec![None; steps.len()] };
    for index in order {
        let prepared = prepared[index].as_ref();
        let answer = work.one(index, &steps[index], &resolution.settled[index], prepared).await;
        work.answers[index] = Some(answer.map_err(|error| error.within(&place(index)))?);
    }
    work.answers.into_iter().map(|answer| answer.ok_or_else(|| Error::internal("an entry has no phase"))).collect()
}

/// What criteria of an update, patch or delete found must be what is locked now: another transaction may have changed it
/// between the search and the lock, so that it does not match any more.
async fn check_unchanged(
    tx: &mut Tx,
    context: &Context,
    plan: &Plan,
    resolution: &Resolution,
    found: &Found,
) -> Result<(), Error> {
    for (index, (step, settled)) in plan.steps.iter().zip(&resolution.settled).enumerate() {
        let is_found =
            matches!(settled, Settled::Delete(_) | Settled::Patch(_) | Settled::Update(_, update::Origin::Known));
        if step.criteria.is_none() || !is_found {
            continue;
        }
        for (resource_type, id) in step.written(settled) {
            let current = tx.current(&context.caller.view, resource_type, id).await?;
            let mut matches = found.get(step.lock_key()).into_iter().flatten();
            let stands = |current: Stored| matches.any(|it| (&it.id, it.version) == (&current.id, current.version));
            if !current.is_some_and(stands) {
                let text = "what the criteria match was changed at the same time; try again";
                return Err(Error::conflict(text).within(&place(index)));
            }
        }
    }
    Ok(())
}

/// The entries with all patches applied to what stands now, if that is not what stood before.
async fn repatched(
    tx: &mut Tx,
    context: &Context,
    plan: &Plan,
    resolution: &Resolution,
) -> Result<Option<Vec<Step>>, Error> {
    let mut changed: Option<Vec<Step>> = None;
    for (index, (step, settled)) in plan.steps.iter().zip(&resolution.settled).enumerate() {
        let (Settled::Patch(id), Some(patched_before)) = (settled, &step.patched) else { continue };
        let current = tx.current(&context.caller.view, step.action.resource_type(), id).await?;
        let same = |current: &Stored| {
            !current.deleted && (&current.id, current.version) == (&patched_before.id, patched_before.version)
        };
        if !current.as_ref().is_some_and(same) {
            let now = patched(context, step, current).map_err(|error| error.within(&place(index)))?;
            changed.get_or_insert_with(|| plan.steps.clone())[index].patched = Some(now);
        }
    }
    Ok(changed)
}

/// What entries update, patch or delete, by type and id.
pub(super) fn changed_resources<'a>(plan: &'a Plan, now: Option<&'a Resolution>) -> Vec<(&'a str, &'a str)> {
    let resolution = now.unwrap_or(&plan.resolution);
    let pairs = plan.steps.iter().zip(&resolution.settled).filter(|(_, settled)| **settled != Settled::New);
    pairs.flat_map(|(step, settled)| step.written(settled)).collect()
}

/// What is probably brought into being, as far as it is known.
pub(super) fn births<'a>(plan: &'a Plan, now: Option<&Resolution>) -> Vec<Birth<'a>> {
    if now.is_some_and(|now| *now != plan.resolution) {
        return Vec::new(); // it is prepared anew
    }
    let is_birth = |step: &Step, settled: &Settled| match (&step.action, settled) {
        (_, Settled::New) => true,
        (Action::Update { preconditions, .. }, Settled::Update(..)) => preconditions.if_match.is_none(),
        _ => false,
    };
    let steps = plan.steps.iter().zip(&plan.resolution.settled).zip(&plan.prepared);
    let births = steps.filter(|((step, settled), _)| is_birth(step, settled)).filter_map(|(_, prepared)| {
        let Prepared { resource_type, id, extracted, .. } = prepared.as_ref()?;
        Some(Birth { resource_type, id, extracted })
    });
    births.collect()
}

/// Positions of the entries in the order in which they are carried out: phase by phase, updates by type and id, so
/// that of two transactions that bring the same resources into being one waits for the other. What is created by another
/// entry is answered after it.
fn order(steps: &[Step], resolution: &Resolution) -> Vec<usize> {
    let key = |index: &usize| {
        let step = &steps[*index];
        let updated = match &step.action {
            Action::Update { resource_type, .. } | Action::Patch { resource_type, .. } => {
                Some((resource_type.as_str(), step.id(&resolution.settled[*index])))
            }
            _ => None,
        };
        let is_same = matches!(resolution.settled[*index], Settled::SameAs(_));
        (Phase::of(&step.action), is_same, updated, *index)
    };
    let mut order: Vec<usize> = (0..steps.len()).collect();
    order.sort_unstable_by(|one, other| key(one).cmp(&key(other)));
    order
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
            Action::Update { .. } | Action::Patch { .. } => Phase::Update,
            Action::Get { .. } | Action::Operation { .. } => Phase::Get,
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
    async fn one(
        &mut self,
        index: usize,
        step: &Step,
        settled: &Settled,
        prepared: Option<&Prepared>,
    ) -> Result<Answer, Error> {
        let context = self.context;
        match (&step.action, settled, prepared) {
            (Action::Delete { resource_type, preconditions, .. }, Settled::Delete(ids), _) => {
                delete::all(self.tx, context, (resource_type, ids), preconditions).await
            }
            (Action::Create { .. }, Settled::Existing(id), _) => {
                let stored = self.found.get(step.lock_key()).into_iter().flatten().find(|stored| stored.id == *id);
                let stored = stored.cloned().ok_or_else(|| Error::internal("criteria lost their match"))?;
                Ok(self.written('C', &create::existing(stored)))
            }
            (Action::Create { .. }, Settled::SameAs(earlier), _) => {
                let first = self.answers[*earlier].clone();
                let first = first.ok_or_else(|| Error::internal("what is created is answered first"))?;
                Ok(Answer { status: actix_web::http::StatusCode::OK, ..first })
            }
            (Action::Create { .. }, _, Some(prepared)) => {
                let written = create::execute_prepared(self.tx, context, prepared).await?;
                Ok(self.written('C', &written))
            }
            (Action::Update { preconditions, .. }, Settled::Update(_, origin), Some(prepared)) => {
                let written = update::execute_prepared(self.tx, context, prepared, preconditions, *origin).await?;
                Ok(self.written('U', &written))
            }
            (Action::Patch { resource_type, aim, .. }, Settled::Patch(id), Some(prepared)) => {
                let current = self.tx.current(&context.caller.view, resource_type, id).await?;
                let stored = patch::living(current, resource_type, aim.id())?;
                let written = patch::write(self.tx, context, prepared, stored).await?;
                Ok(self.written('U', &written))
            }
            (Action::Get { get, head }, _, _) => {
                let answer = self.got(index, get).await?;
                self.tell(get, &answer);
                Ok(if *head { answer.without_body() } else { answer })
            }
            _ => Err(Error::internal("an entry is not settled")),
        }
    }

    /// Tells the event of the transaction what it has read.
    fn tell(&mut self, get: &Get, answer: &Answer) {
        let caller = &self.context.caller;
        let reference = match get {
            Get::Read(it) | Get::Vread(it, _) => format!("{}/{}", it.resource_type, it.id),
            Get::Search { resource_type, pairs } => {
                let sent = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
                masked(&format!("{resource_type}?{sent}"))
            }
            _ => return,
        };
        let mut patients = BTreeSet::new();
        patients_in(answer.body.as_deref().unwrap_or_default(), &caller.base, &mut patients);
        let action = if matches!(get, Get::Search { .. }) { 'E' } else { 'R' };
        self.tx.touch(Entity { action, status: answer.status.as_u16(), reference: &reference }, patients);
    }

    /// The answer to a write. Of what was there already the event of the transaction knows nothing yet.
    fn written(&mut self, action: char, written: &Written) -> Answer {
        if !written.changed {
            let mut patients = BTreeSet::new();
            patients_in(&written.body, &self.context.caller.base, &mut patients);
            self.tx.touch(Entity { action, status: 200, reference: &written.reference() }, patients);
        }
        Answer::written(written, &self.context.base, self.returned)
    }

    async fn got(&mut self, index: usize, get: &Get) -> Result<Answer, Error> {
        let view = &self.context.caller.view;
        if let Some(answer) = self.plan.own_answers.get(&index) {
            return Ok(answer.clone());
        }
        match (get, self.plan.searches.get(&index)) {
            (Get::Read(instance), _) => {
                let stored = self.tx.current(view, &instance.resource_type, &instance.id).await?;
                read::answer(stored, instance.read())?.cut(&instance.elements)
            }
            (Get::Vread(instance, version), _) => {
                let answer = vread::execute_in(self.tx, &self.context.caller, instance.read(), version).await?;
                answer.cut(&instance.elements)
            }
            (Get::Search { .. }, Some(parsed)) => {
                let page = self.tx.search(view, &parsed.query).await?;
                // A page inside of a transaction cannot be continued outside of it.
                let page = SearchPage { next: None, previous: None, ..page };
                search::bundle(&self.context.base, parsed, &page).map(Answer::resource)
            }
            _ => Err(Error::internal("a transaction has no histories")),
        }
    }
}
