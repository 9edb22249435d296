//! `/ehr`: the built-in EHR. Somebody signs in, finds a patient, picks a visit and an app, and starts it there.
//!
//! | page | what |
//! |---|---|
//! | `GET /ehr?find=…` | the patients of the person |
//! | `GET /ehr/{patient}` | one patient: their visits, and the apps that can be started |
//! | `POST /ehr/{patient}` | makes the launch, and leads to the app |
//!
//! The last answers with a page that leads on, not with a redirect: a form may lead only to where the page's policy
//! says, and the app is one of many.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use smart::grant::FhirUser;
use smart::launch::{LaunchContext, Launched};
use store::launches::{self, LaunchableApp};

use crate::account::visitor::{Refused, Visitor};
use crate::app::App;
use crate::oauth::form::Parameters;
use crate::oauth::page;
use crate::oauth::patients::{self, Choice, Choices};

/// Longest text that is searched for.
const MAX_FIND: usize = 100;

#[derive(Template)]
#[template(path = "ehr-patients.html")]
struct PatientsPage<'a> {
    style: &'a str,
    person_name: &'a str,
    form_token: String,
    has_record: bool,
    find: &'a str,
    patients: Choices,
}

#[derive(Template)]
#[template(path = "ehr-patient.html")]
struct PatientPage<'a> {
    style: &'a str,
    person_name: &'a str,
    form_token: String,
    patient: Choice,
    visits: Choices,
    apps: Vec<LaunchableApp>,
    problem: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "ehr-launch.html")]
struct LaunchPage<'a> {
    style: &'a str,
    app_name: &'a str,
    patient: &'a Choice,
    address: &'a str,
}

/// The patients of the person.
pub async fn patients_page(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    let parameters = Parameters::parse(request.query_string().as_bytes())?;
    let find = parameters.get("find").filter(|find| find.len() <= MAX_FIND).unwrap_or_default().trim();
    let patients = match &visitor.account.fhir_user {
        Some(user) => patients::patients(&app, &request, user, None, find).await?,
        None => Choices::default(),
    };
    let page = PatientsPage {
        style: page::STYLE,
        person_name: &visitor.account.name,
        form_token: visitor.form_token(),
        has_record: visitor.account.fhir_user.is_some(),
        find,
        patients,
    };
    Ok(page::html(StatusCode::OK, &page, None))
}

/// One patient.
pub async fn patient_page(
    app: web::Data<App>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    let patient = patient(&app, &request, &visitor, &id).await?;
    show(&app, &request, &visitor, patient, None).await
}

/// Starts an app.
pub async fn launch(
    app: web::Data<App>,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let patient = patient(&app, &request, &visitor, &id).await?;
    let encounter = match form.get("encounter").filter(|encounter| *encounter != "none") {
        None => None,
        Some(wanted) => match patients::visit(&app, &request, &patient.id, wanted).await? {
            Some(visit) => Some(visit.id),
            None => return show(&app, &request, &visitor, patient, Some("This is not a visit of the patient.")).await,
        },
    };
    let mut apps = launches::apps(&app.store, app.clock.now()).await?;
    let Some(at) = apps.iter().position(|it| Some(it.client_id.as_str()) == form.get("app")) else {
        return show(&app, &request, &visitor, patient, Some("Choose the app to open.")).await;
    };
    let chosen = apps.swap_remove(at);
    let context = LaunchContext {
        patient: Some(patient.id.clone()),
        encounter,
        // The app takes the whole window: nobody else shows whose record it is.
        need_patient_banner: Some(true),
        ..LaunchContext::default()
    };
    let launched = Launched { account_id: visitor.account.id.clone(), context };
    let made = super::make(&app, &chosen.client_id, launched, Some(visitor.browser.secret.hash())).await?;
    let address = made.address.unwrap_or_default();
    let page = LaunchPage { style: page::STYLE, app_name: &chosen.name, patient: &patient, address: &address };
    let mut response = page::html(StatusCode::OK, &page, None);
    if let Ok(refresh) = header::HeaderValue::from_str(&format!("0; url={address}")) {
        response.headers_mut().insert(header::REFRESH, refresh);
    }
    Ok(response)
}

async fn patient(app: &App, http: &HttpRequest, visitor: &Visitor, id: &str) -> Result<Choice, Refused> {
    let user: &FhirUser = visitor.account.fhir_user.as_ref().ok_or(Refused::NotFound)?;
    patients::patient(app, http, user, None, id).await?.ok_or(Refused::NotFound)
}

async fn show(
    app: &App,
    http: &HttpRequest,
    visitor: &Visitor,
    patient: Choice,
    problem: Option<&str>,
) -> Result<HttpResponse, Refused> {
    let page = PatientPage {
        style: page::STYLE,
        person_name: &visitor.account.name,
        form_token: visitor.form_token(),
        visits: patients::visits(app, http, &patient.id).await?,
        patient,
        apps: launches::apps(&app.store, app.clock.now()).await?,
        problem,
    };
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    Ok(page::html(status, &page, None))
}
