//! Delete: `DELETE [base]/[type]/[id]`, `DELETE [base]/[type]?[criteria]`. <https://hl7.org/fhir/R4/http.html#delete>,
//! <https://hl7.org/fhir/R4/http.html#3.1.0.7.1>
//!
//! A deletion is a version: history and earlier versions stay, read answers 410, an update brings it back.
//!
//! | status | when |
//! |---|---|
//! | 204 | deleted, or deleted before; `ETag` is the version of the deletion. Also where nothing is there, or nothing matches |
//! | 200 | the same with an OperationOutcome, on `Prefer: return=OperationOutcome` |
//! | 400 | criteria that say nothing, or that match more than [`MOST`] resources |
//! | 403 | the token does not allow it: for each resource by itself |
//! | 412 | `If-Match` or `If-None-Match` does not hold; the criteria match several resources and `conditional-delete` is `single` |
//!
//! Where criteria match nothing, R4 says: "**No matches** or **One Match**: The server performs an ordinary `delete` on
//! the matching resource", and of an ordinary one: "Upon successful deletion, or if the resource does not exist at all,
//! the server should return … a `204 No Content`". So it is 204, and tells nothing of what is hidden. Of several matches:
//! "A server may choose to delete all the matching resources, or it may choose to return a `412`"; the setting
//! `conditional-delete` chooses, and the CapabilityStatement says which.
//!
//! What is hidden does not exist for the caller: it is 204 as well, stays as it is, and the answer has no `ETag`. (LK-31)

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use fhir::outcome::{Issue, IssueCode};
use store::{Change, Method, Stored, Tx};

use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::config::ConditionalDelete;
use crate::error::Error;
use crate::rest::conditional::{Criteria, Preconditions, single};
use crate::rest::response::{Answer, Presentation};
use crate::rest::search::terminology::Lookup;
use crate::rest::update::{self, Aim, Aimed};
use crate::rest::{Context, request};

/// Most resources that one conditional delete deletes.
pub const MOST: usize = 1000;

/// A delete that is ready to be carried out.
#[derive(Clone, Debug)]
pub struct Delete {
    /// Resource type.
    pub resource_type: String,
    /// Which resources.
    pub target: Target,
    /// `If-Match`, `If-None-Match`.
    pub preconditions: Preconditions,
}

/// Which resources are deleted.
#[derive(Clone, Debug)]
pub enum Target {
    /// Logical id.
    Id(String),
    /// Criteria, and whether they may match several.
    Criteria(Box<Criteria>, ConditionalDelete),
}

/// `DELETE` on an instance.
pub async fn handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    request::only(request.query_string(), &[])?;
    let id = request::id(&request)?;
    respond(&request, &app, &caller, Aim::Id(id)).await
}

/// `DELETE` on a type: conditional delete.
pub async fn conditional_handler(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
) -> Result<HttpResponse, Error> {
    respond(&request, &app, &caller, Aim::Criteria(request.query_string())).await
}

async fn respond(request: &HttpRequest, app: &App, caller: &Caller, aim: Aim<'_>) -> Result<HttpResponse, Error> {
    let presentation = Presentation::of(request)?;
    let resource_type = request::resource_type(request)?;
    let context = Context::new(app, caller);
    let delete = prepare(app, &context, Aimed { resource_type, aim }, Preconditions::of(request)?).await?;
    let answer = run(app, &context, delete).await?;
    answer.telling(request::prefer(request), "deleted, or not there").respond(presentation)
}

/// Decides access.
pub async fn prepare(
    app: &App,
    context: &Context,
    Aimed { resource_type, aim }: Aimed<'_>,
    preconditions: Preconditions,
) -> Result<Delete, Error> {
    access::decide(&context.caller, Interaction::Delete, resource_type)?;
    let target = match aim {
        Aim::Id(id) => Target::Id(id.to_owned()),
        Aim::Criteria(text) => {
            let mode = app.config.conditional_delete;
            let lookup = &mut Lookup::new(app, &context.caller);
            Target::Criteria(Box::new(criteria(mode, lookup, context, resource_type, text).await?), mode)
        }
    };
    Ok(Delete { resource_type: resource_type.to_owned(), target, preconditions })
}

/// Criteria that find as many resources as may be deleted, and one more.
pub async fn criteria(
    mode: ConditionalDelete,
    lookup: &mut Lookup<'_>,
    context: &Context,
    resource_type: &str,
    text: &str,
) -> Result<Criteria, Error> {
    let criteria = Criteria::prepare(lookup, context, resource_type, text).await?;
    Ok(match mode {
        ConditionalDelete::Single => criteria,
        ConditionalDelete::Multiple => criteria.up_to(MOST + 1),
    })
}

