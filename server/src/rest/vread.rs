//! Read of a version: `GET [base]/[type]/[id]/_history/[vid]`. <https://hl7.org/fhir/R4/http.html#vread>
//!
//! | status | when |
//! |---|---|
//! | 200 | here it is |
//! | 304 | `If-None-Match` names this version |
//! | 404 | unknown, or hidden: each version is judged by itself (LK-11) |
//! | 410 | this version is a deletion |

use actix_web::{HttpRequest, HttpResponse, web};

use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::read::{self, Read};
use crate::rest::request;
use crate::rest::response::{Answer, Presentation};

/// `GET` and `HEAD`.
pub async fn handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    let presentation = Presentation::of(&request)?;
    request::only(request.query_string(), &[])?;
    let read = Read {
        resource_type: request::resource_type(&request)?,
        id: request::id(&request)?,
        if_none_match: request::header(&request, "If-None-Match")?,
        if_modified_since: request::header(&request, "If-Modified-Since")?,
    };
    execute(&app, &caller, read, request::segment(&request, "version")).await?.respond(presentation)
}

/// Reads one version.
pub async fn execute(app: &App, caller: &Caller, read: Read<'_>, version: &str) -> Result<Answer, Error> {
    access::decide(caller, Interaction::Vread, read.resource_type)?;
    let unknown = || Error::not_found(format!("{}/{} has no version {version}", read.resource_type, read.id));
    let number = request::version(version).ok_or_else(unknown)?;
    let stored = app.store.vread(&caller.view, read.resource_type, read.id, number).await?;
    read::answer(Some(stored.ok_or_else(unknown)?), read)
}
