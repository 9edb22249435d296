//! History of an instance: `GET [base]/[type]/[id]/_history`. <https://hl7.org/fhir/R4/http.html#history>
//!
//! Newest first, deletions included; a page ends with a `next` link as long as there are older versions. Each version
//! is judged by itself: hidden ones are absent and not counted. (LK-11)
//!
//! | status | when |
//! |---|---|
//! | 200 | a page of versions |
//! | 400 | a parameter other than `_count` and the `_cursor` of a next link |
//! | 404 | unknown, or no version is visible |

use std::fmt::Write as _;

use actix_web::{HttpRequest, HttpResponse, web};
use fhir::date::format_instant;
use fhir::outcome::{Issue, IssueCode};
use store::{Method, Stored};

use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::request;
use crate::rest::response::{Answer, Presentation};
use crate::rest::search::{link, write_link};

/// A page of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Most versions on it.
    pub count: usize,
    /// Only versions older than this.
    pub before: Option<i64>,
}

/// `GET` and `HEAD`.
pub async fn handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    let presentation = Presentation::of(&request)?;
    let pairs = request::only(request.query_string(), &["_count", "_cursor"])?;
    let (resource_type, id) = (request::resource_type(&request)?, request::id(&request)?);
    execute(&app, &caller, (resource_type, id), &pairs).await?.respond(presentation)
}

/// Reads one page of versions.
pub async fn execute(
    app: &App,
    caller: &Caller,
    (resource_type, id): (&str, &str),
    pairs: &[(String, String)],
) -> Result<Answer, Error> {
    access::decide(caller, Interaction::History, resource_type)?;
    let page = page(pairs, app.config.page_size as usize, app.config.max_page_size as usize)?;
    let mut versions = app.store.history(&caller.view, resource_type, id, page.count + 1, page.before).await?;
    if versions.is_empty() && page.before.is_none() {
        return Err(Error::unknown(resource_type, id));
    }
    let older = if versions.len() > page.count { versions.pop() } else { None };
    Ok(Answer::resource(bundle(&app.config.fhir_base(), (resource_type, id), page, &versions, older.as_ref())))
}

fn page(pairs: &[(String, String)], default: usize, most: usize) -> Result<Page, Error> {
    let mut page = Page { count: default, before: None };
    for (name, value) in pairs {
        let invalid = || Error::bad_request(Issue::error(IssueCode::Value, format!("{name}={value} cannot be read")));
        match name.as_str() {
            "_count" => {
                page.count = value.parse::<usize>().ok().filter(|count| *count > 0).ok_or_else(invalid)?.min(most);
            }
            _ => page.before = Some(request::version(value).ok_or_else(invalid)?),
        }
    }
    Ok(page)
}

fn bundle(
    base: &str,
    (resource_type, id): (&str, &str),
    page: Page,
    versions: &[Stored],
    older: Option<&Stored>,
) -> String {
    let mut out = String::from("{\"resourceType\":\"Bundle\",\"type\":\"history\"");
    if older.is_none() && page.before.is_none() {
        let _ = write!(out, ",\"total\":{}", versions.len());
    }
    let path = format!("{resource_type}/{id}/_history");
    let count = [("_count".to_owned(), page.count.to_string())];
    let before = page.before.map(|version| version.to_string());
    out.push_str(",\"link\":[");
    write_link("self", &link(base, &path, &count, before.as_deref().map(|it| ("_cursor", it))), &mut out);
    if let (Some(_), Some(last)) = (older, versions.last()) {
        out.push(',');
        write_link("next", &link(base, &path, &count, Some(("_cursor", &last.version.to_string()))), &mut out);
    }
    out.push(']');
    let mut separator = ",\"entry\":[";
    for (index, version) in versions.iter().enumerate() {
        out.push_str(separator);
        separator = ",";
        write_entry(base, version, versions.get(index + 1).or(older), &mut out);
    }
    if separator == "," {
        out.push(']');
    }
    out.push('}');
    out
}

