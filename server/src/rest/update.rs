//! Update: `PUT [base]/[type]/[id]`, `PUT [base]/[type]?[criteria]`. <https://hl7.org/fhir/R4/http.html#update>
//!
//! | status | when |
//! |---|---|
//! | 200 | a new version; or the same version, where the content is the same |
//! | 201 | created under this id, or brought back after a deletion |
//! | 400 | not FHIR, not this type, or another id than in the URL |
//! | 403 | the token does not allow it, or may not choose ids: equal for free and taken ids (LK-27) |
//! | 412 | `If-Match` or `If-None-Match` does not hold, or the criteria match more than one resource |

use actix_web::{HttpRequest, HttpResponse, web};
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use store::{Method, Stored, Tx};

use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::conditional::{Criteria, Preconditions};
use crate::rest::request::{self, MAX_RESOURCE, Return};
use crate::rest::response::{Answer, Presentation, returned};
use crate::rest::search::terminology::Lookup;
use crate::rest::{Context, Prepared, Written, binary, create, extract, replaced_references};

/// An update that is ready to be carried out.
#[derive(Clone, Debug)]
pub struct Update {
    /// The resource under its id; for a conditional update under the id that it probably has.
    pub prepared: Prepared,
    /// Criteria in place of an id.
    pub criteria: Option<Criteria>,
    /// The id that the resource states, which a conditional update must not change.
    pub stated_id: Option<String>,
    /// The id that it gets where nothing else gives it one.
    pub fresh_id: String,
    /// `If-Match`, `If-None-Match`.
    pub preconditions: Preconditions,
}

/// Which resource an update, patch or delete is about.
#[derive(Clone, Copy, Debug)]
pub struct Aimed<'a> {
    /// Resource type.
    pub resource_type: &'a str,
    /// Which of that type.
    pub aim: Aim<'a>,
}

/// Which resource of a type is meant.
#[derive(Clone, Copy, Debug)]
pub enum Aim<'a> {
    /// Logical id.
    Id(&'a str),
    /// Criteria: one match is updated, none is created.
    Criteria(&'a str),
}

impl<'a> Aim<'a> {
    /// The logical id, if that is what it is.
    pub fn id(self) -> Option<&'a str> {
        if let Aim::Id(id) = self { Some(id) } else { None }
    }
}

/// Where the id of an updated resource comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The URL names it, or the criteria found it.
    Known,
    /// The resource states it, and the criteria found nothing.
    Stated,
    /// The server made it: the criteria found nothing, and the resource states none.
    Fresh,
}

/// `PUT` on an instance.
pub async fn handler(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    request::only(request.query_string(), &[])?;
    let id = request::id(&request)?.to_owned();
    respond(&request, &app, &caller, payload, Aim::Id(&id)).await
}

/// `PUT` on a type: conditional update.
pub async fn conditional_handler(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    respond(&request, &app, &caller, payload, Aim::Criteria(request.query_string())).await
}

async fn respond(
    request: &HttpRequest,
    app: &App,
    caller: &Caller,
    payload: web::Payload,
    aim: Aim<'_>,
) -> Result<HttpResponse, Error> {
    let presentation = Presentation::of(request)?;
    let resource_type = request::resource_type(request)?;
    access::decide(caller, Interaction::Update, resource_type)?;
    let preconditions = Preconditions::of(request)?;
    let limit = MAX_RESOURCE.min(app.config.max_body);
    let resource = binary::resource(request, payload, (resource_type, aim.id()), limit).await?;
    let context = Context::new(app, caller);
    let update = prepare(app, &context, Aimed { resource_type, aim }, resource, preconditions).await?;
    let written = run(app, &context, update).await?;
    let returned = returned(request::prefer(request), Return::Representation);
    Answer::written(&written, &context.base, returned).respond(presentation)
}

/// Decides access, checks and indexes; criteria are asked once, so that what they find need not be done inside the
/// transaction.
pub async fn prepare(
    app: &App,
    context: &Context,
    Aimed { resource_type, aim }: Aimed<'_>,
    resource: Json,
    preconditions: Preconditions,
) -> Result<Update, Error> {
    access::decide(&context.caller, Interaction::Update, resource_type)?;
    let stated_id = resource.str("id").map(str::to_owned);
    let fresh_id = context.fresh_id();
    let (id, criteria) = match aim {
        Aim::Id(id) => {
            check_stated(resource_type, id, &resource)?;
            (id.to_owned(), None)
        }
        Aim::Criteria(text) => {
            let criteria =
                Criteria::prepare(&mut Lookup::new(app, &context.caller), context, resource_type, text).await?;
            let found = criteria.guess(&app.store, context).await?;
            let (id, _) = aimed_id(resource_type, found.as_deref(), stated_id.as_deref(), &fresh_id)?;
            (id.to_owned(), Some(criteria))
        }
    };
    replaced_references::refuse_conditional(&resource)?;
    let prepared = Prepared::new(context, resource_type, &id, resource)?;
    Ok(Update { prepared, criteria, stated_id, fresh_id, preconditions })
}

/// The resource must state the id that the URL names.
pub fn check_stated(resource_type: &str, id: &str, resource: &Json) -> Result<(), Error> {
    let stated = resource.str("id");
    if stated == Some(id) { Ok(()) } else { Err(other_id(resource_type, id, stated)) }
}

/// Which id a conditional update is about, and why: what was found goes first, then what the resource states.
pub fn aimed_id<'a>(
    resource_type: &str,
    found: Option<&'a str>,
    stated: Option<&'a str>,
    fresh: &'a str,
) -> Result<(&'a str, Origin), Error> {
    stated.map_or(Ok(()), request::valid_id)?;
    match (found, stated) {
        (Some(found), Some(stated)) if found != stated => Err(other_id(resource_type, found, Some(stated))),
        (Some(found), _) => Ok((found, Origin::Known)),
        (None, Some(stated)) => Ok((stated, Origin::Stated)),
        (None, None) => Ok((fresh, Origin::Fresh)),
    }
}

