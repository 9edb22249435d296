//! Search on a type: `GET [base]/[type]?…`, `POST [base]/[type]/_search`. <https://hl7.org/fhir/R4/search.html>
//!
//! The Bundle is the stored bodies put one after the other: nothing is parsed. The self link holds the parameters
//! that took effect, so what leniency left out is not in it.
//!
//! | status | when |
//! |---|---|
//! | 200 | a page of matches, perhaps empty |
//! | 400 | a parameter is unknown, not supported or cannot be read; the issue names it and what is valid |
//! | 415 | `POST` of anything but a form |

use std::fmt::Write as _;

use actix_web::{HttpRequest, HttpResponse, web};
use fhir::json::write_string;
use fhir::outcome::{Issue, outcome};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use search::parse::{Options, Parsed, parse};
use store::{SearchPage, Stored};

use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::request::{self, Pairs};
use crate::rest::response::{Answer, Presentation};

/// What stands in a link as it is; `|`, `,` and `:` stay readable.
const LINK: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b',')
    .remove(b':')
    .remove(b'/')
    .remove(b'|');

/// `GET`.
pub async fn handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    let pairs = request::pairs(request.query_string())?;
    respond(&request, &app, &caller, pairs).await
}

/// `POST _search`: parameters of the URL and of the form together. (LK-44)
pub async fn form_handler(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let mut pairs = request::pairs(request.query_string())?;
    pairs.extend(request::form(&request, payload).await?);
    respond(&request, &app, &caller, pairs).await
}

async fn respond(request: &HttpRequest, app: &App, caller: &Caller, pairs: Pairs) -> Result<HttpResponse, Error> {
    let presentation = Presentation::with(request, &pairs)?;
    let resource_type = request::resource_type(request)?;
    let answer = execute(app, caller, resource_type, &pairs, request::prefer(request).lenient).await?;
    answer.respond(presentation)
}