/// One version, with the request that made it and how it was answered.
fn write_entry(base: &str, stored: &Stored, before: Option<&Stored>, out: &mut String) {
    let Stored { resource_type, id, version, .. } = stored;
    let _ = write!(out, "{{\"fullUrl\":\"{base}/{resource_type}/{id}\"");
    if !stored.deleted {
        let _ = write!(out, ",\"resource\":{}", stored.body);
    }
    let created = *version == 1 || before.is_some_and(|before| before.deleted);
    let (method, url, status) = match stored.method {
        Method::Delete => ("DELETE", format!("{resource_type}/{id}"), "204 No Content"),
        Method::Post => ("POST", resource_type.clone(), "201 Created"),
        Method::Put if created => ("PUT", format!("{resource_type}/{id}"), "201 Created"),
        Method::Put => ("PUT", format!("{resource_type}/{id}"), "200 OK"),
    };
    let instant = format_instant(stored.last_updated);
    let _ = write!(
        out,
        ",\"request\":{{\"method\":\"{method}\",\"url\":\"{url}\"}},\"response\":{{\"status\":\"{status}\",\
         \"etag\":\"W/\\\"{version}\\\"\",\"lastModified\":\"{instant}\"}}}}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::json::Json;

    fn stored(version: i64, method: Method) -> Stored {
        let deleted = method == Method::Delete;
        let body = if deleted { "" } else { "{\"resourceType\":\"Patient\"}" };
        Stored {
            resource_type: "Patient".into(),
            id: "a".into(),
            version,
            last_updated: 0,
            deleted,
            body: body.into(),
            method,
        }
    }

    #[test]
    fn a_life() {
        let versions =
            [stored(4, Method::Put), stored(3, Method::Delete), stored(2, Method::Put), stored(1, Method::Post)];
        let page = Page { count: 10, before: None };
        let text = bundle("http://s/fhir", ("Patient", "a"), page, &versions, None);
        let json = Json::parse(text.as_bytes()).unwrap();
        let said: Vec<_> = json
            .list("entry")
            .iter()
            .map(|it| {
                (it.at(&["request", "method"]).unwrap().as_str(), it.at(&["response", "status"]).unwrap().as_str())
            })
            .collect();
        let expected =
            [("PUT", "201 Created"), ("DELETE", "204 No Content"), ("PUT", "200 OK"), ("POST", "201 Created")];
        assert_eq!(said, expected.map(|(method, status)| (Some(method), Some(status))));
        assert!(json.list("entry")[1].get("resource").is_none());
        assert_eq!(json.get("total").and_then(Json::as_number), Some("4"));
    }

    #[test]
    fn a_page_in_the_middle_has_no_total_and_a_next_link() {
        let page = Page { count: 1, before: Some(4) };
        let older = stored(2, Method::Put);
        let text = bundle("http://s/fhir", ("Patient", "a"), page, &[stored(3, Method::Put)], Some(&older));
        let json = Json::parse(text.as_bytes()).unwrap();
        assert!(json.get("total").is_none());
        let urls: Vec<_> = json.list("link").iter().filter_map(|it| it.str("url")).collect();
        let path = "http://s/fhir/Patient/a/_history?_count=1&_cursor=";
        assert_eq!(urls, [format!("{path}4"), format!("{path}3")]);
    }

    #[test]
    fn counts_are_checked_and_lowered() {
        let of = |name: &str, value: &str| page(&[(name.to_owned(), value.to_owned())], 50, 1000);
        assert_eq!(of("_count", "5000").unwrap().count, 1000);
        assert_eq!(of("_cursor", "7").unwrap().before, Some(7));
        for (name, value) in [("_count", "0"), ("_count", "-1"), ("_count", "x"), ("_cursor", "0"), ("_cursor", "")] {
            assert_eq!(of(name, value).unwrap_err().status(), 400, "{name}={value}");
        }
    }
}
