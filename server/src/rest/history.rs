//! History: `GET [base]/[type]/[id]/_history`, `GET [base]/[type]/_history`, `GET [base]/_history`.
//! <https://hl7.org/fhir/R4/http.html#history>
//!
//! Newest first, deletions included. Each version is judged by itself: hidden ones are absent and not counted. (LK-11,
//! LK-12)
//!
//! | parameter | which versions |
//! |---|---|
//! | `_since` | made at or after this instant |
//! | `_at` | current at some time in this period; a deletion, if it happened in it |
//! | `_count` | most on a page; 0 asks for their number, and so does `_summary=count` |
//! | `_list` | of resources that this List names; of a reference to a version, that version |
//! | `_sort` | `-_lastUpdated` is the default, `_lastUpdated` begins with the oldest |
//! | `_cursor` | where the page begins, out of a link |
//!
//! Who reads page after page gets every version once, whatever is written meanwhile. Who asks again with the latest
//! `lastModified` seen as `_since` misses none: histories of types and of the system end where a transaction that is
//! still under way may add something.
//!
//! | status | when |
//! |---|---|
//! | 200 | a page of versions, perhaps empty |
//! | 400 | a parameter that is unknown, given twice, cannot be read, or can have no effect |
//! | 403 | the token does not allow it |
//! | 404 | of an instance: unknown, or no version is visible |

use std::fmt::Write as _;

use actix_web::{HttpRequest, HttpResponse, web};
use fhir::date::{DateTime, Precision, format_instant};
use fhir::definitions::resource_types;
use fhir::outcome::{Issue, IssueCode};
use search::parse::elements_of;
use search::query::Elements;
use store::{HistoryOf, HistoryPage, HistoryQuery, Method, Version};

use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::elements::subset;
use crate::rest::request;
use crate::rest::response::{Answer, Presentation, link, write_link};

mod listed;

/// What a history can be asked with.
pub const PARAMETERS: &[&str] = &["_since", "_at", "_list", "_count", "_sort", "_summary", "_elements", "_cursor"];

/// Whose history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of<'a> {
    /// One resource's: type and logical id.
    Instance(&'a str, &'a str),
    /// That of a type.
    Type(&'a str),
    /// That of all types.
    System,
}

/// `GET` and `HEAD` on an instance.
pub async fn handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    let of = Of::Instance(request::resource_type(&request)?, request::id(&request)?);
    respond(&request, &app, &caller, of).await
}

/// `GET` and `HEAD` on a type.
pub async fn type_handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    let of = Of::Type(request::resource_type(&request)?);
    respond(&request, &app, &caller, of).await
}

/// `GET` and `HEAD` on the system.
pub async fn system_handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    respond(&request, &app, &caller, Of::System).await
}

async fn respond(request: &HttpRequest, app: &App, caller: &Caller, of: Of<'_>) -> Result<HttpResponse, Error> {
    let presentation = Presentation::of(request)?;
    let pairs = request::only(request.query_string(), PARAMETERS)?;
    execute(app, caller, of, &pairs).await?.respond(presentation)
}

