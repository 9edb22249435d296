//! Read: `GET [base]/[type]/[id]`. <https://hl7.org/fhir/R4/http.html#read>
//!
//! | status | when |
//! |---|---|
//! | 200 | here it is |
//! | 304 | `If-None-Match`, or without it `If-Modified-Since`, says that the client has this version |
//! | 400 | a parameter other than `_summary`, `_elements`, `_format`, `_pretty`, or a value that they cannot have |
//! | 403 | the token does not allow it |
//! | 404 | unknown or hidden (LK-10) |
//! | 410 | deleted; the entity tag is that of the deletion |

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use fhir::date::http_date;
use store::Stored;

use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::binary::Wish;
use crate::rest::conditional::is_not_modified;
use crate::rest::response::{Answer, etag};
use crate::rest::{operation, projected, request};

/// What is read, and which version the client has.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// Resource type.
    pub resource_type: &'a str,
    /// Logical id.
    pub id: &'a str,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'a str>,
}

impl<'a> Read<'a> {
    /// What path and headers ask for.
    pub fn of(request: &'a HttpRequest) -> Result<Self, Error> {
        Ok(Read {
            resource_type: request::resource_type(request)?,
            id: request::id(request)?,
            if_none_match: request::header(request, "If-None-Match")?,
            if_modified_since: request::header(request, "If-Modified-Since")?,
        })
    }
}

/// `GET` and `HEAD`.
pub async fn handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    let read = Read::of(&request)?;
    let elements = request::elements(request.query_string(), read.resource_type)?;
    let wish = Wish::of(&request, read.resource_type, &elements)?;
    wish.respond(execute(&app, &caller, read).await?.cut(&elements)?)
}

/// Reads the current version.
pub async fn execute(app: &App, caller: &Caller, read: Read<'_>) -> Result<Answer, Error> {
    if let Some(own) = operation::definition::own(app, read.resource_type, read.id) {
        return Ok(own);
    }
    if let Some(projected) = projected::of(read.resource_type) {
        return (projected.read)(app, caller, read.id).await;
    }
    access::decide(caller, Interaction::Read, read.resource_type)?;
    let stored = app.store.read(&caller.view, read.resource_type, read.id).await?;
    caller.saw_one(stored.as_ref());
    answer(stored, read)
}

/// The answer to what the store has.
pub fn answer(stored: Option<Stored>, read: Read<'_>) -> Result<Answer, Error> {
    let stored = stored.ok_or_else(|| Error::unknown(read.resource_type, read.id))?;
    if stored.deleted {
        let error = Error::gone(format!("{}/{} has been deleted", read.resource_type, read.id));
        let error = error.with_header("ETag", etag(stored.version));
        return Err(error.with_header("Last-Modified", http_date(stored.last_updated)));
    }
    let not_modified = is_not_modified(read.if_none_match, read.if_modified_since, &stored);
    let answer = Answer::stored(stored);
    Ok(if not_modified { Answer { status: StatusCode::NOT_MODIFIED, body: None, ..answer } } else { answer })
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Method;

    const READ: Read<'_> = Read { resource_type: "Patient", id: "a", if_none_match: None, if_modified_since: None };

    fn stored(deleted: bool) -> Stored {
        Stored {
            resource_type: "Patient".into(),
            id: "a".into(),
            version: 2,
            last_updated: 0,
            deleted,
            body: "{}".into(),
            method: Method::Put,
        }
    }

    #[test]
    fn statuses() {
        assert_eq!(answer(Some(stored(false)), READ).unwrap().status, 200);
        assert_eq!(answer(Some(stored(true)), READ).unwrap_err().status(), 410);
        assert_eq!(answer(None, READ).unwrap_err().status(), 404);
        let has = answer(Some(stored(false)), Read { if_none_match: Some("W/\"2\""), ..READ }).unwrap();
        assert_eq!((has.status.as_u16(), has.body, has.version), (304, None, Some(2)));
    }

    #[test]
    fn lk_30_deleted_is_told_before_the_condition() {
        let error = answer(Some(stored(true)), Read { if_none_match: Some("W/\"2\""), ..READ }).unwrap_err();
        assert_eq!(error.status(), 410);
    }
}
