//! `GET|POST /oauth/authorize`: an app asks for access.
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#obtain-authorization-code>
//!
//! An unknown client or redirect URI ends on a page here; every other fault goes back to the app (SM-12, OA-02).
//!
//! | parameter | what it does |
//! |---|---|
//! | `launch` | takes the launch of an EHR, once, for this app in this browser (SM-35); comes with the scope `launch` (SM-36) |
//! | `request_uri` | stands for parameters that were pushed (RFC 9126); all others but `client_id` are not looked at |
//! | `prompt` | `login`, `select_account`: the person signs in anew; `none`: refused, because consent is always asked |
//! | `max_age` | the person signs in anew if that was longer ago, in seconds |
//! | `login_hint` | fills the field of the sign-in page |
//! | `nonce` | is echoed in the `id_token` |

use actix_web::{HttpRequest, HttpResponse, web};
use smart::client::{Client, GrantType};
use smart::error::{ErrorCode, OAuthError};
use smart::grant::Request;
use smart::metadata::Metadata;
use smart::pkce::Challenge;
use smart::redirect_uri;
use smart::scope::{Scope, ScopeSet};
use smart::token::{Hash, Kind, Secret};
use store::{StoreError, clients, launches, sessions};

use super::error::server_error;
use super::form::Parameters;
use super::session::Browser;
use super::{page, session};
use crate::access;
use crate::app::App;

/// Longest `state` that is carried.
const MAX_STATE: usize = 4096;

/// Longest `nonce` and `login_hint`.
const MAX_TEXT: usize = 1024;

/// Asked by a link.
pub async fn get(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    answer(&app, &request, Parameters::parse(request.query_string().as_bytes())).await
}

/// Asked by a form, with equal results (SM-11). A form on the app's page comes without our cookie (`SameSite=Lax`), so
/// that the browser is sent round once more, by a link: then we know who is signed in, and keep their session.
pub async fn post(app: web::Data<App>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let parameters = match Parameters::of_form(&request, &body).and_then(Parameters::each_once) {
        Ok(parameters) => parameters,
        Err(error) => return page::error(&error),
    };
    if session::has_cookie(&app, &request) {
        return answer(&app, &request, Ok(parameters)).await;
    }
    page::see_other(&format!("{}/oauth/authorize?{}", app.config.base_url, parameters.to_query()), None)
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

/// A request that can be put to a person.
struct Accepted {
    request: Request,
    launch: Option<Secret>,
    /// `prompt=none`
    silently: bool,
    /// `prompt=login` and its like
    anew: bool,
    /// `max_age`, in seconds.
    max_age: Option<u32>,
    /// An `id_token` of ours: whose session this should be.
    hint: Option<String>,
}

async fn answer(app: &App, request: &HttpRequest, parameters: Result<Parameters, OAuthError>) -> HttpResponse {
    let parameters = match parameters.and_then(Parameters::each_once) {
        Ok(parameters) => parameters,
        Err(error) => return page::error(&error),
    };
    let accepted = match accept(app, &parameters).await {
        Ok(accepted) => accepted,
        Err(refusal) => return refused(app, refusal),
    };
    match begin(app, request, accepted).await {
        Ok(answer) => answer.unwrap_or_else(|refusal| refused(app, refusal)),
        Err(error) => page::error(&server_error(&error)),
    }
}

fn refused(app: &App, refusal: Refusal) -> HttpResponse {
    match refusal {
        Refusal::Here(error) => page::error(&error),
        Refusal::There { redirect_uri, state, error } => {
            page::see_other(&redirect_error(app, &redirect_uri, state.as_deref(), &error), None)
        }
    }
}

/// Whether a request could be put to a person: what is pushed is checked before anybody is asked.
pub(super) async fn check_pushed(app: &App, parameters: &Parameters) -> Result<(), OAuthError> {
    accept(app, parameters).await.map(drop).map_err(|refusal| match refusal {
        Refusal::Here(error) | Refusal::There { error, .. } => error,
    })
}

async fn accept(app: &App, parameters: &Parameters) -> Result<Accepted, Refusal> {
    let here = |text: &str| Refusal::Here(OAuthError::invalid_request(text));
    let client_id = parameters.required("client_id").map_err(Refusal::Here)?;
    let client = clients::find(&app.store, client_id).await.map_err(|error| Refusal::Here(server_error(&error)))?;
    let now = app.clock.now();
    let client =
        client.filter(|client| client.is_active(now)).ok_or_else(|| here("this app is not registered here"))?;
    let pushed = match parameters.get("request_uri") {
        Some(request_uri) => Some(super::par::take(app, client_id, request_uri).await.map_err(Refusal::Here)?),
        None => None,
    };
    let parameters = pushed.as_ref().unwrap_or(parameters);
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
) -> Result<Accepted, OAuthError> {
    if parameters.required("response_type")? != "code" {
        return Err(OAuthError::new(ErrorCode::UnsupportedResponseType, "response_type must be code"));
    }
    client.check_grant_type(GrantType::AuthorizationCode)?;
    if parameters.get("request").is_some() {
        return Err(OAuthError::invalid_request("request is not supported; push the parameters instead"));
    }
    if parameters.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(OAuthError::invalid_request("response_mode must be query"));
    }
    let state = state.ok_or_else(|| OAuthError::invalid_request("state is required, at most 4096 bytes"))?;
    let audience = audience(app, parameters)?;
    let challenge = Challenge::parse(parameters.get("code_challenge"), parameters.get("code_challenge_method"))
        .map_err(|error| OAuthError::invalid_request(error.to_string()))?;
    let (silently, anew) = prompts(parameters)?;
    let launch = launch(parameters)?;
    let request = Request {
        client_id: client.id.clone(),
        redirect_uri: redirect_uri.to_owned(),
        scopes: scopes(app, client, parameters.get("scope").unwrap_or_default())?,
        state: state.to_owned(),
        challenge,
        audience,
        nonce: text(parameters, "nonce")?,
        login_hint: text(parameters, "login_hint")?,
        launch: None,
    };
    let max_age = parameters.get("max_age").map(str::parse).transpose();
    let max_age = max_age.map_err(|_| OAuthError::invalid_request("max_age is a number of seconds"))?;
    let hint = parameters.get("id_token_hint").map(str::to_owned);
    Ok(Accepted { request, launch, silently, anew, max_age, hint })
}

