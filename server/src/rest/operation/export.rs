//! Bulk export: `GET|POST [base]/$export`, `Patient/$export`, `Group/[id]/$export`. (LK-32, LK-33, RE-28; decision 21)
//! <https://hl7.org/fhir/uv/bulkdata/STU2/export.html>
//!
//! | request | status | when |
//! |---|---|---|
//! | kick-off | 202 | accepted; `Content-Location` is where to ask |
//! | | 400 | no `Prefer: respond-async`, or a parameter that is unknown, wrong or not supported: where `handling=lenient`, one that is unknown or not supported is left out, and said so |
//! | | 401, 403 | no valid token; not a backend service's, or without a scope that is needed |
//! | | 404 | the Group is unknown or hidden |
//! | | 429 | too many exports of this client are under way or kept |
//! | `GET` of the status | 202 | it goes on; `X-Progress` says how far, `Retry-After` when to ask again |
//! | | 200 | the manifest; kept until `Expires` |
//! | | 4xx, 5xx | the export has failed; the outcome says why: 403 where the token that began it was revoked, 410 where it was changed whom it reaches |
//! | `DELETE` of the status | 202 | cancelled or forgotten, files and all |
//! | `GET` of a file | 200 | NDJSON, one type a file |
//! | status and files | 401, 404, 410 | no valid token; unknown, expired or another caller's; about patients whom the token does not reach any more |
//!
//! What is exported is fixed here: the types that scopes of the token give whole (`system/`, `r` and `s`, no
//! conditions), less those that were not asked for. [The job](crate::jobs::export) makes the files.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use search::query::{Filter, Query};
use search::view::{TypeRule, View};
use store::jobs::NewJob;

use crate::app::App;
use crate::caller::{self, Caller};
use crate::error::Error;
use crate::jobs::export;
use crate::rest::operation::{self, Target};
use crate::rest::request::{self, Pairs};
use crate::rest::response::Presentation;
use crate::rest::{asynchronous, read};
use crate::routes::{FHIR, path_of};

mod asked;
mod deflate;
mod file;
pub mod group;
mod narrowed;
mod status;

pub use asked::{Asked, Of};
pub use deflate::{Checksum, deflate};
pub use file::handler as file_handler;
pub use narrowed::{Narrowed, Narrowing};
pub use status::{delete_handler, status_handler};

/// Patients that are looked for in one statement.
const PATIENTS_AT_ONCE: usize = 500;
/// Patients that an error names.
const NAMED: usize = 5;

/// Kick-off.
pub async fn handler(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let presentation = Presentation::of(&request)?;
    if request.method() == Method::HEAD {
        let error = Error::method_not_allowed("an export is begun with GET or POST; HEAD begins nothing");
        return Err(error.with_header("Allow", "GET, POST, OPTIONS"));
    }
    if !request::prefer(&request).respond_async {
        let text = "an export takes long: send the header Prefer: respond-async, and ask later where Content-Location \
                    says";
        return Err(invalid(IssueCode::Required, text));
    }
    let is_post = request.method() == Method::POST;
    let body = if is_post { operation::body(&request, payload, &app).await? } else { None };
    let pairs = request::without_general(request::pairs(request.query_string())?);
    let asked = accept(&app, &caller, &request, (pairs, body)).await?;
    caller.trail.note(|noted| noted.query = Some(asked.for_the_trail()));
    let id = app.random.uuid();
    let job = NewJob {
        id: id.clone(),
        kind: export::KIND.name.to_owned(),
        owner: owner(&caller),
        party: caller.client_id.clone(), // whatever scopes each of its tokens has (LK-52)
        token: caller::bearer(&request)?.hash().as_bytes().to_vec(),
        repeatable: true,
        request: asked.to_json().to_string(),
        created_at: app.clock.now(),
    };
    crate::jobs::add(&app, job, app.config.bulk_exports.into()).await?;
    let place = place(&app, &id);
    asynchronous::accepted(&place, &issues(&place, &asked.warnings), presentation)
}

