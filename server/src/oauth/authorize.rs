//! `GET|POST /oauth/authorize`: an app asks for access.
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#obtain-authorization-code>
//!
//! An unknown client or redirect URI ends on a page here; every other fault goes back to the app (SM-12, OA-02).

use actix_web::{HttpRequest, HttpResponse, web};
use smart::client::{Client, GrantType};
use smart::error::{ErrorCode, OAuthError};
use smart::grant::Request;
use smart::metadata::Metadata;
use smart::pkce::Challenge;
use smart::redirect_uri;
use smart::scope::{Scope, ScopeSet};
use smart::token::{Kind, Secret};
use store::{StoreError, clients, sessions};

use super::error::server_error;
use super::form::Parameters;
use super::session::Browser;
use super::{page, session};
use crate::access;
use crate::app::App;

/// Longest `state` that is carried.
const MAX_STATE: usize = 4096;

/// Asked by a link.
pub async fn get(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    answer(&app, &request, Parameters::parse(request.query_string().as_bytes())).await
}

/// Asked by a form, with equal results (SM-11).
pub async fn post(app: web::Data<App>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    answer(&app, &request, Parameters::of_form(&request, &body)).await
}

/// The address that carries an answer to the app, with its own state and our name (SM-15, SM-17).
pub fn redirect(app: &App, redirect_uri: &str, state: Option<&str>, answer: &[(&str, &str)]) -> String {
    let mut parameters = answer.to_vec();
    parameters.extend(state.map(|state| ("state", state)));
    parameters.push(("iss", &app.config.base_url));
    redirect_uri::with_parameters(redirect_uri, &parameters)
}

/// The address that carries an error to the app.
pub fn redirect_error(app: &App, redirect_uri: &str, state: Option<&str>, error: &OAuthError) -> String {
    let answer = [("error", error.code.as_str()), ("error_description", error.description.as_str())];
    redirect(app, redirect_uri, state, &answer)
}

enum Refusal {
    /// Told to the person.
    Here(OAuthError),
    /// Told to the app.
    There { redirect_uri: String, state: Option<String>, error: OAuthError },
}

async fn answer(app: &App, request: &HttpRequest, parameters: Result<Parameters, OAuthError>) -> HttpResponse {
    let parameters = match parameters.and_then(Parameters::each_once) {
        Ok(parameters) => parameters,
        Err(error) => return page::error(&error),
    };
    match accept(app, &parameters).await {
        Ok(asked) => begin(app, request, asked).await.unwrap_or_else(|error| page::error(&server_error(&error))),
        Err(Refusal::Here(error)) => page::error(&error),
        Err(Refusal::There { redirect_uri, state, error }) => {
            page::see_other(&redirect_error(app, &redirect_uri, state.as_deref(), &error), None)
        }
    }
}

async fn accept(app: &App, parameters: &Parameters) -> Result<Request, Refusal> {
    let here = |text: &str| Refusal::Here(OAuthError::invalid_request(text));
    let client_id = parameters.required("client_id").map_err(Refusal::Here)?;
    let client = clients::find(&app.store, client_id).await.map_err(|error| Refusal::Here(server_error(&error)))?;
    let now = app.clock.now();
    let client =
        client.filter(|client| client.is_active(now)).ok_or_else(|| here("this app is not registered here"))?;
    let redirect_uri = parameters.required("redirect_uri").map_err(Refusal::Here)?;
    if !client.has_redirect_uri(redirect_uri) {
        return Err(here("redirect_uri is not registered for this app"));
    }
    let state = parameters.get("state").filter(|state| state.len() <= MAX_STATE);
    check(app, &client, redirect_uri, state, parameters).map_err(|error| Refusal::There {
        redirect_uri: redirect_uri.to_owned(),
        state: state.map(str::to_owned),
        error,
    })
}

