//! EHR launches: `POST /oauth/launch` for an EHR that has its own pages, [`ehr`] for one that has none. (SM-35 … SM-42)
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#launch-app-ehr-launch>
//!
//! ```text
//! EHR ─(POST /oauth/launch)─▶ launch ─▶ app's launch_uri?iss=…&launch=… ─▶ authorize?launch=… ─▶ consent ─▶ token
//! ```
//!
//! A handle is 256 random bits of which the database holds the hash; it is taken once, within five minutes, by the app
//! and for the person it was made for. It gives no right: person, patient and visit are asked for again at consent.
//!
//! | status | when |
//! |---|---|
//! | 201 | `{"launch", "iss", "expires_in"}`, and `launch_uri` where the app has one |
//! | 400 | a member is missing, unknown or wrong; app, person, patient or visit are not known or do not fit together |
//! | 401 | no live access token |
//! | 403 | the token is not one of a program with the scope `launch` |

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use fhir::json::{Json, Object};
use smart::client::{Client, GrantType};
use smart::error::OAuthError;
use smart::grant::Terms;
use smart::launch::{LIFETIME, LaunchContext, Launched, fhir_context};
use smart::redirect_uri;
use smart::scope::Scope;
use smart::token::{Hash, Kind, Secret};
use store::launches::{self, NewLaunch};
use store::users::{self, Account};
use store::{StoreError, clients, tokens};

use super::error::{Failure, json, server_error};
use super::login::fold_username;
use super::{patients, style};
use crate::app::App;
use crate::audit;
use crate::caller::bearer;

pub mod ehr;

/// Longest `intent` and `tenant`.
const MAX_TEXT: usize = 200;

/// Members that the body may have.
const MEMBERS: [&str; 8] =
    ["client_id", "user", "patient", "encounter", "need_patient_banner", "intent", "tenant", "fhirContext"];

/// A launch that was made.
pub struct Made {
    /// What the app presents.
    pub handle: Secret,
    /// Where the browser goes, with `iss` and `launch`, if the app said where it is started.
    pub address: Option<String>,
}

/// The launch context as the token response and introspection tell it (SM-42): with `launch`, also how apps may look.
pub fn members(app: &App, terms: &Terms) -> Vec<(&'static str, Json)> {
    let mut members = terms.context().token_members();
    if terms.scopes().contains(&Scope::Launch) && terms.person().is_some() {
        members.push(("smart_style_url", style::address(app).into()));
    }
    members
}

