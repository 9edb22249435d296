//! How far an export is, its manifest, and its end. <https://hl7.org/fhir/uv/bulkdata/STU2/export.html#bulk-data-status-request>

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use fhir::date::http_date;
use fhir::json::Json;
use store::jobs::{self, State, Status};

use super::{owner, unknown};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::jobs::interaction;
use crate::rest::response::{Answer, Presentation};
use crate::rest::{asynchronous, request};

/// A client asks again after this part of the time that an export has taken.
const PART: i64 = 10;
/// But not later than after so many seconds.
const LONGEST: i64 = 60;

/// `GET` of the status.
pub async fn status_handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    let presentation = Presentation::of(&request)?;
    request::only(request.query_string(), &[])?;
    let id = request::segment(&request, "id");
    let status = find(&app, &caller, id).await?;
    if status.state != State::Done {
        let files = store::bulk::files(&app.store, id).await?;
        let resources: i64 = files.iter().map(|file| file.resources).sum();
        let seconds = (app.clock.now() - status.created_at) / 1_000_000;
        let mut response = HttpResponse::build(StatusCode::ACCEPTED);
        response.insert_header(("X-Progress", format!("{resources} resources in {} files so far", files.len())));
        response.insert_header((header::RETRY_AFTER, (seconds / PART).clamp(1, LONGEST).to_string()));
        return Ok(response.insert_header((header::CACHE_CONTROL, "no-store")).finish());
    }
    let kept = answer(&caller, &status.answer)?;
    let code = kept.get("status").and_then(Json::as_number).and_then(|number| number.parse().ok());
    let code = code.and_then(|code| StatusCode::from_u16(code).ok());
    let code = code.ok_or_else(|| Error::internal("the answer of an export has no status"))?;
    let body = kept.get("body").map(Json::to_string).unwrap_or_default();
    let mut response = if code == StatusCode::OK {
        let mut response = HttpResponse::Ok();
        response.content_type("application/json").body(body)
    } else {
        Answer { status: code, is_outcome: true, ..Answer::resource(body) }.respond(presentation)?
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    if let Ok(expires) = header::HeaderValue::from_str(&http_date(status.expires_at)) {
        headers.insert(header::EXPIRES, expires);
    }
    Ok(response)
}

/// `DELETE` of the status: no file is there from now on, though its parts are removed a little later.
pub async fn delete_handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    request::only(request.query_string(), &[])?;
    let removed = asynchronous::remove(&app, request::segment(&request, "id"), owner(&caller)).await?;
    if removed { Ok(HttpResponse::Accepted().finish()) } else { Err(unknown()) }
}

/// An export of the caller that is not forgotten.
pub(super) async fn find(app: &App, caller: &Caller, id: &str) -> Result<Status, Error> {
    jobs::find(&app.store, id, &owner(caller), app.clock.now()).await?.ok_or_else(unknown)
}

/// What a finished export keeps, as long as the token reaches all patients whom it reached then. (LK-40)
pub(super) fn answer(caller: &Caller, kept: &str) -> Result<Json, Error> {
    let answer = interaction::readable(&caller.view, kept).ok_or_else(|| {
        Error::gone("the export is about patients whom this token does not reach any more; export the others anew")
    })?;
    Json::parse(answer.as_bytes()).map_err(Error::internal)
}