fn text(parameters: &Parameters, name: &str) -> Result<Option<String>, OAuthError> {
    match parameters.get(name) {
        Some(text) if text.len() > MAX_TEXT => Err(OAuthError::invalid_request(format!("{name} is too long"))),
        text => Ok(text.map(str::to_owned)),
    }
}

/// Whether nobody may be asked, and whether the person has to sign in anew. (SM-18)
/// <https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest>
fn prompts(parameters: &Parameters) -> Result<(bool, bool), OAuthError> {
    let prompts: Vec<&str> = parameters.get("prompt").unwrap_or_default().split(' ').collect();
    let silently = prompts.contains(&"none");
    if silently && prompts.len() > 1 {
        return Err(OAuthError::invalid_request("prompt=none stands alone"));
    }
    Ok((silently, prompts.iter().any(|prompt| ["login", "select_account"].contains(prompt))))
}

/// SM-36: the scope and the parameter come together.
fn launch(parameters: &Parameters) -> Result<Option<Secret>, OAuthError> {
    let asked = parameters.get("scope").is_some_and(|scope| scope.split(' ').any(|scope| scope == "launch"));
    match (parameters.get("launch"), asked) {
        (None, false) => Ok(None),
        (Some(_), false) => Err(OAuthError::invalid_request("the parameter launch comes with the scope launch")),
        (None, true) => Err(OAuthError::invalid_request("the scope launch comes with the parameter launch")),
        (Some(handle), true) => Secret::parse(Kind::Launch, handle).map(Some).ok_or_else(unknown_launch),
    }
}

