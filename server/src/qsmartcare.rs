//! The doors of QSmartCare's patient API, for clients that were written for it: `/R4-patient-api/…`, each also with
//! `.php`. What is behind them is the same as everywhere here: app keys of the portal, OAuth answers, FHIR through the
//! same view.
//!
//! | door | what it answers |
//! |---|---|
//! | `POST oauth2/token` | form `grant_type=authorization_code, Client_ID, Client_secret`: access token, refresh token, patient |
//! | `GET single/{Type}?id=` | that resource; of `Patient` without `id` the patient of the token |
//! | `GET multiple/api/{type}` | all of that type that the token shows, as a searchset |
//!
//! | status | when |
//! |---|---|
//! | 400 | the form or a parameter cannot be understood |
//! | 401 | "Wrong Client_ID or Client_secret Key"; "User session not found. User must re-authenticate" |
//! | 403 | the app may see nothing: no record linked, no patients chosen, taken back; or no scope for this type |
//! | 404 | unknown or hidden (LK-10) |
//! | 429 | more requests of this client in a second than the setting `client-requests` |

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use fhir::json::Object;
use smart::client::Client;
use smart::error::{ErrorCode, OAuthError};
use smart::grant::lifetime;
use smart::token::{Kind, Secret};
use store::apps::{self, Registration};
use store::grants::{self, NewGrant};
use store::usage::Failed;
use store::users::{self, Account};
use store::{StoreError, clients, sharing, withdrawals};

use crate::account::visitor::Refused;
use crate::app::App;
use crate::audit;
use crate::caller::{self, Caller};
use crate::error::Error;
use crate::oauth::error::{json, server_error};
use crate::oauth::form::Parameters;
use crate::oauth::issue::Issue;
use crate::portal::own_access::{self, NoAccess};
use crate::rest::response::{Answer, Presentation};
use crate::rest::{read, request as rest_request, search};
use crate::routes::path_of;
use crate::usage::Whose;

const WRONG_KEY: &str = "Wrong Client_ID or Client_secret Key";
const NO_SESSION: &str = "User session not found. User must re-authenticate";

/// `POST oauth2/token`.
pub async fn token(app: web::Data<App>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    match answer_token(&app, &request, &body).await {
        Ok(answer) => answer,
        Err(error) => refused(&error),
    }
}

/// `GET single/{Type}?id=`.
pub async fn single(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    answered(&app, &request, async |caller: &Caller, resource_type: &str| {
        let query = rest_request::pairs(request.query_string())?;
        let id = query.iter().find(|(name, _)| name == "id").map(|(_, id)| id.as_str());
        let own = caller.patient.as_deref().filter(|_| resource_type == "Patient");
        let missing = || Error::bad_request("id is required: the logical id of the resource");
        let id = id.filter(|id| !id.is_empty()).or(own).ok_or_else(missing)?;
        if !fhir::id::is_valid(id) {
            return Err(Error::bad_request("id is not a logical id: 1 to 64 letters, digits, - and ."));
        }
        let read = read::Read { resource_type, id, if_none_match: None, if_modified_since: None };
        read::execute(&app, caller, read).await
    })
    .await
}

/// `GET multiple/api/{type}`; search parameters of the type narrow it.
pub async fn multiple(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    answered(&app, &request, async |caller: &Caller, resource_type: &str| {
        let query = search::parameters(request.query_string())?;
        search::execute(&app, caller, resource_type, &query, false).await
    })
    .await
}

async fn answer_token(app: &App, request: &HttpRequest, body: &[u8]) -> Result<HttpResponse, OAuthError> {
    let form = Parameters::of_form(request, body)?.each_once()?;
    let named = |names: [&str; 2]| names.into_iter().find_map(|name| form.get(name)).unwrap_or_default();
    let (client_id, secret) = (named(["Client_ID", "client_id"]), named(["Client_secret", "client_secret"]));
    match form.required("grant_type")? {
        "authorization_code" => {}
        "refresh_token" => return refresh(app, request, &form, client_id, secret).await,
        _ => {
            let text = "grant_type must be authorization_code or refresh_token";
            return Err(OAuthError::new(ErrorCode::UnsupportedGrantType, text));
        }
    }
    let (client, registration, owner) = authenticated(app, request, client_id, secret).await?;
    let issue = Issue::new(app, lifetime::ACCESS);
    let grant = own_access::grant(app, &client, &registration, &owner, issue.now).await;
    let grant = grant.map_err(|error: Refused| server_error(&error))?;
    let denied = |why: NoAccess| OAuthError::new(ErrorCode::AccessDenied, why.to_string());
    let mut grant: NewGrant = grant.map_err(denied)?;
    grant.expires_at = grants::end_of(&grant.terms, issue.now);
    let written = issue.clone();
    let issued = app.store.write(move |tx| {
        let (issue, mut grant, owner) = (written.clone(), grant.clone(), owner.id.clone());
        Box::pin(async move {
            if withdrawals::is_one_now(tx, &owner, &grant.client_id).await? {
                return Ok(None);
            }
            match sharing::standing(tx, &grant.client_id, &grant.terms, issue.now).await? {
                Some((id, expires_at)) => (grant.id, grant.expires_at) = (id, expires_at),
                None => grants::insert(tx, &grant, issue.now).await?,
            }
            let renewable = grant.terms.is_renewable();
            issue.write(tx, (&grant.id, grant.expires_at), grant.terms, renewable).await.map(Some)
        })
    });
    let issued = issued.await.map_err(|error: StoreError| server_error(&error))?;
    let issued = issued.ok_or_else(|| denied(NoAccess::Withdrawn))?;
    Ok(issue.answer(app, issued).await.unwrap_or_else(|failure| failure.error_response()))
}

