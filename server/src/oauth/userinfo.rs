//! `GET|POST /oauth/userinfo`: who signed in, for apps that hold an access token with the scope `openid`.
//! <https://openid.net/specs/openid-connect-core-1_0.html#UserInfo>

use actix_web::{HttpRequest, HttpResponse, web};
use fhir::json::Object;
use smart::id_token;
use smart::scope::Scope;
use smart::token::Secret;
use store::tokens;

use super::error::{json, server_error};
use super::metadata::metadata;
use crate::app::App;
use crate::audit;
use crate::caller::bearer;

/// The endpoint: the same subject as in the `id_token`, and no more than the token's scopes tell.
pub async fn handler(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    match bearer(&request) {
        Ok(token) => answer(&app, &request, token).await,
        Err(_) if request.headers().contains_key("authorization") => refused(401, Some("invalid_token")),
        Err(_) => refused(401, None),
    }
}

async fn answer(app: &App, request: &HttpRequest, token: Secret) -> HttpResponse {
    let access = match tokens::find_access(&app.store, token.hash(), app.clock.now()).await {
        Ok(access) => access.filter(|access| access.audience == app.config.fhir_base()),
        Err(error) => {
            server_error(&error);
            return refused(500, Some("server_error"));
        }
    };
    let Some(access) = access else { return refused(401, Some("invalid_token")) };
    audit::note(request, |noted| {
        noted.client = Some(access.client_id.clone());
        let person = access.terms.person();
        noted.account = person.map(|person| person.user_id.clone());
        noted.fhir_user = person.and_then(|person| person.fhir_user.as_ref()).map(ToString::to_string);
    });
    let person = access.terms.person().filter(|_| access.terms.scopes().contains(&Scope::OpenId));
    let Some(person) = person else { return refused(403, Some("insufficient_scope")) };
    let mut body = Object::new();
    body.insert("sub", person.user_id.as_str());
    if let Some(fhir_user) = id_token::fhir_user(&metadata(app), &access.terms) {
        body.insert("fhirUser", fhir_user.as_str());
        body.insert("profile", fhir_user);
    }
    json(&mut HttpResponse::Ok(), body)
}

/// <https://www.rfc-editor.org/rfc/rfc6750#section-3>: without a token, nothing but the way to show one is told.
fn refused(status: u16, error: Option<&str>) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
    let (mut response, mut body) = (HttpResponse::build(status), Object::new());
    let challenge = match error {
        Some("insufficient_scope") => "Bearer error=\"insufficient_scope\", scope=\"openid\"".to_owned(),
        Some(error) => format!("Bearer error=\"{error}\""),
        None => "Bearer".to_owned(),
    };
    response.insert_header(("WWW-Authenticate", challenge));
    if let Some(error) = error {
        body.insert("error", error);
    }
    json(&mut response, body)
}