fn unknown_launch() -> OAuthError {
    OAuthError::invalid_request("launch: this launch is unknown, was used, has expired or is another's")
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
    let base = app.config.fhir_base();
    let honoured = asked.narrowed_to(&client.scopes).filtered(|scope| {
        let conditions = match scope {
            Scope::Resource(resource) => access::is_honoured(resource, &base),
            _ => true,
        };
        Metadata::offers(scope) && conditions
    });
    if !honoured.gives_anything() {
        return Err(OAuthError::invalid_scope("none of the requested scopes can be granted to this app"));
    }
    Ok(honoured)
}

/// Keeps the request, bound to this browser, and sends it on to sign in or to consent.
async fn begin(
    app: &App,
    request: &HttpRequest,
    accepted: Accepted,
) -> Result<Result<HttpResponse, Refusal>, StoreError> {
    let browser = Browser::of(app, request).await?;
    let now = app.clock.now();
    let is_recent = |at: Option<i64>| {
        let Some(most) = accepted.max_age else { return true };
        at.is_some_and(|at| now - at <= i64::from(most) * 1_000_000)
    };
    let signed_in = browser.as_ref().filter(|browser| !accepted.anew && is_recent(browser.session.auth_time));
    let mut account = signed_in.and_then(|browser| browser.session.account_id.clone());
    if let Some(hint) = &accepted.hint {
        // Whoever else is signed in is not whom the app means; a hint that is not ours is met by nobody.
        let meant = app.signer.read(hint).await?;
        account = account.filter(|account| meant.is_some_and(|token| token.str("sub") == Some(account.as_str())));
    }
    let there = |error: OAuthError| Refusal::There {
        redirect_uri: accepted.request.redirect_uri.clone(),
        state: Some(accepted.request.state.clone()),
        error,
    };
    if accepted.silently {
        let (code, text) = match account {
            None => (ErrorCode::LoginRequired, "nobody is signed in, or not recently"),
            Some(_) => (ErrorCode::ConsentRequired, "consent is always asked for"),
        };
        return Ok(Err(there(OAuthError::new(code, text))));
    }
    let handle = Secret::new(Kind::Request, app.random.bytes());
    let secret = browser.as_ref().map_or_else(|| session::new_secret(app), |browser| browser.secret.clone());
    let is_new = browser.is_none();
    let next = if account.is_some() { "consent" } else { "login" };
    let asked = Waiting {
        handle: handle.hash(),
        session: secret.hash(),
        is_new,
        account,
        request: accepted.request.clone(),
        launch: accepted.launch.as_ref().map(Secret::hash),
    };
    if let Err(error) = keep(app, asked).await? {
        return Ok(Err(there(error)));
    }
    let location = format!("{}/oauth/{next}?request={}", app.config.base_url, handle.expose());
    Ok(Ok(page::see_other(&location, is_new.then(|| session::cookie(app, &secret)))))
}

/// A request on its way into the database.
#[derive(Clone)]
struct Waiting {
    handle: Hash,
    session: Hash,
    is_new: bool,
    account: Option<String>,
    request: Request,
    launch: Option<Hash>,
}

/// Writes the request, and takes its launch in the same transaction: two requests never share one (SM-35).
async fn keep(app: &App, waiting: Waiting) -> Result<Result<(), OAuthError>, StoreError> {
    let now = app.clock.now();
    app.store
        .write(move |tx| {
            let mut waiting = waiting.clone();
            Box::pin(async move {
                if let Some(launch) = waiting.launch {
                    let taken = launches::take(tx, launch, &waiting.request.client_id, waiting.session, now).await?;
                    let Some(launched) = taken else { return Ok(Err(unknown_launch())) };
                    if waiting.account.as_ref().is_some_and(|account| *account != launched.account_id) {
                        return Ok(Err(unknown_launch()));
                    }
                    waiting.request.launch = Some(launched);
                }
                if waiting.is_new {
                    sessions::open(tx, waiting.session, None, now).await?;
                }
                let account = waiting.account.as_deref();
                sessions::insert_request(tx, waiting.handle, waiting.session, account, &waiting.request, now).await?;
                Ok(Ok(()))
            })
        })
        .await
}