fn check(
    app: &App,
    client: &Client,
    redirect_uri: &str,
    state: Option<&str>,
    parameters: &Parameters,
) -> Result<Request, OAuthError> {
    if parameters.required("response_type")? != "code" {
        return Err(OAuthError::new(ErrorCode::UnsupportedResponseType, "response_type must be code"));
    }
    client.check_grant_type(GrantType::AuthorizationCode)?;
    for refused in ["request", "request_uri"] {
        if parameters.get(refused).is_some() {
            return Err(OAuthError::invalid_request(format!("{refused} is not supported")));
        }
    }
    if parameters.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(OAuthError::invalid_request("response_mode must be query"));
    }
    if parameters.get("prompt") == Some("none") {
        return Err(OAuthError::new(ErrorCode::InteractionRequired, "consent is always asked for"));
    }
    let state = state.ok_or_else(|| OAuthError::invalid_request("state is required, at most 4096 bytes"))?;
    let audience = audience(app, parameters)?;
    let challenge = Challenge::parse(parameters.get("code_challenge"), parameters.get("code_challenge_method"))
        .map_err(|error| OAuthError::invalid_request(error.to_string()))?;
    if parameters.get("launch").is_some() {
        return Err(OAuthError::invalid_request("launch: this server does not know this launch"));
    }
    let scopes = scopes(app, client, parameters.get("scope").unwrap_or_default())?;
    Ok(Request {
        client_id: client.id.clone(),
        redirect_uri: redirect_uri.to_owned(),
        scopes,
        state: state.to_owned(),
        challenge,
        audience,
    })
}

/// SM-13: `aud` or `resource` names this FHIR server.
fn audience(app: &App, parameters: &Parameters) -> Result<String, OAuthError> {
    let base = app.config.fhir_base();
    let named: Vec<&str> = ["aud", "resource"].iter().filter_map(|name| parameters.get(name)).collect();
    if named.is_empty() {
        return Err(OAuthError::invalid_request(format!("aud is required: {base}")));
    }
    let ours = named.iter().all(|audience| audience.strip_suffix('/').unwrap_or(audience) == base);
    if ours { Ok(base) } else { Err(OAuthError::new(ErrorCode::InvalidTarget, format!("aud must be {base}"))) }
}

/// What is asked, cut down to what can be granted to this client at all; undefined scopes fall out (SM-21, SM-28).
fn scopes(app: &App, client: &Client, text: &str) -> Result<ScopeSet, OAuthError> {
    let (asked, _) = ScopeSet::parse_known(text).map_err(|error| OAuthError::invalid_scope(error.to_string()))?;
    if asked.contains(&Scope::Launch) {
        return Err(OAuthError::invalid_request("the scope launch comes with the parameter launch (SM-36)"));
    }
    let base = app.config.fhir_base();
    let honoured = asked.narrowed_to(&client.scopes).filtered(|scope| {
        let conditions = match scope {
            Scope::Resource(resource) => access::is_honoured(resource, &base),
            _ => true,
        };
        Metadata::offers(scope) && conditions
    });
    if honoured.resources().next().is_none() && !honoured.contains(&Scope::LaunchPatient) {
        return Err(OAuthError::invalid_scope("none of the requested scopes can be granted to this app"));
    }
    Ok(honoured)
}

/// Keeps the request, bound to this browser, and sends it on to sign in or to consent.
async fn begin(app: &App, request: &HttpRequest, asked: Request) -> Result<HttpResponse, StoreError> {
    let browser = Browser::of(app, request).await?;
    let handle = Secret::new(Kind::Request, app.random.bytes());
    let secret = browser.as_ref().map_or_else(|| session::new_secret(app), |browser| browser.secret.clone());
    let is_new = browser.is_none();
    let account = browser.and_then(|browser| browser.session.account_id);
    let next = if account.is_some() { "consent" } else { "login" };
    let (handle_hash, session_hash, now) = (handle.hash(), secret.hash(), app.clock.now());
    app.store
        .write(move |tx| {
            let (asked, account) = (asked.clone(), account.clone());
            Box::pin(async move {
                if is_new {
                    sessions::open(tx, session_hash, None, now).await?;
                }
                sessions::insert_request(tx, handle_hash, session_hash, account.as_deref(), &asked, now).await
            })
        })
        .await?;
    let location = format!("{}/oauth/{next}?request={}", app.config.base_url, handle.expose());
    Ok(page::see_other(&location, is_new.then(|| session::cookie(app, &secret))))
}