/// Reads one page of versions.
pub async fn execute(app: &App, caller: &Caller, of: Of<'_>, pairs: &[(String, String)]) -> Result<Answer, Error> {
    let whose = decide(caller, of)?;
    let mut query = query(whose.clone(), pairs, app.config.page_size as usize, app.config.max_page_size as usize)?;
    if let Some((_, list)) = pairs.iter().find(|(name, _)| name == "_list") {
        query.of = listed::among(&whose, listed::named(app, caller, list).await?);
    }
    let shaping: Vec<_> = pairs.iter().filter(|pair| !is_counting(pair)).cloned().collect();
    let elements = elements_of(of.resource_type(), &shaping).map_err(Error::bad_request)?;
    let mut page = app.store.history(&caller.view, &query).await?;
    if let (Of::Instance(resource_type, id), true) = (of, page.versions.is_empty() && query.cursor.is_none()) {
        let any = HistoryQuery { of: whose, since: None, at: None, count: 1, ..query.clone() };
        if app.store.history(&caller.view, &any).await?.versions.is_empty() {
            return Err(Error::unknown(resource_type, id));
        }
    }
    for version in page.versions.iter().filter(|version| !version.stored.deleted) {
        caller.saw(&version.stored.body);
    }
    for stored in page.versions.iter_mut().map(|version| &mut version.stored).filter(|stored| !stored.deleted) {
        if elements != Elements::All {
            stored.body = subset(&stored.body, &elements)?.into_owned().into();
        }
    }
    Ok(Answer::resource(bundle(&app.config.fhir_base(), of, &query, pairs, &page)))
}

impl<'a> Of<'a> {
    /// The type whose elements can be named; none where resources of all types are answered.
    fn resource_type(self) -> Option<&'a str> {
        match self {
            Of::Instance(resource_type, _) | Of::Type(resource_type) => Some(resource_type),
            Of::System => None,
        }
    }
}

/// Whether a parameter asks for the number of versions in place of them.
fn is_counting((name, value): &(String, String)) -> bool {
    matches!((name.as_str(), value.as_str()), ("_summary", "count") | ("_count", "0"))
}

/// Whether the caller may ask that, and which types it then gets.
fn decide(caller: &Caller, of: Of<'_>) -> Result<HistoryOf, Error> {
    match of {
        Of::Instance(resource_type, id) => {
            access::decide(caller, Interaction::History, resource_type)?;
            Ok(HistoryOf::Instance { resource_type: resource_type.to_owned(), id: id.to_owned() })
        }
        Of::Type(resource_type) => {
            access::decide(caller, Interaction::TypeHistory, resource_type)?;
            Ok(HistoryOf::Types(vec![resource_type.to_owned()]))
        }
        Of::System => {
            let right = Interaction::TypeHistory.right();
            let types = resource_types().iter().filter(|name| access::allows(&caller.scopes, right, name));
            let types: Vec<String> = types.cloned().collect();
            if types.is_empty() {
                return Err(Error::forbidden("the access token has no scope to search any type"));
            }
            Ok(HistoryOf::Types(types))
        }
    }
}

fn query(of: HistoryOf, pairs: &[(String, String)], default: usize, most: usize) -> Result<HistoryQuery, Error> {
    let mut query = HistoryQuery { of, since: None, at: None, oldest_first: false, count: default, cursor: None };
    for (index, (name, value)) in pairs.iter().enumerate() {
        let invalid =
            |wanted: &str| Error::bad_request(Issue::error(IssueCode::Value, format!("{name}={value}: {wanted}")));
        if pairs[..index].iter().any(|(other, _)| other == name) {
            return Err(invalid("given more than once; give it once"));
        }
        match name.as_str() {
            "_count" => {
                let count = value.parse::<usize>().ok();
                query.count = count.ok_or_else(|| invalid("must be a number, 0 for the total alone"))?.min(most);
            }
            "_since" => {
                let instant = moment(value).filter(|it| it.precision >= Precision::Second && it.offset.is_some());
                let wanted = "must be an instant with seconds and time zone, such as 2026-01-31T10:00:00Z";
                query.since = Some(instant.ok_or_else(|| invalid(wanted))?.interval().0);
            }
            "_at" => {
                let wanted =
                    "must be a date or time without a prefix, such as 2026, 2026-01-31 or 2026-01-31T10:00:00Z";
                query.at = Some(moment(value).ok_or_else(|| invalid(wanted))?.interval());
            }
            "_sort" => {
                query.oldest_first = match value.as_str() {
                    "_lastUpdated" => true,
                    "-_lastUpdated" => false,
                    _ => return Err(invalid("a history is sorted by -_lastUpdated (newest first) or _lastUpdated")),
                }
            }
            "_summary" | "_elements" | "_list" => {}
            _ => query.cursor = Some(value.clone()),
        }
    }
    if pairs.iter().any(is_counting) {
        query.count = 0;
        if query.cursor.is_some() {
            let text = "_cursor has no effect where the versions are counted; leave it out";
            return Err(Error::bad_request(Issue::error(IssueCode::Invalid, text)));
        }
    }
    if let (Some(since), Some((_, end))) = (query.since, query.at)
        && since > end
    {
        let text = "_since lies after the period of _at: no version can be in both; give one of them";
        return Err(Error::bad_request(Issue::error(IssueCode::Invalid, text)));
    }
    Ok(query)
}