/// What of the matches is deleted; too many are refused.
pub fn chosen(matches: Vec<Stored>, mode: ConditionalDelete) -> Result<Vec<Stored>, Error> {
    match mode {
        ConditionalDelete::Single => Ok(single(matches)?.into_iter().collect()),
        ConditionalDelete::Multiple if matches.len() > MOST => {
            let text = format!("the criteria match more than {MOST} resources; narrow them");
            Err(Error::bad_request(Issue::error(IssueCode::TooCostly, text)))
        }
        ConditionalDelete::Multiple => Ok(matches),
    }
}

/// Carries it out in a transaction of its own.
pub async fn run(app: &App, context: &Context, delete: Delete) -> Result<Answer, Error> {
    context.in_transaction(app, delete, |tx, context, delete| Box::pin(execute(tx, context, delete))).await
}

/// Deletes one resource, or what criteria match.
pub async fn execute(tx: &mut Tx, context: &Context, delete: &Delete) -> Result<Answer, Error> {
    let Delete { resource_type, target, preconditions } = delete;
    match target {
        Target::Id(id) => one(tx, context, (resource_type, id), preconditions).await,
        Target::Criteria(criteria, mode) => {
            tx.lock_key(criteria.lock_key()).await?;
            let matches = chosen(criteria.all_current(tx, context).await?, *mode)?;
            let ids: Vec<String> = matches.into_iter().map(|stored| stored.id).collect();
            all(tx, context, (resource_type, &ids), preconditions).await
        }
    }
}

/// Deletes all of these; the answer is that of the only one, or says nothing of any.
pub async fn all(
    tx: &mut Tx,
    context: &Context,
    (resource_type, ids): (&str, &[String]),
    preconditions: &Preconditions,
) -> Result<Answer, Error> {
    if ids.is_empty() {
        preconditions.check(None)?;
    }
    let mut answers = Vec::with_capacity(ids.len());
    for id in ids {
        answers.push(one(tx, context, (resource_type, id), preconditions).await?);
    }
    let only = answers.pop().filter(|_| answers.is_empty());
    Ok(only.unwrap_or_else(|| Answer::empty(StatusCode::NO_CONTENT)))
}

/// The only way a resource is deleted.
pub async fn one(
    tx: &mut Tx,
    context: &Context,
    (resource_type, id): (&str, &str),
    preconditions: &Preconditions,
) -> Result<Answer, Error> {
    let current = tx.current(&context.caller.view, resource_type, id).await?;
    let Some(current) = current else {
        preconditions.check(None)?;
        return Ok(Answer::empty(StatusCode::NO_CONTENT));
    };
    if current.deleted {
        preconditions.check(Some(&current))?;
        return Ok(answer(&current));
    }
    update::check_before(tx, context, &current).await?;
    preconditions.check(Some(&current))?;
    let (version, last_updated) = (current.version + 1, context.instant_after(tx, current.last_updated).await?);
    tx.put(Change {
        resource_type: resource_type.to_owned(),
        id: id.to_owned(),
        version,
        last_updated,
        method: Method::Delete,
        body: None,
        extracted: Arc::default(),
        actor: context.caller.actor().to_owned(),
        event: context.event(),
    })
    .await?;
    crate::search_parameters::written(tx, context, (resource_type, id), None).await?;
    Ok(answer(&Stored { version, last_updated, ..current }))
}

fn answer(stored: &Stored) -> Answer {
    Answer {
        version: Some(stored.version),
        last_updated: Some(stored.last_updated),
        ..Answer::empty(StatusCode::NO_CONTENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_setting_permits() {
        let matches = |count: usize| {
            let one = Stored {
                resource_type: "Patient".into(),
                id: "a".into(),
                version: 1,
                last_updated: 0,
                deleted: false,
                body: "{}".into(),
                method: Method::Put,
            };
            vec![one; count]
        };
        let count =
            |mode, number| chosen(matches(number), mode).map(|it| it.len()).map_err(|error| error.status().as_u16());
        assert_eq!([0, 1, 2].map(|number| count(ConditionalDelete::Single, number)), [Ok(0), Ok(1), Err(412)]);
        let several = [0, 2, MOST, MOST + 1].map(|number| count(ConditionalDelete::Multiple, number));
        assert_eq!(several, [Ok(0), Ok(2), Ok(MOST), Err(400)]);
    }
}
