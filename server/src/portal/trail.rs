//! `GET /portal/admin/audit`: the audit trail, for administrators with a second factor. (CO-01, OA-25)
//!
//! It is read like everything else, through a view: an administrator's shows all events, and whom the page told of
//! stands in the trail again.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use search::view::View;
use store::audit::{Event, Filter, TrailPage, TrailQuery, instant_of};
use store::{StoreError, clients, users};
use url::form_urlencoded::Serializer;

use super::admin::administrator;
use super::frame::Frame;
use super::words::{DAY, instant, of_date_field};
use crate::account::visitor::{Refused, State, Visitor, show};
use crate::app::App;
use crate::audit;
use crate::oauth::form::Parameters;
use crate::oauth::page;

/// Events on a page.
const SHOWN: usize = 50;

/// Longest text of a field.
const MAX_FIELD: usize = 300;

/// Patients and things that are named of one event; of more their number.
const NAMED: usize = 5;

/// The names of the fields, as they stand in the address.
const FIELDS: [&str; 6] = ["person", "patient", "app", "since", "until", "outcome"];

#[derive(Template)]
#[template(path = "admin-audit.html")]
struct AuditPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    asked: Asked<'a>,
    problem: Option<&'static str>,
    lines: Vec<Line>,
    /// Addresses of the pages beside this one.
    later: Option<String>,
    earlier: Option<String>,
}

/// What was asked for, as it was typed.
#[derive(Clone, Copy, Debug, Default)]
struct Asked<'a> {
    person: &'a str,
    patient: &'a str,
    app: &'a str,
    since: &'a str,
    until: &'a str,
    outcome: &'a str,
}

struct Line {
    at: String,
    who: String,
    did: String,
    things: Vec<String>,
    more_things: usize,
    patients: Vec<String>,
    more_patients: usize,
    outcome: &'static str,
    tone: &'static str,
    details: String,
}

/// The page; the filters are those of the form.
pub async fn get(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = administrator(&app, Visitor::of(&app, &request).await?).await?;
    let parameters = Parameters::parse(request.query_string().as_bytes())?;
    let asked = Asked::of(&parameters);
    let (mut problem, mut found) = (None, TrailPage::default());
    match asked.query(&app, parameters.get("from")).await? {
        Err(text) => problem = Some(text),
        Ok(query) => match app.store.trail(&View::system(), &query).await {
            Ok(page) => found = page,
            Err(StoreError::TooCostly(_)) => {
                problem = Some("That took too long. Name a patient, or days that lie closer together.");
            }
            Err(StoreError::Cursor) => return Err(Refused::NotFound),
            Err(error) => return Err(error.into()),
        },
    }
    let patients = found.events.iter().flat_map(|event| &event.patients).cloned();
    audit::note(&request, |noted| noted.patients.extend(patients));
    let names = Names::of(&app, &found.events).await?;
    let link = |cursor: Option<String>| cursor.map(|cursor| asked.address(&cursor));
    let page = AuditPage {
        style: page::STYLE,
        frame: Frame::of(&visitor, "admin"),
        problem,
        lines: found.events.iter().map(|event| names.line(event)).collect(),
        later: link(found.previous),
        earlier: link(found.next),
        asked,
    };
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    Ok(show(&page, status, None))
}

