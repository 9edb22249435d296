//! Batch: entries stand alone, each is answered as if it came by itself. <https://hl7.org/fhir/R4/http.html#batch>

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use fhir::json::Json;
use futures::StreamExt;

use super::Asked;
use super::entry::{Action, Entry, Get};
use crate::app::App;
use crate::error::Error;
use crate::rest::replaced_references::refuse_siblings;
use crate::rest::request::Return;
use crate::rest::response::Answer;
use crate::rest::{Context, capabilities, create, delete, history, patch, read, search, update, vread};

/// Entries that are worked on at the same time: writes then share a commit.
const AT_ONCE: usize = 64;

/// What is answered to writes, and whether searches pass over parameters that are not known.
pub(super) type Preferred = (Return, bool);

/// What holds for every entry.
struct Whole {
    /// Those of entries that are URNs: nothing else than a transaction could say what they become.
    full_urls: BTreeSet<String>,
    /// Most bytes of the resource of an entry.
    largest: usize,
    preferred: Preferred,
}

/// Carries out the entries; answers come in their order.
pub(super) async fn run(app: &App, context: &Context, asked: Asked, preferred: Preferred) -> Vec<Answer> {
    let context = &Context { is_part: true, ..context.clone() };
    let full_urls = asked.entries.iter().filter_map(|entry| entry.str("fullUrl"));
    let full_urls = full_urls.filter(|it| it.starts_with("urn:")).map(str::to_owned).collect();
    let whole = &Whole { full_urls, largest: asked.largest, preferred };
    let answers = asked.entries.into_iter().map(|entry| async move {
        match one(app, context, entry, whole).await {
            Ok(answer) => answer,
            Err(error) => Answer::from(&error),
        }
    });
    futures::stream::iter(answers).buffered(AT_ONCE).collect().await
}

async fn one(app: &App, context: &Context, entry: Json, whole: &Whole) -> Result<Answer, Error> {
    let (returned, lenient) = whole.preferred;
    if let Some(resource) = entry.get("resource") {
        refuse_siblings(resource, &whole.full_urls)?;
    }
    match Entry::read(entry, &context.base, whole.largest)?.action {
        Action::Create { resource_type, resource, if_none_exist } => {
            let create = create::prepare(app, context, &resource_type, resource, if_none_exist.as_deref()).await?;
            let written = create::run(app, context, create).await?;
            Ok(Answer::written(&written, &context.base, returned))
        }
        Action::Update { resource_type, aim, resource, preconditions } => {
            let aimed = aim.of(&resource_type);
            let update = update::prepare(app, context, aimed, resource, preconditions).await?;
            let written = update::run(app, context, update).await?;
            Ok(Answer::written(&written, &context.base, returned))
        }
        Action::Patch { resource_type, aim, patch, preconditions } => {
            let aimed = aim.of(&resource_type);
            let patching = patch::prepare(app, context, aimed, patch, preconditions).await?;
            let written = patch::run(app, context, patching).await?;
            Ok(Answer::written(&written, &context.base, returned))
        }
        Action::Delete { resource_type, aim, preconditions } => {
            let delete = delete::prepare(app, context, aim.of(&resource_type), preconditions).await?;
            delete::run(app, context, delete).await
        }
        Action::Get { get, head } => {
            let answer = got(app, context, get, lenient).await?;
            Ok(if head { answer.without_body() } else { answer })
        }
        Action::Operation { call, head } => {
            let answer = call.execute(app, &context.caller).await?;
            Ok(if head { answer.without_body() } else { answer })
        }
    }
}

async fn got(app: &App, context: &Context, get: Get, lenient: bool) -> Result<Answer, Error> {
    let caller = &context.caller;
    let answer = match &get {
        Get::Read(instance) => read::execute(app, caller, instance.read()).await?.cut(&instance.elements),
        Get::Vread(instance, version) => {
            vread::execute(app, caller, instance.read(), version).await?.cut(&instance.elements)
        }
        Get::History { resource_type, id, pairs } => {
            history::execute(app, caller, history::Of::Instance(resource_type, id), pairs).await
        }
        Get::Histories { resource_type, pairs } => {
            let of = resource_type.as_deref().map_or(history::Of::System, history::Of::Type);
            history::execute(app, caller, of, pairs).await
        }
        Get::Search { resource_type, pairs } => search::execute(app, caller, resource_type, pairs, lenient).await,
        Get::SystemSearch { pairs } => search::system::execute(app, caller, pairs, lenient).await,
        Get::CompartmentSearch { compartment, id, member, pairs } => {
            let within = search::compartment::Within { compartment, id, member };
            search::compartment::execute(app, caller, within, pairs, lenient).await
        }
        Get::Capabilities(asked) => capabilities::execute(app, asked),
    }?;
    debug_assert!(answer.status == StatusCode::OK || answer.status == StatusCode::NOT_MODIFIED);
    Ok(answer)
}
