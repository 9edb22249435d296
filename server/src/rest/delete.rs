//! Delete: `DELETE [base]/[type]/[id]`. <https://hl7.org/fhir/R4/http.html#delete>
//!
//! A deletion is a version: history and earlier versions stay, read answers 410, an update brings it back.
//!
//! | status | when |
//! |---|---|
//! | 204 | deleted, or deleted before; `ETag` is the version of the deletion |
//! | 404 | unknown or hidden (LK-31) |
//! | 412 | `If-Match` does not hold |

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use search::entry::Extracted;
use store::{Change, Method, Stored, Tx};

use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::conditional::Preconditions;
use crate::rest::response::{Answer, Presentation};
use crate::rest::{Context, request, update};

/// A delete that is ready to be carried out.
#[derive(Clone, Debug)]
pub struct Delete {
    /// Resource type.
    pub resource_type: String,
    /// Logical id.
    pub id: String,
    /// `If-Match`.
    pub preconditions: Preconditions,
}

/// `DELETE`.
pub async fn handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    let presentation = Presentation::of(&request)?;
    request::only(request.query_string(), &[])?;
    let (resource_type, id) = (request::resource_type(&request)?, request::id(&request)?);
    let context = Context::new(&app, &caller);
    let delete = prepare(&context, resource_type, id, Preconditions::of(&request)?)?;
    run(&app, &context, delete).await?.respond(presentation)
}

/// Decides access.
pub fn prepare(
    context: &Context,
    resource_type: &str,
    id: &str,
    preconditions: Preconditions,
) -> Result<Delete, Error> {
    access::decide(&context.caller, Interaction::Delete, resource_type)?;
    Ok(Delete { resource_type: resource_type.to_owned(), id: id.to_owned(), preconditions })
}

/// Carries it out in a transaction of its own.
pub async fn run(app: &App, context: &Context, delete: Delete) -> Result<Answer, Error> {
    let (context, delete) = (context.clone(), Arc::new(delete));
    app.store
        .write(move |tx| {
            let (context, delete) = (context.clone(), delete.clone());
            Box::pin(async move { execute(tx, &context, &delete).await })
        })
        .await
}

/// The only way a resource is deleted.
pub async fn execute(tx: &mut Tx, context: &Context, delete: &Delete) -> Result<Answer, Error> {
    let Delete { resource_type, id, preconditions } = delete;
    let current = tx.current(&context.caller.view, resource_type, id).await?;
    let Some(current) = current else { return Err(Error::unknown(resource_type, id)) };
    if current.deleted {
        return Ok(answer(&current));
    }
    update::check_before(tx, context, &current).await?;
    preconditions.check(Some(&current))?;
    let (version, last_updated) = (current.version + 1, context.instant_after(current.last_updated));
    tx.put(Change {
        resource_type: resource_type.clone(),
        id: id.clone(),
        version,
        last_updated,
        method: Method::Delete,
        body: None,
        extracted: Extracted::default(),
        actor: context.caller.actor().to_owned(),
    })
    .await?;
    Ok(answer(&Stored { version, last_updated, ..current }))
}

fn answer(stored: &Stored) -> Answer {
    Answer {
        version: Some(stored.version),
        last_updated: Some(stored.last_updated),
        ..Answer::empty(StatusCode::NO_CONTENT)
    }
}
