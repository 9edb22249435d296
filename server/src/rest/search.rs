//! Search on a type: `GET [base]/[type]?…`, `POST [base]/[type]/_search`. <https://hl7.org/fhir/R4/search.html>
//!
//! ```text
//! pairs ─▶ prepare: parse, rights, value sets ─▶ store.search ─▶ page::write
//! ```
//!
//! The self link holds the parameters that took effect, so what leniency left out is not in it.
//!
//! | status | when |
//! |---|---|
//! | 200 | a page of matches, perhaps empty; with `__explain=true` how they would be found |
//! | 400 | a parameter is unknown, not supported or cannot be read; the issue names it and what is valid |
//! | 403 | the token has no right to search the type, or one that the search looks into |
//! | 415 | `POST` of anything but a form |

use actix_web::{HttpRequest, HttpResponse, web};
use search::parse::{Options, Parsed, parse};
use store::SearchPage;

use crate::access::{self, Interaction};
use crate::app::App;
use crate::audit;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::operation;
use crate::rest::projected;
use crate::rest::request::{self, Pairs};
use crate::rest::response::{Answer, Presentation};

pub mod compartment;
mod explain;
mod page;
pub mod system;
pub mod terminology;

pub use page::{Searched, write};
use terminology::Lookup;

/// `GET`.
pub async fn handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    let pairs = parameters(request.query_string())?;
    respond(&request, &app, &caller, pairs).await
}

/// `POST _search`: parameters of the URL and of the form together. (LK-44)
pub async fn form_handler(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let pairs = form_pairs(&request, payload).await?;
    respond(&request, &app, &caller, pairs).await
}

/// The parameters of a search out of a URL.
pub fn parameters(query: &str) -> Result<Pairs, Error> {
    request::pairs(query).map(stated)
}

/// Those of the URL and of a form together.
async fn form_pairs(request: &HttpRequest, payload: web::Payload) -> Result<Pairs, Error> {
    let mut pairs = request::pairs(request.query_string())?;
    pairs.extend(request::form(request, payload).await?);
    audit::note(request, |noted| {
        let sent = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        noted.query = Some(sent);
    });
    Ok(stated(pairs))
}

async fn respond(request: &HttpRequest, app: &App, caller: &Caller, pairs: Pairs) -> Result<HttpResponse, Error> {
    let presentation = Presentation::with(request, &pairs)?;
    let resource_type = request::resource_type(request)?;
    let answer = execute(app, caller, resource_type, &pairs, request::prefer(request).lenient).await?;
    answer.respond(presentation)
}

/// What is asked, with the rights to ask it, and ready for the store.
pub async fn prepare(
    app: &App,
    caller: &Caller,
    resource_type: &str,
    pairs: &[(String, String)],
    lenient: bool,
) -> Result<Parsed, Error> {
    prepare_with(&mut Lookup::new(app, caller), (app, caller), resource_type, pairs, lenient).await
}

/// The same for one of several searches, which look up together.
pub async fn prepare_with(
    lookup: &mut Lookup<'_>,
    (app, caller): (&App, &Caller),
    resource_type: &str,
    pairs: &[(String, String)],
    lenient: bool,
) -> Result<Parsed, Error> {
    access::decide(caller, Interaction::Search, resource_type)?;
    let mut parsed = parse(resource_type, pairs, &options(app, lenient)).map_err(Error::bad_request)?;
    access::decide_search(caller, &mut parsed.query)?;
    if let Some(contained) = &mut parsed.query.contained {
        contained.containers = access::searchable(caller).map(str::to_owned).collect();
    }
    lookup.resolve(&mut parsed.query).await?;
    Ok(parsed)
}

/// Searches one page.
pub async fn execute(
    app: &App,
    caller: &Caller,
    resource_type: &str,
    pairs: &[(String, String)],
    lenient: bool,
) -> Result<Answer, Error> {
    if let Some(projected) = projected::of(resource_type) {
        return (projected.search)(app, caller, pairs, lenient).await;
    }
    let parsed = prepare(app, caller, resource_type, pairs, lenient).await?;
    if parsed.query.explain {
        return explain::answer(app, caller, &[parsed.query]).await;
    }
    let mut page = app.store.search(&caller.view, &parsed.query).await?;
    caller.saw_page(&page);
    operation::add_own(&mut page, &parsed.query, &app.config.fhir_base());
    bundle(&app.config.fhir_base(), &parsed, &page).map(Answer::resource)
}

/// The parameters that say something: "Empty parameters are not an error - they are just ignored by the server." A
/// `_cursor`, which is the server's own and stands in its links, is never empty. Criteria, by which something is
/// changed, and the conditions of scopes are not read by this: without one of them they would mean more. What cannot be the
/// name of a parameter, such as a body of JSON that is sent as a form, is refused like any other name.
/// <https://hl7.org/fhir/R4/search.html#Introduction>
fn stated(mut pairs: Pairs) -> Pairs {
    let is_name = |name: &str| name.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-:.".contains(&it));
    pairs.retain(|(name, value)| !value.is_empty() || name == "_cursor" || !is_name(name));
    pairs
}

/// What the configuration says about searches.
pub fn options(app: &App, lenient: bool) -> Options {
    Options {
        base: app.config.fhir_base(),
        default_count: app.config.page_size as usize,
        max_count: app.config.max_page_size as usize,
        lenient,
        now: app.clock.now(),
    }
}

/// The searchset of a page.
pub fn bundle(base: &str, parsed: &Parsed, page: &SearchPage) -> Result<String, Error> {
    let query = &parsed.query;
    let searched = page::Searched {
        base,
        path: &query.resource_type,
        applied: &query.applied,
        cursor: query.cursor.as_deref(),
        elements: &query.elements,
        warnings: &parsed.warnings,
    };
    page::write(&searched, page)
}
