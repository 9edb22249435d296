//! `GET|POST /portal/live`: readings and alerts of the patients in somebody's care, as they arrive.
//!
//! The page is whole without a script. With one it listens (`devices/stream.rs`) and, when something came, puts the
//! same page as it is now in place of what it shows: there is one way in which a reading is shown. Limits that a person
//! sets are Goals, see [`series`], written as everything is.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use fhir::json::Json;
use search::parse::{Options, parse};
use sha2::{Digest as _, Sha256};

use super::frame::Frame;
use super::page;
use super::words::moment;
use crate::account::visitor::{Refused, State, Visitor, go};
use crate::app::App;
use crate::audit;
use crate::caller::Caller;
use crate::devices::stream::{self, Rights};
use crate::error::Error;
use crate::oauth::patients;
use crate::rest::bundle;

mod series;

use series::{Drawing, Key, Series};

/// Readings that are looked at, latest first.
const READINGS: usize = 500;

/// Alerts that are shown, latest first.
const ALERTS: usize = 30;

/// Goals that are looked at.
const GOALS: usize = 500;

/// Longest text that a field of the form may have.
const MAX_FIELD: usize = 200;

#[derive(Template)]
#[template(path = "live.html")]
struct LivePage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    has_record: bool,
    alerts: Vec<Alert>,
    people: Vec<Person>,
}

struct Alert {
    what: String,
    who: String,
    at: String,
    is_open: bool,
}

struct Person {
    id: String,
    name: String,
    measures: Vec<Measure>,
}

struct Measure {
    anchor: String,
    key: Key,
    series: Series,
    drawing: Drawing,
    latest: String,
    latest_at: String,
    complaint: Option<String>,
    /// Latest first: when, what, and what is wrong with it.
    rows: Vec<(String, String, Option<String>)>,
}

/// The page.
pub async fn get(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    let frame = Frame::of(&visitor, "live");
    let mut page = LivePage { style: page::STYLE, frame, has_record: false, alerts: Vec::new(), people: Vec::new() };
    if visitor.account.fhir_user.is_some() {
        let caller = stream::carer(&app, &visitor.account).await?.attached(&request);
        page.has_record = true;
        fill(&app, &request, (&visitor, &caller), &mut page).await?;
    }
    Ok(page::html_with_script(&app.config.base_url, &page, "/portal/live.js", &["/portal/live", "/portal/live/stream"]))
}

/// Sets the limits of a measure, or takes them away.
pub async fn post(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let caller = stream::carer(&app, &visitor.account).await?.attached(&request);
    let field = |name: &str| form.get(name).map(str::trim).filter(|text| text.len() <= MAX_FIELD).unwrap_or_default();
    let key = Key {
        patient: field("patient").to_owned(),
        system: field("system").to_owned(),
        code: field("code").to_owned(),
    };
    let user = visitor.account.fhir_user.as_ref().ok_or(Refused::NotFound)?;
    if patients::patient(&app, &request, user, None, &key.patient).await?.is_none() || key.code.is_empty() {
        return Err(Refused::NotFound);
    }
    let bound = |name: &str| match field(name) {
        "" => Ok(None),
        text => match (text.parse::<f64>(), Json::parse(text.as_bytes())) {
            (Ok(value), Ok(number @ Json::Number(_))) => Ok(Some((value, number))),
            _ => Err(Refused::Invalid("Limits are numbers.".to_owned())),
        },
    };
    let (low, high) = (bound("low")?, bound("high")?);
    if let (Some((low, _)), Some((high, _))) = (&low, &high)
        && low >= high
    {
        return Err(Refused::Invalid("The lower limit must be less than the upper one.".to_owned()));
    }
    let told = [field("words"), field("unit"), &user.to_string()].map(str::to_owned);
    let goal = goal(&app, &key, &told, (low.map(|it| it.1), high.map(|it| it.1)));
    bundle::execute(&app, &caller, goal).await?;
    Ok(go(&app, "/portal/live"))
}

/// What the page listens to.
pub async fn listen(app: State, request: HttpRequest) -> Result<HttpResponse, crate::devices::Refused> {
    let refused = |_| crate::devices::Refused::new(StatusCode::UNAUTHORIZED, "nobody is signed in");
    let visitor = Visitor::of(&app, &request).await.map_err(refused)?;
    let (session, trail) = (visitor.browser.secret.hash(), audit::of(&request).unwrap_or_default());
    stream::respond(&app, &request, &visitor.account.id, Rights::Session { session, trail }).await
}

/// The script of the page.
pub async fn script() -> HttpResponse {
    page::script(include_str!("../../templates/live.js"))
}

