//! One page of an export: read, narrowed, and written as lines.

use std::collections::BTreeSet;

use fhir::json::Json;
use fhir::object;
use search::compartment::is_shared;
use search::query::Elements;
use store::{Among, Held, StateQuery, Stored};

use super::Run;
use super::files::{DELETED, Files, OUTPUT};
use super::plan::{Keep, Plan, Work};
use crate::error::Error;
use crate::rest::elements::subset;
use crate::rest::references::{References, references_in};

/// What was referred to and is looked for in one page.
const REFERENCES: usize = 200;

/// Reads a page and adds it to the files; says where the next one begins, if the work has one.
pub(super) async fn page(
    run: &Run<'_>,
    plan: &Plan,
    work: &Work,
    after: Option<&str>,
    files: &mut Files,
) -> Result<Option<String>, Error> {
    match work {
        Work::Type(resource_type, keep) => of_type(run, (resource_type, Among::All, *keep), after, files).await,
        Work::Part(resource_type, part) => {
            of_type(run, (resource_type, plan.part(*part), Keep::All), after, files).await
        }
        Work::References => references(run, files).await,
    }
}

async fn of_type(
    run: &Run<'_>,
    (resource_type, among, keep): (&str, Among<'_>, Keep),
    after: Option<&str>,
    files: &mut Files,
) -> Result<Option<String>, Error> {
    let store = &run.app.store;
    let after = after.map(|text| store.open_place(text)).transpose()?;
    let query = StateQuery { resource_type, since: run.asked.since, at: run.at, after, count: files.page() };
    let page = store.state(&run.view, &query, among).await?;
    files.was_read(page.held.len(), page.held.iter().map(|held| held.stored.body.len()).sum());
    let (deleted, current): (Vec<Held>, Vec<Held>) =
        page.held.into_iter().filter(|held| keep.takes(held.of_patient)).partition(|held| held.stored.deleted);
    for held in current {
        add(run, &held.stored, files)?;
    }
    if run.asked.since.is_some() && !deleted.is_empty() {
        let bundle = deletions(&deleted).to_string();
        run.caller.saw(&bundle);
        files.add(DELETED, "Bundle", &bundle);
    }
    Ok(page.next.map(|place| store.seal_place(place)))
}

/// Some of what was referred to and not looked for yet; there may be more as long as there was any.
async fn references(run: &Run<'_>, files: &mut Files) -> Result<Option<String>, Error> {
    let store = &run.app.store;
    let wanted = store::bulk::references(store, &run.job.id, REFERENCES as u64).await?;
    let Some((resource_type, _)) = wanted.first().cloned() else { return Ok(None) };
    let ids: Vec<String> = wanted.iter().map(|(_, id)| id.clone()).collect();
    for held in store.state_of(&run.view, &resource_type, &ids, run.at).await? {
        if !held.of_patient {
            add(run, &held.stored, files)?;
        }
    }
    files.looked_for(wanted);
    Ok(Some(String::new()))
}

/// Adds a resource, if it is asked for, and what it refers to.
fn add(run: &Run<'_>, stored: &Stored, files: &mut Files) -> Result<(), Error> {
    let follows = run.follows();
    let body = &stored.body;
    if follows || !run.narrowing.takes_all_of(&stored.resource_type) {
        let resource = Json::parse(body.as_bytes()).map_err(Error::internal)?;
        if !run.narrowing.takes(stored, &resource) {
            return Ok(());
        }
        let mut found = References::new();
        if follows {
            references_in(body, &run.app.config.fhir_base(), &mut found);
        }
        for (resource_type, ids) in found.into_iter().filter(|(it, _)| is_exported(run, it)) {
            for id in &ids {
                files.refer(&resource_type, id);
            }
        }
    }
    run.caller.saw(body);
    if run.narrowing.elements == Elements::All && !body.contains(['\n', '\r']) {
        files.add(OUTPUT, &stored.resource_type, body);
        return Ok(());
    }
    let cut = subset(body, &run.narrowing.elements)?;
    let line = if cut.contains(['\n', '\r']) {
        Json::parse(cut.as_bytes()).map_err(Error::internal)?.to_string()
    } else {
        cut.into_owned()
    };
    files.add(OUTPUT, &stored.resource_type, &line);
    Ok(())
}

/// Whether what is referred to is exported although it lies in no compartment.
fn is_exported(run: &Run<'_>, resource_type: &str) -> bool {
    is_shared(resource_type) && run.asked.types.binary_search_by(|it| it.as_str().cmp(resource_type)).is_ok()
}

/// A transaction that deletes, as the specification has it.
fn deletions(deleted: &[Held]) -> Json {
    let urls: BTreeSet<String> =
        deleted.iter().map(|Held { stored, .. }| format!("{}/{}", stored.resource_type, stored.id)).collect();
    let entries = urls.into_iter().map(|url| object! { "request": object! { "method": "DELETE", "url": url } });
    object! { "resourceType": "Bundle", "type": "transaction", "entry": entries.collect::<Vec<_>>() }
}