/// A date or time; the + of a time zone that was not encoded has become a space.
fn moment(value: &str) -> Option<DateTime> {
    DateTime::parse(&value.replace(' ', "+"))
}

fn bundle(base: &str, of: Of<'_>, query: &HistoryQuery, pairs: &[(String, String)], page: &HistoryPage) -> String {
    let bodies = page.versions.iter().map(|version| version.stored.body.len() + 300).sum::<usize>();
    let mut out = String::with_capacity(bodies + 500);
    out.push_str("{\"resourceType\":\"Bundle\",\"type\":\"history\"");
    if let Some(total) = page.total.or_else(|| page.is_all.then_some(page.versions.len() as u64)) {
        let _ = write!(out, ",\"total\":{total}");
    }
    let path = match of {
        Of::Instance(resource_type, id) => format!("{resource_type}/{id}/_history"),
        Of::Type(resource_type) => format!("{resource_type}/_history"),
        Of::System => "_history".to_owned(),
    };
    let free = |name: &str| !matches!(name, "_count" | "_cursor");
    let mut applied: Vec<(String, String)> = pairs.iter().filter(|(name, _)| free(name)).cloned().collect();
    applied.push(("_count".to_owned(), query.count.to_string()));
    let url = |cursor: Option<&str>| link(base, &path, &applied, cursor.map(|cursor| ("_cursor", cursor)));
    out.push_str(",\"link\":[");
    write_link("self", &url(query.cursor.as_deref()), &mut out);
    for (relation, cursor) in [("previous", &page.previous), ("next", &page.next)] {
        if let Some(cursor) = cursor {
            out.push(',');
            write_link(relation, &url(Some(cursor)), &mut out);
        }
    }
    out.push(']');
    let mut separator = ",\"entry\":[";
    for version in &page.versions {
        out.push_str(separator);
        separator = ",";
        write_entry(base, version, &mut out);
    }
    if separator == "," {
        out.push(']');
    }
    out.push('}');
    out
}

