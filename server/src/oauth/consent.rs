//! `GET|POST /oauth/consent`: may this app do that? (OA-14, OA-16, OA-18, SM-28, SM-37)

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use smart::error::{ErrorCode, OAuthError};
use smart::grant::{Authorization, Code, Person, Request, Terms, lifetime};
use smart::launch;
use smart::scope::{Level, Scope, ScopeSet};
use smart::token::{Kind, Secret};
use store::grants::{self, NewGrant};
use store::{StoreError, clients, sessions, users};

use super::authorize::{redirect, redirect_error};
use super::error::server_error;
use super::form::Parameters;
use super::page;
use super::session::{self, Browser};
use crate::access;
use crate::app::App;

mod patients;
mod wording;

use patients::Choices;
use wording::Heading;

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentPage<'a> {
    style: &'a str,
    app_name: &'a str,
    app_address: &'a str,
    client_id: &'a str,
    person_name: &'a str,
    username: &'a str,
    handle: &'a str,
    form_token: String,
    headings: Vec<Heading>,
    limits: Vec<String>,
    needs_patient: bool,
    patients: Choices,
    chosen_patient: &'a str,
    is_own_record: bool,
    patient_problem: Option<&'a str>,
    sharing_problem: Option<&'a str>,
}

/// Why an answer cannot be taken as it is; shown beside what has to change.
#[derive(Clone, Copy)]
enum Problem {
    Patient(&'static str),
    Sharing(&'static str),
}

/// A signed-in person with a request to answer.
struct Asked {
    browser: Browser,
    handle: Secret,
    authorization: Authorization,
    person: Person,
    /// What this person can give at all.
    scopes: ScopeSet,
}

/// Why there is nothing to answer.
enum Stop {
    /// The person has to sign in first.
    SignIn(Secret),
    /// It is over.
    Error(OAuthError),
}

impl From<OAuthError> for Stop {
    fn from(error: OAuthError) -> Self {
        Stop::Error(error)
    }
}

/// The page.
pub async fn get(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let shown = async {
        let parameters = Parameters::parse(request.query_string().as_bytes())?;
        let asked = asked(&app, &request, &parameters).await?;
        Ok(show(&app, &asked, None, None).await?)
    };
    shown.await.unwrap_or_else(|stop| stopped(&app, stop))
}

/// The answer.
pub async fn post(app: web::Data<App>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let answered = async {
        let form = Parameters::of_form(&request, &body)?;
        let asked = asked(&app, &request, &form).await?;
        if !asked.browser.sent_form(asked.handle.expose(), form.get("form_token")) {
            let text = "the form has expired; start again from the app";
            return Err(OAuthError::new(ErrorCode::AccessDenied, text).into());
        }
        match form.get("decision") {
            Some("allow") => allow(&app, asked, &form).await,
            Some("switch") => switch(&app, asked).await,
            // Enter on a box presses the first button of a form: that one, so that nothing is allowed by accident.
            Some("again") => Ok(show(&app, &asked, None, Some(&form)).await?),
            _ => deny(&app, asked).await,
        }
    };
    answered.await.unwrap_or_else(|stop| stopped(&app, stop))
}

async fn asked(app: &App, request: &HttpRequest, parameters: &Parameters) -> Result<Asked, Stop> {
    let gone = || OAuthError::invalid_request("this request is no longer open; start again from the app");
    let handle = parameters.get("request").and_then(|text| Secret::parse(Kind::Request, text)).ok_or_else(gone)?;
    let browser = Browser::of(app, request).await.map_err(|error| server_error(&error))?.ok_or_else(gone)?;
    let found = sessions::find_request(&app.store, handle.hash(), browser.secret.hash(), app.clock.now()).await;
    let authorization = found.map_err(|error| server_error(&error))?.ok_or_else(gone)?;
    let person = match &authorization {
        Authorization::SignedIn { person, .. } => person.clone(),
        _ => return Err(Stop::SignIn(handle)),
    };
    if browser.session.account_id.as_ref() != Some(&person.user_id) {
        return Err(gone().into());
    }
    let scopes = authorization.request().scopes.filtered(|scope| can_give(&person, scope));
    Ok(Asked { browser, handle, authorization, person, scopes })
}

/// SM-28: what a person without a record of their own cannot do, they cannot give.
fn can_give(person: &Person, scope: &Scope) -> bool {
    match scope {
        Scope::Resource(resource) if resource.level == Level::System => false,
        Scope::Resource(_) | Scope::LaunchPatient => person.fhir_user.is_some(),
        _ => true,
    }
}

/// The page, filled in as the person had filled it in, if they had.
async fn show(
    app: &App,
    asked: &Asked,
    problem: Option<Problem>,
    form: Option<&Parameters>,
) -> Result<HttpResponse, OAuthError> {
    let request = asked.authorization.request();
    let (store, broken) = (&app.store, |error: StoreError| server_error(&error));
    let client = clients::find(store, &request.client_id).await.map_err(broken)?;
    let account = users::find(store, &asked.person.user_id).await.map_err(broken)?;
    let needs_patient = launch::needs_patient(&asked.scopes);
    let patients = if needs_patient { patients::choices(app, &asked.person).await? } else { Choices::default() };
    let is_own_record = patients::is_own_record(&asked.person);
    let handle = asked.handle.expose();
    let ticked = form.map(|form| ticked(&asked.scopes, form));
    let consent = ConsentPage {
        style: page::STYLE,
        app_name: client.as_ref().map_or(request.client_id.as_str(), |client| client.name.as_str()),
        app_address: &request.redirect_uri,
        client_id: &request.client_id,
        person_name: account.as_ref().map_or("", |account| account.name.as_str()),
        username: account.as_ref().map_or("", |account| account.username.as_str()),
        handle,
        form_token: asked.browser.form_token(handle),
        headings: wording::headings(&asked.scopes, ticked.as_ref(), is_own_record),
        limits: wording::limits(&asked.scopes, is_own_record),
        needs_patient,
        patients,
        chosen_patient: form.and_then(|form| form.get("patient")).unwrap_or_default(),
        is_own_record,
        patient_problem: problem
            .and_then(|problem| if let Problem::Patient(text) = problem { Some(text) } else { None }),
        sharing_problem: problem
            .and_then(|problem| if let Problem::Sharing(text) = problem { Some(text) } else { None }),
    };
    Ok(page::html(StatusCode::OK, &consent, Some(&request.redirect_uri)))
}

/// The part of what was asked that is ticked: a form cannot add to it.
fn ticked(asked: &ScopeSet, form: &Parameters) -> ScopeSet {
    let ticks: Vec<&str> = form.all("scope").collect();
    let (ticked, _) = ScopeSet::parse_known(&ticks.join(" ")).unwrap_or_default();
    asked.filtered(|scope| ticked.contains(scope))
}

async fn allow(app: &App, asked: Asked, form: &Parameters) -> Result<HttpResponse, Stop> {
    let nothing = Problem::Sharing("Choose at least one kind of data to share, or deny.");
    let ticked = ticked(&asked.scopes, form);
    if ticked.is_empty() {
        return Ok(show(app, &asked, Some(nothing), Some(form)).await?);
    }
    let patient = match chosen_patient(app, &asked.person, &ticked, form).await? {
        Ok(patient) => patient,
        Err(text) => return Ok(show(app, &asked, Some(Problem::Patient(text)), Some(form)).await?),
    };
    match asked.authorization.clone().approve(&ticked, patient) {
        Ok(Authorization::Approved { request, terms }) => Ok(issue_code(app, &asked, &request, terms).await?),
        Ok(_) => Err(OAuthError::new(ErrorCode::ServerError, "the request is in no state to be allowed").into()),
        Err(_) => Ok(show(app, &asked, Some(nothing), Some(form)).await?),
    }
}

/// SM-37: whatever the form says, only a patient of this person is taken.
async fn chosen_patient(
    app: &App,
    person: &Person,
    ticked: &ScopeSet,
    form: &Parameters,
) -> Result<Result<Option<String>, &'static str>, OAuthError> {
    if !launch::needs_patient(ticked) {
        return Ok(Ok(None));
    }
    let Some(user) = &person.fhir_user else { return Ok(Err("Your account is not linked to a record.")) };
    let allowed = access::patients_of(app, user).await.map_err(|error| server_error(&error))?;
    let chosen = match form.get("patient") {
        Some(chosen) => Some(chosen),
        None if allowed.len() == 1 => allowed.first().map(String::as_str),
        None => None,
    };
    Ok(match chosen {
        Some(chosen) if allowed.iter().any(|patient| patient == chosen) => Ok(Some(chosen.to_owned())),
        Some(_) => Err("You cannot share this patient's record."),
        None => Err("Choose the patient whose record the app may use."),
    })
}

async fn issue_code(app: &App, asked: &Asked, request: &Request, terms: Terms) -> Result<HttpResponse, OAuthError> {
    let code = Secret::new(Kind::Code, app.random.bytes());
    let now = app.clock.now();
    let kept = Code {
        client_id: request.client_id.clone(),
        redirect_uri: request.redirect_uri.clone(),
        challenge: request.challenge,
        expires_at: now + lifetime::CODE,
        used_at: None,
    };
    let session = asked.browser.secret.hash();
    let grant = NewGrant {
        id: app.random.uuid(),
        client_id: request.client_id.clone(),
        audience: request.audience.clone(),
        session: Some(session),
        expires_at: grants::end_of(&terms, now),
        terms,
    };
    let (handle, code_hash) = (asked.handle.hash(), code.hash());
    let written = app.store.write(move |tx| {
        let (grant, kept) = (grant.clone(), kept.clone());
        Box::pin(async move {
            if !sessions::spend_request(tx, handle, session, now).await? {
                return Ok(false);
            }
            grants::insert(tx, &grant, now).await?;
            grants::insert_code(tx, code_hash, &grant.id, &kept, now).await?;
            grants::sweep(tx, now).await?;
            Ok(true)
        })
    });
    if !written.await.map_err(|error: StoreError| server_error(&error))? {
        return Err(OAuthError::invalid_request("this request has been answered already"));
    }
    let location = redirect(app, &request.redirect_uri, Some(&request.state), &[("code", code.expose())]);
    Ok(page::see_other(&location, None))
}

async fn deny(app: &App, asked: Asked) -> Result<HttpResponse, Stop> {
    let Authorization::Denied { request, error } = asked.authorization.deny("the person did not allow it")? else {
        return Err(OAuthError::new(ErrorCode::ServerError, "the request is in no state to be denied").into());
    };
    let (handle, session, now) = (asked.handle.hash(), asked.browser.secret.hash(), app.clock.now());
    let spent =
        app.store.write(move |tx| Box::pin(async move { sessions::spend_request(tx, handle, session, now).await }));
    spent.await.map_err(|error: StoreError| server_error(&error))?;
    Ok(page::see_other(&redirect_error(app, &request.redirect_uri, Some(&request.state), &error), None))
}

/// Signs out, and lets somebody else answer the same request.
async fn switch(app: &App, asked: Asked) -> Result<HttpResponse, Stop> {
    let secret = session::new_secret(app);
    let (old, new, handle, now) = (asked.browser.secret.hash(), secret.hash(), asked.handle.hash(), app.clock.now());
    let released = app.store.write(move |tx| {
        Box::pin(async move {
            sessions::end(tx, old, now).await?;
            sessions::open(tx, new, None, now).await?;
            sessions::release_request(tx, handle, old, new).await
        })
    });
    released.await.map_err(|error: StoreError| server_error(&error))?;
    Ok(page::see_other(&login_address(app, &asked.handle), Some(session::cookie(app, &secret))))
}

fn stopped(app: &App, stop: Stop) -> HttpResponse {
    match stop {
        Stop::SignIn(handle) => page::see_other(&login_address(app, &handle), None),
        Stop::Error(error) => page::error(&error),
    }
}

fn login_address(app: &App, handle: &Secret) -> String {
    format!("{}/oauth/login?request={}", app.config.base_url, handle.expose())
}
