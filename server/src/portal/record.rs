//! `GET /portal/record`: who has looked at one's own record, and when. (CO-09, 45 CFR 164.528)

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use search::view::View;
use smart::grant::FhirUser;
use store::audit::{Event, Filter, TrailQuery, instant_of};
use store::clients;

use super::frame::Frame;
use super::words::moment;
use crate::account::visitor::{Refused, State, Visitor, show};
use crate::oauth::form::Parameters;
use crate::oauth::page;

/// Events on a page.
const SHOWN: usize = 50;

/// Longest position in the list that a link of ours has.
const MAX_CURSOR: usize = 300;

#[derive(Template)]
#[template(path = "record.html")]
struct RecordPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    has_record: bool,
    lines: Vec<Line>,
    next: Option<String>,
}

struct Line {
    at: String,
    who: String,
    did: &'static str,
    what: String,
}

/// The page.
pub async fn get(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    let Some(FhirUser::Patient(patient)) = visitor.account.fhir_user.clone() else {
        let frame = Frame::of(&visitor, "record");
        let page = RecordPage { style: page::STYLE, frame, has_record: false, lines: Vec::new(), next: None };
        return Ok(show(&page, StatusCode::OK, None));
    };
    let parameters = Parameters::parse(request.query_string().as_bytes())?;
    let query = TrailQuery {
        filters: vec![Filter::Patients(vec![patient.clone()]), Filter::Status(vec![(200, 299)])],
        applied: vec![("page".to_owned(), "record".to_owned())],
        oldest_first: false,
        count: SHOWN,
        cursor: parameters.get("from").filter(|from| from.len() <= MAX_CURSOR).map(str::to_owned),
        total: false,
    };
    let own = View::system().within(std::slice::from_ref(&patient));
    let found = app.store.trail(&own, &query).await.map_err(|_| Refused::NotFound)?;
    let mut lines = Vec::with_capacity(found.events.len());
    for event in &found.events {
        let client = match &event.client {
            Some(id) => clients::find(&app.store, id).await?.map_or_else(|| id.clone(), |client| client.name),
            None => "this server's pages".to_owned(),
        };
        lines.push(line(event, &client, &visitor.account.id));
    }
    let frame = Frame::of(&visitor, "record");
    Ok(show(&RecordPage { style: page::STYLE, frame, has_record: true, lines, next: found.next }, StatusCode::OK, None))
}

fn line(event: &Event, client: &str, own: &str) -> Line {
    let person = match (&event.account, &event.fhir_user) {
        (Some(account), _) if account == own => "you, ".to_owned(),
        // Of another patient only the app is told. (CO-08)
        (_, Some(record)) if !record.starts_with("Patient/") => format!("{record}, "),
        _ => String::new(),
    };
    let did = match event.action {
        'C' => "added",
        'U' => "changed",
        'D' => "deleted",
        'R' => "read",
        _ if event.query.is_some() => "searched",
        _ => "used",
    };
    let mut types: Vec<&str> = event.touched().filter_map(|it| it.reference.split(['/', '?']).next()).collect();
    types.extend(event.query.as_deref().and_then(|query| query.split(['/', '?']).next()));
    types.retain(|name| fhir::definitions::is_resource_type(name));
    types.sort_unstable();
    types.dedup();
    let what = if types.is_empty() { "the record".to_owned() } else { types.join(", ") };
    Line { at: moment(instant_of(&event.id)), who: format!("{person}{client}"), did, what }
}