/// One version, with the request that made it and how it was answered.
fn write_entry(base: &str, Version { stored, created }: &Version, out: &mut String) {
    let (resource_type, id, version) = (&stored.resource_type, &stored.id, stored.version);
    let _ = write!(out, "{{\"fullUrl\":\"{base}/{resource_type}/{id}\"");
    if !stored.deleted {
        let _ = write!(out, ",\"resource\":{}", stored.body);
    }
    let (method, url, status) = match stored.method {
        Method::Delete => ("DELETE", format!("{resource_type}/{id}"), "204 No Content"),
        Method::Post => ("POST", resource_type.clone(), "201 Created"),
        Method::Put if *created => ("PUT", format!("{resource_type}/{id}"), "201 Created"),
        Method::Put => ("PUT", format!("{resource_type}/{id}"), "200 OK"),
        Method::Patch => ("PATCH", format!("{resource_type}/{id}"), "200 OK"),
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
    use store::Stored;

    fn version(number: i64, method: Method, created: bool) -> Version {
        let deleted = method == Method::Delete;
        let body = if deleted { "" } else { "{\"resourceType\":\"Patient\"}" };
        let stored = Stored {
            resource_type: "Patient".into(),
            id: "a".into(),
            version: number,
            last_updated: 0,
            deleted,
            body: body.into(),
            method,
        };
        Version { stored, created }
    }

    fn parsed(pairs: &[(&str, &str)]) -> Result<HistoryQuery, u16> {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        query(HistoryOf::Types(vec!["Patient".into()]), &pairs, 50, 1000).map_err(|error| error.status().as_u16())
    }

    #[test]
    fn a_life() {
        let versions = vec![
            version(4, Method::Put, true),
            version(3, Method::Delete, false),
            version(2, Method::Put, false),
            version(1, Method::Post, true),
        ];
        let page = HistoryPage { versions, is_all: true, ..HistoryPage::default() };
        let text = bundle("http://s/fhir", Of::Instance("Patient", "a"), &parsed(&[]).unwrap(), &[], &page);
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
    fn a_page_in_the_middle_has_no_total_and_links_both_ways() {
        let page = HistoryPage {
            versions: vec![version(3, Method::Put, false)],
            next: Some("N".into()),
            previous: Some("P".into()),
            ..HistoryPage::default()
        };
        let given = [("_since".to_owned(), "2026-01-01T00:00:00Z".to_owned()), ("_cursor".to_owned(), "C".to_owned())];
        let query = query(HistoryOf::Types(vec!["Patient".into()]), &given, 1, 10).unwrap();
        let text = bundle("http://s/fhir", Of::System, &query, &given, &page);
        let json = Json::parse(text.as_bytes()).unwrap();
        assert!(json.get("total").is_none());
        let links: Vec<_> =
            json.list("link").iter().map(|it| (it.str("relation").unwrap(), it.str("url").unwrap())).collect();
        let path = "http://s/fhir/_history?_since=2026-01-01T00:00:00Z&_count=1&_cursor=";
        let [own, previous, next] = ["C", "P", "N"].map(|cursor| format!("{path}{cursor}"));
        assert_eq!(links, [("self", own.as_str()), ("previous", &previous), ("next", &next)]);
    }

    #[test]
    fn parameters_are_read_or_refused() {
        assert_eq!(parsed(&[("_count", "5000")]).unwrap().count, 1000);
        assert_eq!(parsed(&[("_count", "0")]).unwrap().count, 0);
        assert_eq!(parsed(&[("_count", "5"), ("_summary", "count")]).unwrap().count, 0);
        assert_eq!(parsed(&[("_since", "1970-01-01T00:00:01.5Z")]).unwrap().since, Some(1_500_000));
        assert_eq!(parsed(&[("_since", "1970-01-01T01:00:01 01:00")]).unwrap().since, Some(1_000_000));
        assert_eq!(parsed(&[("_at", "1970")]).unwrap().at, Some((0, 365 * 86_400_000_000 - 1)));
        assert!(parsed(&[("_sort", "_lastUpdated")]).unwrap().oldest_first);
        let both = [("_since", "1970-01-01T00:00:01Z"), ("_at", "1970-01-01")];
        assert!(parsed(&both).is_ok());
        let refused: &[&[(&str, &str)]] = &[
            &[("_count", "-1")],
            &[("_count", "x")],
            &[("_count", "1"), ("_count", "1")],
            &[("_count", "0"), ("_cursor", "x")],
            &[("_since", "2020")],
            &[("_since", "2020-01-01T00:00:00")],
            &[("_since", "gt2020-01-01T00:00:00Z")],
            &[("_at", "ge2020")],
            &[("_at", "")],
            &[("_at", "2020-13")],
            &[("_sort", "_id")],
            &[("_sort", "_lastUpdated,_id")],
            &[("_since", "2021-01-01T00:00:00Z"), ("_at", "2020")],
        ];
        for pairs in refused {
            assert_eq!(parsed(pairs).unwrap_err(), 400, "{pairs:?}");
        }
    }
}