/// What is exported, checked against the token and the data.
async fn accept(
    app: &App,
    caller: &Caller,
    request: &HttpRequest,
    (pairs, body): (Pairs, Option<Json>),
) -> Result<Asked, Error> {
    let path = request.path().strip_prefix(FHIR).unwrap_or_default().trim_matches('/');
    let (resource_type, id) = match path_of(request).as_str() {
        "/Group/{id}/$export" => ("Group", request::segment(request, "id")),
        "/Patient/$export" => ("Patient", ""),
        _ => ("", ""),
    };
    let target = Target { resource_type: resource_type.into(), id: id.into(), version: String::new() };
    let lenient = request::prefer(request).lenient;
    let (pairs, body, warnings) = asked::tolerated(pairs, body, lenient);
    let is_post = request.method() == Method::POST;
    let invocation = operation::prepare("$export", target, is_post, pairs, body)?;
    let mut asked = Asked::read(app, caller, &invocation, (lenient, warnings))?;
    let query = request.query_string();
    let separator = if query.is_empty() { "" } else { "?" };
    asked.url = format!("{}/{path}{separator}{query}", app.config.fhir_base());
    if let Of::Group(id) = &asked.of {
        let found = app.store.read(&caller.view, "Group", id).await?;
        let question = read::Read { resource_type: "Group", id, if_none_match: None, if_modified_since: None };
        let answer = read::answer(found, question)?;
        let group = Json::parse(answer.body.unwrap_or_default().as_bytes()).map_err(Error::internal)?;
        let members = group::members(&group, app.clock.now(), &app.config.fhir_base())?;
        refuse_others(
            asked.patients.as_deref(),
            |patient| members.binary_search(patient).is_ok(),
            "no member of the Group now",
        )?;
    }
    let mut known = BTreeSet::new();
    for some in asked.patients.as_deref().unwrap_or_default().chunks(PATIENTS_AT_ONCE) {
        let query = Query { filters: vec![Filter::Id(some.to_vec())], ..Query::of("Patient", some.len()) };
        known.extend(app.store.search(&caller.view, &query).await?.matches.into_iter().map(|it| it.id));
    }
    refuse_others(asked.patients.as_deref(), |patient| known.contains(patient), "not known")?;
    Ok(asked)
}

/// Refuses patients of the parameter who are not there.
fn refuse_others(asked: Option<&[String]>, is_there: impl Fn(&String) -> bool, what: &str) -> Result<(), Error> {
    let others: Vec<&String> = asked.unwrap_or_default().iter().filter(|patient| !is_there(patient)).collect();
    if others.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = others.iter().take(NAMED).map(|id| format!("Patient/{id}")).collect();
    let more = if others.len() > NAMED { format!(" and {} more", others.len() - NAMED) } else { String::new() };
    Err(invalid(IssueCode::NotFound, format!("patient: {}{more}: {what}", named.join(", "))))
}

/// What is said of an export that was accepted.
fn issues(place: &str, warnings: &[String]) -> Vec<Issue> {
    let text = format!("accepted; ask {place} how far it is");
    let mut issues = vec![Issue::information(IssueCode::Informational, text)];
    issues.extend(warnings.iter().map(|text| Issue::warning(IssueCode::NotSupported, text.clone())));
    issues
}

/// Where the status of an export is.
pub fn place(app: &App, id: &str) -> String {
    format!("{}/_bulk/{id}", app.config.fhir_base())
}

/// What an export may show: the types that were fixed, of the patients whom the token reaches now.
pub fn view(caller: &Caller, asked: &Asked) -> View {
    let types = asked.types.iter().map(String::as_str);
    let group = matches!(asked.of, Of::Group(_)).then_some("Group");
    let rules = types.chain(group).filter(|it| *caller.view.rule(it) == TypeRule::Whole);
    let rules: BTreeMap<_, _> = rules.map(|it| (it.to_owned(), TypeRule::Whole)).collect();
    View::listed(caller.view.compartment().clone(), rules)
}

/// What is said to an entry of a Bundle that asks for one.
pub(super) fn no_entry() -> Error {
    let text = "$export is answered later: a request of its own with Prefer: respond-async, no entry of a Bundle";
    invalid(IssueCode::NotSupported, text)
}

/// Who alone may see an export. Not the same as of other asynchronous requests: neither is found at the other's address.
fn owner(caller: &Caller) -> String {
    format!("bulk\n{}", asynchronous::owner(caller))
}

fn unknown() -> Error {
    Error::not_found("no bulk export of this caller is known under this address")
}

fn invalid(code: IssueCode, text: impl Into<String>) -> Error {
    Error::bad_request(Issue::error(code, text))
}