/// The app of a key, and its developer; one answer for all that can be wrong.
async fn authenticated(
    app: &App,
    request: &HttpRequest,
    client_id: &str,
    secret: &str,
) -> Result<(Client, Registration, Account), OAuthError> {
    let wrong = || OAuthError::new(ErrorCode::InvalidClient, WRONG_KEY);
    let broken = |error: StoreError| server_error(&error);
    let (store, now) = (&app.store, app.clock.now());
    let client = clients::find(store, client_id).await.map_err(broken)?;
    if let Some(client) = &client {
        audit::note(request, |noted| noted.client = Some(client.id.clone()));
    }
    let client = client.filter(|client| client.is_active(now) && client.has_secret()).ok_or_else(wrong)?;
    let secret = Secret::parse(Kind::ClientSecret, secret).ok_or_else(wrong)?;
    if !clients::has_secret(store, &client.id, secret.hash(), now).await.map_err(broken)? {
        return Err(wrong());
    }
    let registration = apps::find(store, client_id).await.map_err(broken)?.ok_or_else(wrong)?;
    let owner = users::find(store, &registration.account_id).await.map_err(broken)?;
    let owner = owner.filter(|owner| owner.disabled_at.is_none()).ok_or_else(wrong)?;
    Ok((client, registration, owner))
}

/// A refresh token is exchanged where all are, under the names that OAuth has for the fields.
async fn refresh(
    app: &App,
    request: &HttpRequest,
    form: &Parameters,
    client_id: &str,
    secret: &str,
) -> Result<HttpResponse, OAuthError> {
    let pairs = [
        ("grant_type", "refresh_token"),
        ("client_id", client_id),
        ("client_secret", secret),
        ("refresh_token", form.get("refresh_token").unwrap_or_default()),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let state = web::Data::new(app.clone());
    let answer = crate::oauth::token::post(state, request.clone(), web::Bytes::from(body)).await;
    Ok(answer.unwrap_or_else(|failure| failure.error_response()))
}

/// An OAuth error, with the member in which these clients look for it.
fn refused(error: &OAuthError) -> HttpResponse {
    let status = match error.code {
        ErrorCode::AccessDenied => StatusCode::FORBIDDEN,
        code => StatusCode::from_u16(code.status()).unwrap_or(StatusCode::BAD_REQUEST),
    };
    let mut body = Object::new();
    body.insert("error", error.code.as_str());
    body.insert("error_description", error.description.as_str());
    body.insert("Result", format!("Error: {}", error.description));
    json(&mut HttpResponse::build(status), body)
}

/// The answer for the caller of a request, counted for the app.
async fn answered(
    app: &App,
    request: &HttpRequest,
    work: impl AsyncFnOnce(&Caller, &str) -> Result<Answer, Error>,
) -> HttpResponse {
    let caller = match caller(app, request).await {
        Ok(caller) => caller,
        Err(error) => return error.error_response(),
    };
    let result = async {
        let resource_type = resource_type(request.match_info().query("type"))?;
        work(&caller, resource_type).await?.respond(Presentation::of(request)?)
    };
    let mut response = result.await.unwrap_or_else(|error: Error| error.error_response());
    let headers = response.headers_mut();
    headers.insert(header::VARY, header::HeaderValue::from_static("Accept, Authorization"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("private, no-cache"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    let (now, status) = (app.clock.now(), response.status().as_u16());
    let failed = (status >= 400).then(|| Failed {
        at: now,
        request: format!("GET {}", path_of(request)),
        status: i64::from(status),
        problem: String::new(),
    });
    app.usage.note(Whose { client_id: caller.client_id, grant_id: caller.grant_id }, now, failed);
    response
}

async fn caller(app: &App, request: &HttpRequest) -> Result<Caller, Error> {
    let no_session =
        || Error::unauthorized(NO_SESSION).with_header("WWW-Authenticate", "Bearer error=\"invalid_token\"");
    let token = caller::bearer(request).map_err(|_| no_session())?;
    let caller = caller::authenticate(app, token).await.map(|caller| caller.attached(request));
    let caller = caller.map_err(|error| if error.status() == 401 { no_session() } else { error })?;
    app.rates.admit(&caller, app)?;
    Ok(caller)
}

/// `Patient`, `patient`, `patient.php`: the resource type.
fn resource_type(named: &str) -> Result<&'static str, Error> {
    let named = named.strip_suffix(".php").unwrap_or(named);
    let known = fhir::definitions::resource_types().iter().find(|known| known.eq_ignore_ascii_case(named));
    known.map(String::as_str).ok_or_else(|| Error::not_found("there is no such resource type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_named_as_those_clients_do() {
        for named in ["Patient", "patient", "Patient.php", "patient.php"] {
            assert_eq!(resource_type(named).expect("known"), "Patient");
        }
        for named in ["", ".php", "Patient.asp", "Nothing", "Patient.php.php"] {
            assert_eq!(resource_type(named).expect_err("unknown").status(), 404, "{named}");
        }
    }
}