/// Searches one page.
pub async fn execute(
    app: &App,
    caller: &Caller,
    resource_type: &str,
    pairs: &[(String, String)],
    lenient: bool,
) -> Result<Answer, Error> {
    access::decide(caller, Interaction::Search, resource_type)?;
    let parsed = parse(resource_type, pairs, &options(app, lenient)).map_err(Error::bad_request)?;
    access::decide_search(caller, &parsed.query)?;
    let page = app.store.search(&caller.view, &parsed.query).await?;
    Ok(Answer::resource(bundle(&app.config.fhir_base(), &parsed, &page)))
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
pub fn bundle(base: &str, parsed: &Parsed, page: &SearchPage) -> String {
    let resource_type = &parsed.query.resource_type;
    let bodies = page.matches.iter().chain(&page.included).map(|stored| stored.body.len() + 160).sum::<usize>();
    let mut out = String::with_capacity(bodies + 1024);
    out.push_str("{\"resourceType\":\"Bundle\",\"type\":\"searchset\"");
    if let Some(total) = page.total {
        let _ = write!(out, ",\"total\":{total}");
    }
    let applied = &parsed.query.applied;
    let own = parsed.query.cursor.as_deref().map(|cursor| ("_cursor", cursor));
    out.push_str(",\"link\":[");
    write_link("self", &link(base, resource_type, applied, own), &mut out);
    if let Some(next) = &page.next {
        out.push(',');
        write_link("next", &link(base, resource_type, applied, Some(("_cursor", next))), &mut out);
    }
    out.push(']');
    write_entries(base, page, &parsed.warnings, &mut out);
    out.push('}');
    out
}

fn write_entries(base: &str, page: &SearchPage, warnings: &[Issue], out: &mut String) {
    let mut separator = ",\"entry\":[";
    let modes = [(&page.matches, "match"), (&page.included, "include")];
    for (stored, mode) in modes.into_iter().flat_map(|(list, mode)| list.iter().map(move |stored| (stored, mode))) {
        let Stored { resource_type, id, body, .. } = stored;
        let _ = write!(
            out,
            "{separator}{{\"fullUrl\":\"{base}/{resource_type}/{id}\",\"resource\":{body},\"search\":{{\"mode\":\"{mode}\"}}}}"
        );
        separator = ",";
    }
    if !warnings.is_empty() {
        let _ = write!(out, "{separator}{{\"resource\":{},\"search\":{{\"mode\":\"outcome\"}}}}", outcome(warnings));
        separator = ",";
    }
    if separator == "," {
        out.push(']');
    }
}

/// One link of a Bundle.
pub fn write_link(relation: &str, url: &str, out: &mut String) {
    let _ = write!(out, "{{\"relation\":\"{relation}\",\"url\":");
    write_string(url, out);
    out.push('}');
}

/// URL of a page: the parameters that took effect, and where the page begins.
pub fn link(base: &str, path: &str, pairs: &[(String, String)], last: Option<(&str, &str)>) -> String {
    let encoded = |text| utf8_percent_encode(text, LINK);
    let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(last);
    pairs.enumerate().fold(format!("{base}/{path}"), |mut url, (index, (name, value))| {
        let separator = if index == 0 { '?' } else { '&' };
        let _ = write!(url, "{separator}{}={}", encoded(name), encoded(value));
        url
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::json::Json;
    use search::query::Query;
    use store::Method;

    fn parsed(cursor: Option<&str>) -> Parsed {
        let applied = [("code", "http://loinc.org|8480-6"), ("name", "a b&c")];
        let applied = applied.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let query = Query { cursor: cursor.map(str::to_owned), applied, ..Query::of("Observation", 1) };
        Parsed { query, warnings: Vec::new() }
    }

    fn stored(id: &str) -> Stored {
        Stored {
            resource_type: "Observation".into(),
            id: id.into(),
            version: 1,
            last_updated: 0,
            deleted: false,
            body: format!("{{\"resourceType\":\"Observation\",\"id\":\"{id}\",\"x\":1.00}}").into(),
            method: Method::Post,
        }
    }

    #[test]
    fn bodies_stand_in_the_bundle_as_they_are() {
        let page = SearchPage {
            matches: vec![stored("a")],
            included: vec![stored("b")],
            next: Some("N".into()),
            total: Some(7),
        };
        let text = bundle("http://s/fhir", &parsed(None), &page);
        assert!(text.contains("\"x\":1.00"));
        let json = Json::parse(text.as_bytes()).unwrap();
        let modes: Vec<_> = json.list("entry").iter().filter_map(|it| it.at(&["search", "mode"])?.as_str()).collect();
        assert_eq!(modes, ["match", "include"]);
        assert_eq!(json.get("total").and_then(Json::as_number), Some("7"));
        let urls: Vec<_> = json.list("link").iter().filter_map(|it| it.str("url")).collect();
        let own = "http://s/fhir/Observation?code=http://loinc.org|8480-6&name=a%20b%26c";
        assert_eq!(urls, [own.to_owned(), format!("{own}&_cursor=N")]);
    }

    #[test]
    fn an_empty_page_has_no_entry_and_the_self_link_says_where_it_is() {
        let text = bundle("http://s/fhir", &parsed(Some("C")), &SearchPage::default());
        let json = Json::parse(text.as_bytes()).unwrap();
        assert!(json.get("entry").is_none() && json.get("total").is_none());
        assert!(json.list("link")[0].str("url").unwrap().ends_with("&_cursor=C"));
    }

    #[test]
    fn warnings_are_an_outcome_entry() {
        let mut lenient = parsed(None);
        lenient.warnings.push(Issue::warning(fhir::outcome::IssueCode::NotSupported, "typo is left out"));
        let text = bundle("http://s/fhir", &lenient, &SearchPage::default());
        let json = Json::parse(text.as_bytes()).unwrap();
        assert_eq!(json.list("entry")[0].at(&["search", "mode"]).unwrap().as_str(), Some("outcome"));
    }
}