impl<'a> Asked<'a> {
    fn of(parameters: &'a Parameters) -> Self {
        let field =
            |name| parameters.get(name).map(str::trim).filter(|text| text.len() <= MAX_FIELD).unwrap_or_default();
        Asked {
            person: field("person"),
            patient: field("patient"),
            app: field("app"),
            since: field("since"),
            until: field("until"),
            outcome: field("outcome"),
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        let values = [self.person, self.patient, self.app, self.since, self.until, self.outcome];
        FIELDS.into_iter().zip(values).filter(|(_, value)| !value.is_empty())
    }

    /// The address of another page of the same.
    fn address(&self, cursor: &str) -> String {
        let query = Serializer::new(String::new()).extend_pairs(self.pairs()).append_pair("from", cursor).finish();
        format!("/portal/admin/audit?{query}")
    }

    /// What the trail is asked, or what of it makes no sense.
    async fn query(&self, app: &App, cursor: Option<&str>) -> Result<Result<TrailQuery, &'static str>, StoreError> {
        let mut filters = Vec::new();
        if !self.person.is_empty() {
            let account = users::find_by_username(&app.store, self.person).await?.map(|(account, _)| account.id);
            let person = vec![account.unwrap_or_else(|| self.person.to_owned())];
            filters.push(Filter::Or(vec![Filter::Account(person.clone()), Filter::Record(person)]));
        }
        if !self.patient.is_empty() {
            let id = self.patient.strip_prefix("Patient/").unwrap_or(self.patient);
            filters.push(Filter::Patients(vec![id.to_owned()]));
        }
        if !self.app.is_empty() {
            filters.push(Filter::Client(vec![self.app.to_owned()]));
        }
        if let Some(statuses) = statuses(self.outcome) {
            filters.push(Filter::Status(vec![statuses]));
        }
        let day = |text: &str, without: i64| if text.is_empty() { Some(without) } else { of_date_field(text) };
        let (Some(since), Some(until)) = (day(self.since, 0), day(self.until, i64::MAX - DAY)) else {
            return Ok(Err("Write days as 2026-11-22."));
        };
        if since > until {
            return Ok(Err("The first day lies after the last."));
        }
        if !(self.since.is_empty() && self.until.is_empty()) {
            filters.push(Filter::Between(since, until + DAY - 1));
        }
        let applied = self.pairs().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Ok(TrailQuery {
            filters,
            applied: [("page".to_owned(), "administration".to_owned())].into_iter().chain(applied).collect(),
            oldest_first: false,
            count: SHOWN,
            cursor: cursor.map(str::to_owned),
            total: false,
        }))
    }
}

/// How accounts and apps are called.
#[derive(Debug, Default)]
struct Names {
    accounts: BTreeMap<String, String>,
    apps: BTreeMap<String, String>,
}

impl Names {
    async fn of(app: &App, events: &[Event]) -> Result<Self, StoreError> {
        let mut names = Names::default();
        for event in events {
            if let Some(id) = event.account.as_ref().filter(|id| !names.accounts.contains_key(*id)) {
                let account = users::find(&app.store, id).await?;
                names.accounts.insert(id.clone(), account.map_or_else(|| id.clone(), |account| account.username));
            }
            if let Some(id) = event.client.as_ref().filter(|id| !names.apps.contains_key(*id)) {
                let client = clients::find(&app.store, id).await?;
                names.apps.insert(id.clone(), client.map_or_else(|| id.clone(), |client| client.name));
            }
        }
        Ok(names)
    }

    fn line(&self, event: &Event) -> Line {
        let person = event.account.as_ref().and_then(|id| self.accounts.get(id)).or(event.fhir_user.as_ref());
        let client = event.client.as_ref().and_then(|id| self.apps.get(id));
        let who = match (person, client) {
            (Some(person), Some(client)) => format!("{person}, with {client}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => "somebody unknown".to_owned(),
        };
        let mut things: Vec<String> = event.touched().map(|it| it.reference.to_owned()).collect();
        things.extend(event.query.clone());
        let mut details = vec![format!("HTTP {}", event.status)];
        details.extend(event.fhir_user.clone());
        details.extend(event.client.as_ref().map(|id| format!("app {id}")));
        details.extend(event.address.as_ref().map(|address| format!("from {address}")));
        details.extend(event.request.as_ref().map(|request| format!("request {request}")));
        let (outcome, tone) = match event.status {
            0..400 => ("done", "good"),
            400..500 => ("refused", "wait"),
            _ => ("failed", "bad"),
        };
        Line {
            at: instant(instant_of(&event.id)),
            who,
            did: if event.subtype.is_empty() { "asked".to_owned() } else { event.subtype.replace('-', " ") },
            more_things: things.len().saturating_sub(NAMED),
            things: things.into_iter().take(NAMED).collect(),
            more_patients: event.patients.len().saturating_sub(NAMED),
            patients: event.patients.iter().take(NAMED).cloned().collect(),
            outcome,
            tone,
            details: details.join(", "),
        }
    }
}

/// Statuses of an outcome; none: all.
fn statuses(outcome: &str) -> Option<(i64, i64)> {
    match outcome {
        "done" => Some((0, 399)),
        "refused" => Some((400, 499)),
        "failed" => Some((500, 599)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_of_the_same_question() {
        let parameters = Parameters::parse(b"person=a%26b&outcome=failed&from=x").expect("parameters");
        let asked = Asked::of(&parameters);
        assert_eq!(asked.address("c=d"), "/portal/admin/audit?person=a%26b&outcome=failed&from=c%3Dd");
        assert_eq!((statuses("failed"), statuses("")), (Some((500, 599)), None));
    }
}