/// The endpoint.
pub async fn post(app: web::Data<App>, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Failure> {
    if let Some(refused) = refusal(&app, &request).await? {
        return Ok(refused);
    }
    let body = Json::parse(&body).map_err(|error| OAuthError::invalid_request(format!("the body: {error}")))?;
    let members = body.as_object().ok_or_else(|| OAuthError::invalid_request("the body must be a JSON object"))?;
    if members.iter().any(|(name, _)| !MEMBERS.contains(&name)) {
        return Err(OAuthError::invalid_request(format!("the body may have {}", MEMBERS.join(", "))).into());
    }
    let client = launchable(&app, text(&body, "client_id")?.as_deref()).await?;
    let account = account(&app, text(&body, "user")?.as_deref()).await?;
    let context = context(&app, &request, &account, &body).await?;
    let made = make(&app, &client.id, Launched { account_id: account.id, context }, None).await?;
    let mut answer = Object::new();
    answer.insert("launch", made.handle.expose());
    answer.insert("iss", app.config.fhir_base());
    if let Some(address) = made.address {
        answer.insert("launch_uri", address);
    }
    answer.insert("expires_in", LIFETIME / 1_000_000);
    Ok(json(&mut HttpResponse::Created(), answer))
}

/// Writes a launch, and says where the browser goes with it.
pub async fn make(app: &App, client_id: &str, launched: Launched, session: Option<Hash>) -> Result<Made, OAuthError> {
    let handle = Secret::new(Kind::Launch, app.random.bytes());
    let new = NewLaunch { hash: handle.hash(), client_id: client_id.to_owned(), launched, session };
    let now = app.clock.now();
    let written = app.store.write(move |tx| {
        let new = new.clone();
        Box::pin(async move { launches::insert(tx, &new, now).await })
    });
    written.await.map_err(|error: StoreError| server_error(&error))?;
    let uri = launches::launch_uri(&app.store, client_id).await.map_err(|error| server_error(&error))?;
    let parameters = [("iss", app.config.fhir_base()), ("launch", handle.expose().to_owned())];
    let parameters = parameters.each_ref().map(|(name, value)| (*name, value.as_str()));
    Ok(Made { address: uri.map(|uri| redirect_uri::with_parameters(&uri, &parameters)), handle })
}

/// Why the caller may not make launches: that is for programs without a person whose token has the scope `launch`.
async fn refusal(app: &App, request: &HttpRequest) -> Result<Option<HttpResponse>, OAuthError> {
    let refused = |status: StatusCode, code: &str, text: &str| {
        let mut body = Object::new();
        body.insert("error", code);
        body.insert("error_description", text);
        let mut response = HttpResponse::build(status);
        response.insert_header(("WWW-Authenticate", format!("Bearer error=\"{code}\", scope=\"launch\"")));
        Some(json(&mut response, body))
    };
    let unknown = || refused(StatusCode::UNAUTHORIZED, "invalid_token", "a live access token is needed");
    let Ok(token) = bearer(request) else { return Ok(unknown()) };
    let found = tokens::find_access(&app.store, token.hash(), app.clock.now()).await;
    let Some(access) = found.map_err(|error| server_error(&error))? else { return Ok(unknown()) };
    if access.audience != app.config.fhir_base() {
        return Ok(unknown());
    }
    audit::note(request, |noted| noted.client = Some(access.client_id.clone()));
    if access.terms.person().is_some() || !access.terms.scopes().contains(&Scope::Launch) {
        let text = "launches are made by a backend service, or the operator, with the scope launch";
        return Ok(refused(StatusCode::FORBIDDEN, "insufficient_scope", text));
    }
    Ok(None)
}

/// The app, if it can be launched at all.
async fn launchable(app: &App, client_id: Option<&str>) -> Result<Client, OAuthError> {
    let wrong = || OAuthError::invalid_request("client_id names no app that is registered here for the scope launch");
    let client_id = client_id.ok_or_else(|| OAuthError::invalid_request("client_id is required"))?;
    let found = clients::find(&app.store, client_id).await.map_err(|error| server_error(&error))?;
    let now = app.clock.now();
    let can_be = |client: &Client| {
        client.is_active(now)
            && client.scopes.contains(&Scope::Launch)
            && client.check_grant_type(GrantType::AuthorizationCode).is_ok()
    };
    found.filter(can_be).ok_or_else(wrong)
}

/// The person, by the name they sign in with or by their record.
async fn account(app: &App, user: Option<&str>) -> Result<Account, OAuthError> {
    let user = user.ok_or_else(|| {
        OAuthError::invalid_request("user is required: a name to sign in with, or a reference as Practitioner/ID")
    })?;
    let broken = |error: StoreError| server_error(&error);
    let found = if user.contains('/') {
        let all = users::all(&app.store).await.map_err(broken)?;
        let is_it = |account: &Account| account.fhir_user.as_ref().is_some_and(|it| it.to_string() == user);
        let mut found: Vec<Account> = all.into_iter().filter(is_it).collect();
        if found.len() > 1 {
            return Err(OAuthError::invalid_request(
                "user: several accounts are of this record; say which by its name",
            ));
        }
        found.pop()
    } else {
        let username = fold_username(user).unwrap_or_default();
        users::find_by_username(&app.store, &username).await.map_err(broken)?.map(|(account, _)| account)
    };
    let active = found.filter(|account| account.disabled_at.is_none());
    active.ok_or_else(|| OAuthError::invalid_request("user: there is no such account"))
}

/// What is open, if it fits together: the patient is one that the person may see, the visit is that patient's.
async fn context(app: &App, http: &HttpRequest, account: &Account, body: &Json) -> Result<LaunchContext, OAuthError> {
    let (patient, encounter) = (text(body, "patient")?, text(body, "encounter")?);
    if let Some(patient) = &patient {
        let found = match &account.fhir_user {
            Some(user) => patients::patient(app, http, user, None, patient).await?,
            None => None,
        };
        found.ok_or_else(|| OAuthError::invalid_request("patient: there is none of this id whom the user may see"))?;
    }
    if let Some(encounter) = &encounter {
        let patient = patient.as_deref().ok_or_else(|| OAuthError::invalid_request("encounter needs a patient"))?;
        let found = patients::visit(app, http, patient, encounter).await?;
        found.ok_or_else(|| OAuthError::invalid_request("encounter: the patient has none of this id"))?; // SM-39
    }
    let need_patient_banner = match body.get("need_patient_banner") {
        None => None,
        Some(Json::Bool(needed)) => Some(*needed),
        Some(_) => return Err(OAuthError::invalid_request("need_patient_banner is true or false")),
    };
    let fhir_context = body.get("fhirContext").map(fhir_context::check).transpose();
    Ok(LaunchContext {
        patient,
        encounter,
        need_patient_banner,
        intent: text(body, "intent")?,
        tenant: text(body, "tenant")?,
        fhir_context: fhir_context.map_err(OAuthError::invalid_request)?,
    })
}

/// A member that is a string, not empty, not long, and printable.
fn text(body: &Json, name: &str) -> Result<Option<String>, OAuthError> {
    let Some(value) = body.get(name) else { return Ok(None) };
    let text = value.as_str().filter(|it| !it.is_empty() && it.len() <= MAX_TEXT && !it.contains(char::is_control));
    let wrong = || OAuthError::invalid_request(format!("{name} is a string of 1 to {MAX_TEXT} printable characters"));
    text.map(|text| Some(text.to_owned())).ok_or_else(wrong)
}
