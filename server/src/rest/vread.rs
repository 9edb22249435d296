//! Read of a version: `GET [base]/[type]/[id]/_history/[vid]`. <https://hl7.org/fhir/R4/http.html#vread>
//!
//! | status | when |
//! |---|---|
//! | 200 | here it is |
//! | 304 | `If-None-Match`, or without it `If-Modified-Since`, says that the client has it |
//! | 400 | a parameter that a read does not have |
//! | 403 | the token does not allow it |
//! | 404 | unknown, or hidden: each version is judged by itself (LK-11) |
//! | 410 | this version is a deletion |

use actix_web::{HttpRequest, HttpResponse, web};
use store::{Stored, Tx};

use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::binary::Wish;
use crate::rest::read::{self, Read};
use crate::rest::request;
use crate::rest::response::Answer;

/// `GET` and `HEAD`.
pub async fn handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    let read = Read::of(&request)?;
    let elements = request::elements(request.query_string(), read.resource_type)?;
    let wish = Wish::of(&request, read.resource_type, &elements)?;
    let answer = execute(&app, &caller, read, request::segment(&request, "version")).await?;
    wish.respond(answer.cut(&elements)?)
}

/// Reads one version.
pub async fn execute(app: &App, caller: &Caller, read: Read<'_>, version: &str) -> Result<Answer, Error> {
    access::decide(caller, Interaction::Vread, read.resource_type)?;
    let number = number(read, version)?;
    let stored = app.store.vread(&caller.view, read.resource_type, read.id, number).await?;
    caller.saw_one(stored.as_ref());
    answer(stored, read, version)
}

/// Reads one version, of what a transaction has written so far; access is decided.
pub async fn execute_in(tx: &mut Tx, caller: &Caller, read: Read<'_>, version: &str) -> Result<Answer, Error> {
    let number = number(read, version)?;
    let stored = tx.vread(&caller.view, read.resource_type, read.id, number).await?;
    caller.saw_one(stored.as_ref());
    answer(stored, read, version)
}

fn number(read: Read<'_>, version: &str) -> Result<i64, Error> {
    request::version(version).ok_or_else(|| unknown(read, version))
}

fn answer(stored: Option<Stored>, read: Read<'_>, version: &str) -> Result<Answer, Error> {
    read::answer(Some(stored.ok_or_else(|| unknown(read, version))?), read)
}

fn unknown(read: Read<'_>, version: &str) -> Error {
    Error::not_found(format!("{}/{} has no version {version}", read.resource_type, read.id))
}
