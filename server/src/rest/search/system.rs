//! Search of several types: `GET [base]?_type=…`, `POST [base]/_search`. <https://hl7.org/fhir/R4/http.html#search>
//!
//! Parameters must be ones that all types have. Without `_type` all types are searched that the caller may search and
//! see anything of. The order is the common one: newest first, `_lastUpdated` or `_id`.

use actix_web::{HttpRequest, HttpResponse, web};
use fhir::definitions::{is_resource_type, resource_types};
use fhir::outcome::{Issue, IssueCode};
use search::parse::{ParsedTypes, parse_types};
use search::query::{Filter, Query};
use search::registry::registry;
use search::view::TypeRule;

use super::terminology::Lookup;
use super::{explain, form_pairs, options, page, parameters};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::projected;
use crate::rest::request::{self, Pairs};
use crate::rest::response::{Answer, Presentation};

/// `GET`.
pub async fn handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    let pairs = parameters(request.query_string())?;
    respond(&request, &app, &caller, pairs).await
}

/// `POST _search`.
pub async fn form_handler(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let pairs = form_pairs(&request, payload).await?;
    respond(&request, &app, &caller, pairs).await
}

async fn respond(request: &HttpRequest, app: &App, caller: &Caller, pairs: Pairs) -> Result<HttpResponse, Error> {
    let presentation = Presentation::with(request, &pairs)?;
    execute(app, caller, &pairs, request::prefer(request).lenient).await?.respond(presentation)
}

/// Searches one page of all types.
pub async fn execute(app: &App, caller: &Caller, pairs: &[(String, String)], lenient: bool) -> Result<Answer, Error> {
    if let [(_, named)] = named_types(pairs).as_slice()
        && let Some(projected) = projected::of(named)
    {
        let others: Pairs = pairs.iter().filter(|(name, _)| name != "_type").cloned().collect();
        return (projected.search)(app, caller, &others, lenient).await;
    }
    let types = types(caller, pairs, resource_types().iter().map(String::as_str))?;
    execute_types(app, caller, Several { path: "", types: &types, within: &|_| None }, pairs, lenient).await
}

/// R4 lists `_text` for all resources, but defines it on those that have a narrative: others have nothing that matches.
fn leave_out_without_narrative(types: &mut Vec<&str>, pairs: &[(String, String)]) {
    let registry = registry();
    let has_text = |name: &&str| registry.find(name, "_text").is_some();
    if pairs.iter().any(|(name, _)| name == "_text") && types.iter().any(has_text) {
        types.retain(has_text);
    }
}

fn named_types(pairs: &[(String, String)]) -> Vec<&(String, String)> {
    pairs.iter().filter(|(name, _)| name == "_type").collect()
}

/// What is searched.
#[derive(Clone, Copy)]
pub(super) struct Several<'a> {
    /// The path below the base URL, for links.
    pub(super) path: &'a str,
    /// The types.
    pub(super) types: &'a [&'a str],
    /// What must hold of a type besides what the parameters say.
    pub(super) within: &'a (dyn Fn(&str) -> Option<Filter> + Sync),
}

/// Searches one page of several types.
pub(super) async fn execute_types(
    app: &App,
    caller: &Caller,
    several: Several<'_>,
    pairs: &[(String, String)],
    lenient: bool,
) -> Result<Answer, Error> {
    let ParsedTypes { mut queries, applied, warnings } =
        parse_types(several.types, pairs, &options(app, lenient)).map_err(Error::bad_request)?;
    let mut lookup = Lookup::new(app, caller);
    for query in &mut queries {
        access::decide_search(caller, query)?;
        lookup.resolve(query).await?;
        query.filters.extend((several.within)(&query.resource_type));
        several.path.clone_into(&mut query.path);
    }
    let Some(first) = queries.first() else {
        return Err(Error::forbidden("the access token allows to search none of these types"));
    };
    if first.explain {
        return explain::answer(app, caller, &queries).await;
    }
    let page = match queries.as_slice() {
        [only] => app.store.search(&caller.view, only).await?,
        several => app.store.search_types(&caller.view, several).await?,
    };
    caller.saw_page(&page);
    let Query { cursor, elements, .. } = first;
    let (base, cursor) = (app.config.fhir_base(), cursor.as_deref());
    let searched =
        page::Searched { base: &base, path: several.path, applied: &applied, cursor, elements, warnings: &warnings };
    page::write(&searched, &page).map(Answer::resource)
}

/// The types that `_type` names, each of which the caller must be allowed to search, or those of `all` that it may.
pub(super) fn types(
    caller: &Caller,
    pairs: &[(String, String)],
    all: impl Iterator<Item = &'static str>,
) -> Result<Vec<&'static str>, Error> {
    let Some((_, named)) = pairs.iter().find(|(name, _)| name == "_type") else {
        let is_visible = |it: &&'static str| *caller.view.rule(it) != TypeRule::Denied;
        let types =
            all.filter(|it| projected::of(it).is_none() && access::decide(caller, Interaction::Search, it).is_ok());
        let mut types: Vec<&'static str> = types.filter(is_visible).collect();
        leave_out_without_narrative(&mut types, pairs);
        return if types.is_empty() {
            Err(Error::forbidden("the access token allows to search no type"))
        } else {
            Ok(types)
        };
    };
    let known: Vec<&'static str> = all.collect();
    let mut types = Vec::new();
    for name in named.split(',') {
        let Some(name) = known.iter().copied().find(|it| *it == name) else {
            let why = if is_resource_type(name) { "cannot be found here" } else { "is not a resource type" };
            let issue = Issue::error(IssueCode::Invalid, format!("_type: {name:?} {why}"));
            return Err(Error::bad_request(issue));
        };
        access::decide(caller, Interaction::Search, name)?;
        projected::refuse_among_others(name)?;
        if !types.contains(&name) {
            types.push(name);
        }
    }
    Ok(types)
}
