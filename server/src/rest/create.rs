//! Create: `POST [base]/[type]`. <https://hl7.org/fhir/R4/http.html#create>
//!
//! | status | when |
//! |---|---|
//! | 201 | created; `Location` says where |
//! | 200 | `If-None-Exist` has one match: nothing is created, `Location` says where it is |
//! | 400 | not FHIR, not this type, or with a conditional reference |
//! | 403 | the token does not allow it, or not for this patient (LK-29) |
//! | 412 | `If-None-Exist` has more than one match |

use actix_web::{HttpRequest, HttpResponse, web};
use fhir::json::Json;
use store::{Method, Stored, Tx};

use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::binary;
use crate::rest::conditional::Criteria;
use crate::rest::request::{self, MAX_RESOURCE, Return};
use crate::rest::response::{Answer, Presentation, returned};
use crate::rest::search::terminology::Lookup;
use crate::rest::{Context, Prepared, Written, replaced_references};

/// A create that is ready to be carried out.
#[derive(Clone, Debug)]
pub struct Create {
    /// The resource under the id that it will have.
    pub prepared: Prepared,
    /// `If-None-Exist`.
    pub if_none_exist: Option<Criteria>,
}

/// `POST`.
pub async fn handler(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let presentation = Presentation::of(&request)?;
    request::only(request.query_string(), &[])?;
    let resource_type = request::resource_type(&request)?;
    access::decide(&caller, Interaction::Create, resource_type)?;
    let criteria = request::header(&request, "If-None-Exist")?;
    let limit = MAX_RESOURCE.min(app.config.max_body);
    let resource = binary::resource(&request, payload, (resource_type, None), limit).await?;
    let context = Context::new(&app, &caller);
    let create = prepare(&app, &context, resource_type, resource, criteria).await?;
    let written = run(&app, &context, create).await?;
    let returned = returned(request::prefer(&request), Return::Representation);
    Answer::written(&written, &context.base, returned).respond(presentation)
}

/// Decides access, checks and indexes; a new id is given whatever the resource says.
pub async fn prepare(
    app: &App,
    context: &Context,
    resource_type: &str,
    resource: Json,
    if_none_exist: Option<&str>,
) -> Result<Create, Error> {
    access::decide(&context.caller, Interaction::Create, resource_type)?;
    let if_none_exist = match if_none_exist {
        Some(text) => {
            Some(Criteria::prepare(&mut Lookup::new(app, &context.caller), context, resource_type, text).await?)
        }
        None => None,
    };
    replaced_references::refuse_conditional(&resource)?;
    let prepared = Prepared::new(context, resource_type, &context.fresh_id(), resource)?;
    Ok(Create { prepared, if_none_exist })
}

/// Carries it out in a transaction of its own.
pub async fn run(app: &App, context: &Context, create: Create) -> Result<Written, Error> {
    let written =
        context.in_transaction(app, create, |tx, context, create| Box::pin(execute(tx, context, create))).await?;
    written.tell(context);
    Ok(written)
}

/// Creates the resource, unless `If-None-Exist` finds one.
pub async fn execute(tx: &mut Tx, context: &Context, create: &Create) -> Result<Written, Error> {
    if let Some(criteria) = &create.if_none_exist {
        tx.lock_key(criteria.lock_key()).await?;
        if let Some(found) = criteria.find(tx, context).await? {
            return Ok(existing(found));
        }
    }
    execute_prepared(tx, context, &create.prepared).await
}

/// Creates the resource: every create ends here. A transaction Bundle has asked the criteria of all its entries at once.
pub async fn execute_prepared(tx: &mut Tx, context: &Context, prepared: &Prepared) -> Result<Written, Error> {
    let last_updated = context.instant_after(tx, 0).await?;
    prepared.put(tx, context, (1, last_updated), Method::Post).await
}

/// What is there already, unchanged.
pub fn existing(stored: Stored) -> Written {
    let Stored { resource_type, id, version, last_updated, body, .. } = stored;
    Written { created: false, changed: false, resource_type, id, version, last_updated, body }
}
