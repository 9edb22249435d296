//! Asynchronous requests: `Prefer: respond-async`, `GET` and `DELETE [base]/_async/[id]`.
//! <https://hl7.org/fhir/R4/async.html>, <https://hl7.org/fhir/R5/async-bundle.html>
//!
//! Searches, histories, operations, batches and transactions can be asked for this way; on reads and single writes the
//! preference is ignored, as they are answered at once. What is wrong with the request itself stands in the answer,
//! as a synchronous request would have been answered.
//!
//! | request | status | when |
//! |---|---|---|
//! | with `Prefer: respond-async` | 202 | accepted; `Content-Location` is where to ask |
//! | | 4xx | no valid token, or a body that cannot be read |
//! | | 429 | too many asynchronous requests of this caller are open or kept |
//! | `GET` of the status | 202 | it goes on; `X-Progress` says how far, `Retry-After` when to ask again |
//! | | 200 | a batch-response with one entry: the answer; kept until `Expires` |
//! | | 410 | the token does not reach all patients any more whom it reached when the answer was made (LK-40) |
//! | `DELETE` of the status | 202 | cancelled or forgotten; of a write that has begun, the effect may stay |
//! | both | 404 | unknown, forgotten, or another caller's (LK-32) |
//!
//! The same caller is: the same client, user, patient and scopes. Requests are counted without regard to scopes.

use std::fmt::Write as _;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use fhir::date::http_date;
use fhir::outcome::{Issue, IssueCode, outcome};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use store::jobs::{self, NewJob, State};

use crate::app::App;
use crate::caller::{self, Caller};
use crate::error::Error;
use crate::jobs::interaction::{self, Interaction};
use crate::rest::conditional::Preconditions;
use crate::rest::request::{self, Prefer};
use crate::rest::response::{Answer, Presentation};
use crate::routes::FHIR;

/// Seconds after which to ask again.
const RETRY_AFTER: &str = "1";

/// Takes requests that are to be answered later out of the way of all others; wraps all of `/fhir`.
pub async fn divert(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if !request::prefer(request.request()).respond_async || !can_wait(request.method(), &segments(request.path())) {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let (request, mut payload) = request.into_parts();
    let payload = web::Payload::from_request(&request, &mut payload).await?;
    let response = match accept(&request, payload).await {
        Ok(response) => response,
        Err(error) => HttpResponse::from_error(error),
    };
    Ok(ServiceResponse::new(request, response))
}

/// `GET` of the status.
pub async fn status_handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    let presentation = Presentation::of(&request)?;
    request::only(request.query_string(), &[])?;
    let id = request::segment(&request, "id");
    let status = jobs::find(&app.store, id, &owner(&caller), app.clock.now()).await?.ok_or_else(unknown)?;
    if status.state != State::Done {
        let mut response = HttpResponse::build(StatusCode::ACCEPTED);
        response.insert_header(("X-Progress", status.progress)).insert_header((header::RETRY_AFTER, RETRY_AFTER));
        return Ok(response.insert_header((header::CACHE_CONTROL, "no-store")).finish());
    }
    let answer = interaction::readable(&caller.view, &status.answer).ok_or_else(|| {
        Error::gone("the answer is about patients whom this token does not reach any more; ask again for the others")
    })?;
    let mut response = Answer::resource(answer).respond(presentation)?;
    if let Ok(expires) = header::HeaderValue::from_str(&http_date(status.expires_at)) {
        response.headers_mut().insert(header::EXPIRES, expires);
    }
    Ok(response)
}

/// `DELETE` of the status.
pub async fn delete_handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    request::only(request.query_string(), &[])?;
    let removed = remove(&app, request::segment(&request, "id"), owner(&caller)).await?;
    if removed { Ok(HttpResponse::Accepted().finish()) } else { Err(unknown()) }
}

/// Forgets a job of this owner; false if there is none.
pub async fn remove(app: &App, id: &str, owner: String) -> Result<bool, Error> {
    let id = id.to_owned();
    let removed = app.store.write(move |tx| {
        let (id, owner) = (id.clone(), owner.clone());
        Box::pin(async move { jobs::remove(tx, &id, &owner).await })
    });
    removed.await.map_err(Error::from)
}

async fn accept(request: &HttpRequest, payload: web::Payload) -> Result<HttpResponse, Error> {
    let app = request.app_data::<web::Data<App>>();
    let app = app.ok_or_else(|| Error::internal("the application state is not registered"))?.clone();
    let token = caller::bearer(request)?.hash();
    let caller = caller::of_hash(&app, token, app.clock.now()).await?.attached(request);
    app.rates.admit(&caller, &app)?;
    let presentation = Presentation::of(request)?;
    let asked = read(request, payload, app.config.max_body).await?;
    let id = app.random.uuid();
    let job = NewJob {
        id: id.clone(),
        kind: interaction::KIND.name.to_owned(),
        owner: owner(&caller),
        party: party(&caller),
        token: token.as_bytes().to_vec(),
        repeatable: asked.method == "GET",
        request: asked.to_json().to_string(),
        created_at: app.clock.now(),
    };
    crate::jobs::add(&app, job, interaction::MOST_OF_A_CALLER).await?;
    let place = format!("{}/_async/{id}", app.config.fhir_base());
    let text = format!("accepted; the answer will be at {place}");
    accepted(&place, &[Issue::information(IssueCode::Informational, text)], presentation)
}

