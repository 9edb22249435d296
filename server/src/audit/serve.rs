//! The trail as resources: `GET [base]/AuditEvent/[id]`, `GET [base]/AuditEvent?…`.
//! <https://hl7.org/fhir/R4/auditevent.html>, LK-36

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::http::StatusCode;
use futures::future::BoxFuture;
use search::view::{Compartment, TypeRule};
use store::audit::{Event, Filter, TrailQuery, instant_of};
use store::{Method, SearchPage, Stored};

use super::{conditions, parameters, render};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::{self, response::Answer};

/// The type.
pub const TYPE: &str = "AuditEvent";

/// Reads one event.
pub fn read<'a>(app: &'a App, caller: &'a Caller, id: &'a str) -> BoxFuture<'a, Result<Answer, Error>> {
    Box::pin(async move {
        decide(caller, Interaction::Read)?;
        let unknown = || Error::unknown(TYPE, id);
        let filters = vec![Filter::Ids(vec![render::id_of(id).ok_or_else(unknown)?])];
        let query =
            TrailQuery { filters, applied: Vec::new(), oldest_first: false, count: 1, cursor: None, total: false };
        let page = app.store.trail(&caller.view, &query).await?;
        let event = page.events.first().ok_or_else(unknown)?;
        Ok(Answer { status: StatusCode::OK, ..Answer::stored(stored(event, app, caller)) })
    })
}

/// Searches one page.
pub fn search<'a>(
    app: &'a App,
    caller: &'a Caller,
    pairs: &'a [(String, String)],
    lenient: bool,
) -> BoxFuture<'a, Result<Answer, Error>> {
    Box::pin(async move {
        decide(caller, Interaction::Search)?;
        let base = app.config.fhir_base();
        let parsed = parameters::read(app, caller, pairs, lenient).await?;
        let (filters, check) = conditions::of(&parsed.query.filters, &base, seen(caller));
        let query = TrailQuery { filters, ..parameters::page(&parsed.query) };
        let page = app.store.trail_that(&caller.view, &query, check.as_ref()).await?;
        if caller.view.is_unrestricted() {
            let patients = page.events.iter().flat_map(|event| &event.patients).cloned();
            caller.trail.note(|noted| noted.patients.extend(patients));
        }
        let matches = page.events.iter().map(|event| stored(event, app, caller)).collect();
        let shown = SearchPage {
            matches,
            containers: BTreeMap::new(),
            included: Vec::new(),
            next: page.next,
            previous: page.previous,
            total: page.total,
        };
        rest::search::bundle(&base, &parsed, &shown).map(Answer::resource)
    })
}

/// Parts of the trail by granular scopes there are not: a token sees all of it that its view has, or nothing.
fn decide(caller: &Caller, interaction: Interaction) -> Result<(), Error> {
    access::decide(caller, interaction, TYPE)?;
    match caller.view.rule(TYPE) {
        TypeRule::Whole => Ok(()),
        _ => Err(Error::forbidden("a scope of the audit trail has no conditions; ask for AuditEvent.rs as a whole")),
    }
}

/// The patients whose events the caller sees; None: all.
fn seen(caller: &Caller) -> Option<&[String]> {
    match caller.view.compartment() {
        Compartment::Everyone => None,
        Compartment::Patients(patients) => Some(patients.as_slice()),
    }
}

fn stored(event: &Event, app: &App, caller: &Caller) -> Stored {
    let body: Arc<str> = render::render(event, &app.config.fhir_base(), seen(caller)).to_string().into();
    Stored {
        resource_type: TYPE.to_owned(),
        id: render::id(event),
        version: 1,
        last_updated: instant_of(&event.id),
        deleted: false,
        body,
        method: Method::Post,
    }
}