async fn fill(
    app: &App,
    http: &HttpRequest,
    (visitor, caller): (&Visitor, &Caller),
    page: &mut LivePage<'_>,
) -> Result<(), Refused> {
    let readings = found(app, caller, "Observation", &[("_sort", "-_lastUpdated")], READINGS).await?;
    let goals = found(app, caller, "Goal", &[("lifecycle-status", "active")], GOALS).await?;
    let mut alerts = found(app, caller, "Flag", &[("_sort", "-_lastUpdated")], ALERTS).await?;
    alerts.extend(found(app, caller, "Communication", &[("_sort", "-_lastUpdated")], ALERTS).await?);
    alerts.sort_by_key(|alert| std::cmp::Reverse(series::instant(alert)));
    alerts.truncate(ALERTS);
    let mut names = BTreeMap::new();
    let by_key = series::series(readings.iter(), goals.iter());
    let told = by_key.keys().map(|key| key.patient.clone()).chain(alerts.iter().filter_map(series::patient));
    for id in told.collect::<std::collections::BTreeSet<_>>() {
        let known = match &visitor.account.fhir_user {
            Some(user) => patients::patient(app, http, user, None, &id).await?,
            None => None,
        };
        names.insert(id.clone(), known.map_or(id, |choice| choice.name));
    }
    let name = |id: &str| names.get(id).cloned().unwrap_or_default();
    page.alerts = alerts.iter().map(|alert| of_alert(alert, &name)).collect();
    for (key, series) in by_key {
        if page.people.last().is_none_or(|person: &Person| person.id != key.patient) {
            let (id, name) = (key.patient.clone(), name(&key.patient));
            page.people.push(Person { id, name, measures: Vec::new() });
        }
        if let Some(person) = page.people.last_mut() {
            person.measures.push(measure(key, series));
        }
    }
    Ok(())
}

fn of_alert(alert: &Json, name: &impl Fn(&str) -> String) -> Alert {
    let concept = alert.get("code").or_else(|| alert.list("category").first());
    let payload = alert.list("payload").first().and_then(|payload| payload.str("contentString"));
    let what = payload.map(str::to_owned).or_else(|| concept.map(series::words)).filter(|words| !words.is_empty());
    Alert {
        what: what.unwrap_or_else(|| "Alert".to_owned()),
        who: series::patient(alert).map(|id| name(&id)).unwrap_or_default(),
        at: series::instant(alert).map(moment).unwrap_or_default(),
        is_open: alert.str("resourceType") == Some("Flag") && alert.str("status") == Some("active"),
    }
}

fn measure(key: Key, series: Series) -> Measure {
    let told = |text: &str| format!("{text} {}", series.unit).trim().to_owned();
    let latest = series.latest();
    let rows = series.points.iter().rev();
    Measure {
        anchor: format!("{}-{}", key.patient, key.code).replace(|c: char| !c.is_ascii_alphanumeric(), "-"),
        drawing: series.draw(),
        latest: latest.map(|point| told(&point.text)).unwrap_or_default(),
        latest_at: latest.map(|point| moment(point.at)).unwrap_or_default(),
        complaint: latest.and_then(|point| series.complaint(point)),
        rows: rows.map(|point| (moment(point.at), told(&point.text), series.complaint(point))).collect(),
        key,
        series,
    }
}

async fn found(
    app: &App,
    caller: &Caller,
    resource_type: &str,
    pairs: &[(&str, &str)],
    count: usize,
) -> Result<Vec<Json>, Error> {
    let options = Options::at_most(count, app.config.fhir_base(), app.clock.now());
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let parsed = parse(resource_type, &pairs, &options).map_err(Error::bad_request)?;
    let page = app.store.search(&caller.view, &parsed.query).await?;
    caller.saw_page(&page);
    Ok(page.matches.iter().filter_map(|stored| Json::parse(stored.body.as_bytes()).ok()).collect())
}

/// A transaction that makes limits what they are from now on.
fn goal(app: &App, key: &Key, told: &[String; 3], (low, high): (Option<Json>, Option<Json>)) -> Json {
    let [words, unit, person] = told;
    let digest = Sha256::digest(format!("{} {}|{}", key.patient, key.system, key.code).as_bytes());
    let id = fhir::hexadecimal(&digest[..16]);
    let system = format!("{}/limits", app.config.adapter_namespace);
    let criteria: String = url::form_urlencoded::byte_serialize(format!("{system}|{id}").as_bytes()).collect();
    let quantity = |value: &Json| fhir::object! { "value": value.clone(), "unit": unit.as_str() };
    let mut range = fhir::json::Object::new();
    for (name, value) in [("low", &low), ("high", &high)] {
        if let Some(value) = value {
            range.insert(name, quantity(value));
        }
    }
    let is_set = !range.is_empty();
    let measure = if key.system.is_empty() {
        fhir::object! { "text": key.code.as_str() }
    } else {
        let coding = fhir::object! { "system": key.system.as_str(), "code": key.code.as_str() };
        fhir::object! { "coding": fhir::array![coding], "text": words.as_str() }
    };
    let mut resource = fhir::object! {
        "resourceType": "Goal",
        "identifier": fhir::array![fhir::object! { "system": system, "value": id }],
        "lifecycleStatus": if is_set { "active" } else { "cancelled" },
        "description": fhir::object! { "text": format!("Limits: {words}") },
        "subject": fhir::object! { "reference": format!("Patient/{}", key.patient) },
        "expressedBy": fhir::object! { "reference": person.as_str() },
    };
    if let Some(members) = resource.as_object_mut().filter(|_| is_set) {
        members.insert("target", fhir::array![fhir::object! { "measure": measure, "detailRange": range }]);
    }
    let request = fhir::object! { "method": "PUT", "url": format!("Goal?identifier={criteria}") };
    let entry = fhir::object! { "resource": resource, "request": request };
    fhir::object! { "resourceType": "Bundle", "type": "transaction", "entry": fhir::array![entry] }
}