/// 202: where to ask, and what there is to say.
pub fn accepted(place: &str, issues: &[Issue], presentation: Presentation) -> Result<HttpResponse, Error> {
    let said = outcome(issues).to_string();
    let answer = Answer { status: StatusCode::ACCEPTED, is_outcome: true, ..Answer::resource(said) };
    let mut response = answer.respond(presentation)?;
    let place = header::HeaderValue::from_str(place).map_err(Error::internal)?;
    response.headers_mut().insert(header::CONTENT_LOCATION, place);
    let applied = header::HeaderValue::from_static("respond-async");
    response.headers_mut().insert(header::HeaderName::from_static("preference-applied"), applied);
    Ok(response)
}

/// The request as the job keeps it.
async fn read(request: &HttpRequest, payload: web::Payload, limit: usize) -> Result<Interaction, Error> {
    let path = segments(request.path()).join("/");
    let (mut method, mut resource) = (request.method().as_str().to_owned(), None);
    let mut pairs = request::pairs(request.query_string())?;
    let mut path = path.as_str();
    if let Some(searched) = path.strip_suffix("_search").filter(|_| method == "POST") {
        pairs.extend(request::form(request, payload).await?);
        (method, path) = ("GET".to_owned(), searched.trim_end_matches('/'));
    } else if method == "POST" {
        resource = Some(request::resource(request, payload, limit).await?);
    }
    if path.is_empty() && method == "POST" {
        request::only(request.query_string(), &[])?;
    }
    // What reads has no conditions, and a Bundle has those of its entries.
    let is_operation = method == "POST" && !path.is_empty();
    let preconditions = if is_operation { Preconditions::of(request)? } else { Preconditions::default() };
    let Prefer { lenient, returned, .. } = request::prefer(request);
    let url = url(path, &request::without_general(pairs));
    Ok(Interaction { method, url, resource, lenient, returned, preconditions })
}

/// A relative address with parameters.
fn url(path: &str, pairs: &[(String, String)]) -> String {
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    pairs.iter().enumerate().fold(path.to_owned(), |mut url, (index, (name, value))| {
        let separator = if index == 0 { '?' } else { '&' };
        let _ = write!(url, "{separator}{}={}", encoded(name), encoded(value));
        url
    })
}

/// Whether a request may take long: searches, histories, operations, and Bundles to carry out.
fn can_wait(method: &Method, segments: &[&str]) -> bool {
    let own = |name: &&str| name.starts_with(['_', '.']) || *name == "metadata";
    match (method, segments) {
        (_, [.., "$export"]) => false, // has answers of its own
        (&Method::GET, ["_history"] | [] | [_, _, "_history"]) => true,
        (&Method::GET, [first, ..]) if own(first) => false,
        (&Method::GET, [_, second]) => second.starts_with('$') || *second == "_history",
        (&Method::GET, [_] | [_, _, _]) | (&Method::POST, []) => true,
        (&Method::POST, [.., last]) => *last == "_search" || last.starts_with('$'),
        _ => false,
    }
}

/// The path below the FHIR base.
fn segments(path: &str) -> Vec<&str> {
    path.strip_prefix(FHIR).unwrap_or(path).split('/').filter(|segment| !segment.is_empty()).collect()
}

/// Who alone may see a job.
pub fn owner(caller: &Caller) -> String {
    format!("{}\n{}", party(caller), caller.scopes)
}

/// Whose jobs are counted together: the same client, user and patient, whatever scopes each of its tokens has. (LK-52)
fn party(caller: &Caller) -> String {
    let (user, patient) = (caller.user.as_deref(), caller.patient.as_deref());
    format!("{}\n{}\n{}", caller.client_id, user.unwrap_or_default(), patient.unwrap_or_default())
}

fn unknown() -> Error {
    Error::not_found("no asynchronous request of this caller is known under this address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_at_once_does_not_wait() {
        let waits = [
            ("GET", "/fhir/Patient"),
            ("GET", "/fhir/_history"),
            ("GET", "/fhir"),
            ("GET", "/fhir/Patient/_history"),
            ("GET", "/fhir/Patient/1/_history"),
            ("GET", "/fhir/Patient/1/$everything"),
            ("GET", "/fhir/Patient/$meta"),
            ("GET", "/fhir/Patient/1/Observation"),
            ("POST", "/fhir"),
            ("POST", "/fhir/"),
            ("POST", "/fhir/Patient/_search"),
            ("POST", "/fhir/$convert"),
        ];
        let answered = [
            ("GET", "/fhir/metadata"),
            ("GET", "/fhir/.well-known/smart-configuration"),
            ("GET", "/fhir/_async/1"),
            ("GET", "/fhir/Patient/$export"),
            ("POST", "/fhir/$export"),
            ("DELETE", "/fhir/_async/1"),
            ("GET", "/fhir/Patient/1"),
            ("GET", "/fhir/Patient/1/_history/1"),
            ("POST", "/fhir/Patient"),
            ("PUT", "/fhir/Patient/1"),
            ("DELETE", "/fhir/Patient/1"),
            ("HEAD", "/fhir/Patient"),
        ];
        let waits = waits.map(|(method, path)| (method, path, true));
        for (method, path, expected) in waits.into_iter().chain(answered.map(|(method, path)| (method, path, false))) {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(can_wait(&method, &segments(path)), expected, "{method} {path}");
        }
    }

    #[test]
    fn addresses_keep_what_parameters_say() {
        let pairs = [("code".to_owned(), "http://loinc.org|8480-6".to_owned()), ("a b".to_owned(), "c&d=e".to_owned())];
        let written = url("Observation", &pairs);
        let (path, query) = written.split_once('?').unwrap();
        assert_eq!(path, "Observation");
        assert_eq!(request::pairs(query).unwrap(), pairs);
        assert_eq!(url("Observation", &[]), "Observation");
    }
}