/// Carries it out in a transaction of its own.
pub async fn run(app: &App, context: &Context, update: Update) -> Result<Written, Error> {
    let written =
        context.in_transaction(app, update, |tx, context, update| Box::pin(execute(tx, context, update))).await?;
    written.tell(context);
    Ok(written)
}

/// Updates the resource that the id or the criteria name.
pub async fn execute(tx: &mut Tx, context: &Context, update: &Update) -> Result<Written, Error> {
    let Some(criteria) = &update.criteria else {
        return execute_prepared(tx, context, &update.prepared, &update.preconditions, Origin::Known).await;
    };
    tx.lock_key(criteria.lock_key()).await?;
    let found = criteria.find_current(tx, context).await?.map(|found| found.id);
    let resource_type = &update.prepared.resource_type;
    let (id, origin) = aimed_id(resource_type, found.as_deref(), update.stated_id.as_deref(), &update.fresh_id)?;
    if id == update.prepared.id {
        return execute_prepared(tx, context, &update.prepared, &update.preconditions, origin).await;
    }
    // Another transaction has changed what the criteria find since it was asked before this one.
    let renamed = update.prepared.renamed(context, id)?;
    execute_prepared(tx, context, &renamed, &update.preconditions, origin).await
}

/// Writes the resource under its id, which is settled: every update ends here. A transaction Bundle settles the ids of all
/// its entries at once.
pub async fn execute_prepared(
    tx: &mut Tx,
    context: &Context,
    prepared: &Prepared,
    preconditions: &Preconditions,
    origin: Origin,
) -> Result<Written, Error> {
    let resource_type = prepared.resource_type.as_str();
    if origin == Origin::Fresh {
        preconditions.check(None)?;
        let last_updated = context.instant_after(tx, 0).await?;
        return prepared.put(tx, context, (1, last_updated), Method::Put).await;
    }
    let current = tx.current(&context.caller.view, resource_type, &prepared.id).await?;
    if origin == Origin::Stated && current.as_ref().is_some_and(|current| !current.deleted) {
        let text = format!("{resource_type}/{} exists, but does not match the criteria", prepared.id);
        return Err(Error::conflict(text));
    }
    // Rights go before preconditions: a 412 would tell that there is something. (LK-30)
    match &current {
        None if !context.may_choose_ids(resource_type) => {
            let text =
                format!("this token may update {resource_type} that it can see, but not choose the id of a new one");
            return Err(Error::forbidden(text));
        }
        Some(stored) => check_before(tx, context, stored).await?,
        None => {}
    }
    preconditions.check(current.as_ref())?;
    match current {
        Some(stored) if !stored.deleted && prepared.says_the_same(&stored.body) => Ok(create::existing(stored)),
        Some(stored) => {
            let next = (stored.version + 1, context.instant_after(tx, stored.last_updated).await?);
            let written = prepared.put(tx, context, next, Method::Put).await?;
            Ok(Written { created: stored.deleted, ..written })
        }
        None => {
            let last_updated = context.instant_after(tx, 0).await?;
            prepared.put(tx, context, (1, last_updated), Method::Put).await
        }
    }
}

/// The version that is about to be replaced or deleted must be writable by the caller too; where it is a deletion, the
/// version that was deleted. (LK-28)
pub async fn check_before(tx: &mut Tx, context: &Context, stored: &Stored) -> Result<(), Error> {
    if !stored.deleted {
        return check_standing(context, &stored.body);
    }
    if may_write_all(context) {
        return Ok(());
    }
    let Stored { resource_type, id, version, .. } = stored;
    let living = tx.vread(&context.caller.view, resource_type, id, version - 1).await?;
    check_standing(context, &living.ok_or_else(|| Error::unknown(resource_type, id))?.body)
}

/// The same of a version that is no deletion.
pub fn check_standing(context: &Context, body: &str) -> Result<(), Error> {
    if may_write_all(context) {
        return Ok(());
    }
    let before = Json::parse(body.as_bytes()).map_err(Error::internal)?;
    let extracted = extract(&before, &context.base)?;
    access::check_write(&context.caller, &before, &extracted)
}

/// Whether the caller may write every resource: its view hides nothing and none of its scopes has a condition. The view
/// alone does not tell, for a scope may restrict writing and not reading.
fn may_write_all(context: &Context) -> bool {
    let caller = &context.caller;
    caller.view.is_unrestricted() && caller.scopes.resources().all(|scope| scope.constraint.is_empty())
}

fn other_id(resource_type: &str, id: &str, stated: Option<&str>) -> Error {
    let text = match stated {
        Some(stated) => format!("the resource states the id {stated}, but the request is about {resource_type}/{id}"),
        None => format!("the resource must state its id, {id}"),
    };
    Error::bad_request(Issue::error(IssueCode::Invalid, text).at(format!("{resource_type}.id")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criteria_then_the_stated_id_then_a_fresh_one() {
        let of = |found, stated| aimed_id("Patient", found, stated, "fresh").map_err(|error| error.status().as_u16());
        assert_eq!(of(Some("a"), None), Ok(("a", Origin::Known)));
        assert_eq!(of(Some("a"), Some("a")), Ok(("a", Origin::Known)));
        assert_eq!(of(Some("a"), Some("b")), Err(400));
        assert_eq!(of(None, Some("b")), Ok(("b", Origin::Stated)));
        assert_eq!(of(None, None), Ok(("fresh", Origin::Fresh)));
    }
}
