//! The trail as resources: `GET [base]/AuditEvent/[id]`, `GET [base]/AuditEvent?…`.
//! <https://hl7.org/fhir/R4/auditevent.html>, LK-36

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::http::StatusCode;
use futures::future::BoxFuture;
use search::parse::elements_of;
use search::view::{Compartment, TypeRule};
use store::audit::{Event, Filter, TrailQuery, instant_of};
use store::{Method, SearchPage, Stored};

use super::{parameters, render};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::response::Answer;
use crate::rest::search::{Searched, write};

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
        let pairs = crate::rest::request::without_general(pairs.to_vec());
        let sizes = (app.config.page_size as usize, app.config.max_page_size as usize);
        let (query, warnings) = parameters::read(&pairs, &base, sizes, lenient)?;
        let shape =
            pairs.iter().filter(|(name, value)| name == "_elements" || (name == "_summary" && value != "count"));
        let shape: Vec<_> = shape.cloned().collect();
        let elements = elements_of(Some(TYPE), &shape).map_err(Error::bad_request)?;
        let page = app.store.trail(&caller.view, &query).await?;
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
        let searched = Searched {
            base: &base,
            path: TYPE,
            applied: &query.applied,
            cursor: query.cursor.as_deref(),
            elements: &elements,
            warnings: &warnings,
        };
        write(&searched, &shown).map(Answer::resource)
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

fn stored(event: &Event, app: &App, caller: &Caller) -> Stored {
    let seen = match caller.view.compartment() {
        Compartment::Everyone => None,
        Compartment::Patients(patients) => Some(patients.as_slice()),
    };
    let body: Arc<str> = render::render(event, &app.config.fhir_base(), seen).to_string().into();
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
