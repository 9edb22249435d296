//! `[base]/.well-known/smart-configuration`, `/.well-known/openid-configuration` and
//! `/.well-known/oauth-authorization-server`. <https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html>
//!
//! `/.well-known/user-access-brands` names this server to people who look for it in an app.
//!
//! JSON whatever `Accept` says, for any origin, without a token (SM-01).

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fhir::json::Json;
use sha2::{Digest as _, Sha256};
use smart::metadata::Metadata;

use crate::app::App;
use crate::rest::response::JSON;

/// What the authorization server says about itself.
pub fn metadata(app: &App) -> Metadata {
    Metadata::new(app.config.base_url.clone())
}

/// SMART's document.
pub async fn smart_configuration(app: web::Data<App>) -> HttpResponse {
    answer(&metadata(&app).smart_configuration())
}

/// RFC 8414, of the same struct.
pub async fn authorization_server(app: web::Data<App>) -> HttpResponse {
    answer(&metadata(&app).authorization_server())
}

/// OpenID Connect Discovery, of the same struct.
pub async fn openid_configuration(app: web::Data<App>) -> HttpResponse {
    answer(&metadata(&app).openid_configuration())
}

/// The names under which people look for this server (SM-81). The instant at which it is put together is that of the
/// request; what it says changes with the settings only, so that is what its `ETag` is made of.
pub async fn brands(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let metadata = metadata(&app);
    let digest = Sha256::digest(metadata.brands(&app.config.organization, "").to_string());
    let tag = format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..12]));
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let is_known = known.is_some_and(|known| known.split(',').any(|it| it.trim() == "*" || it.trim() == tag));
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((header::CACHE_CONTROL, "public, max-age=300")).insert_header((header::ETAG, tag));
    if is_known {
        return response.finish();
    }
    let now = fhir::date::format_instant(app.clock.now());
    let body = metadata.brands(&app.config.organization, &now).to_string();
    response.content_type(JSON).body(body)
}

fn answer(document: &Json) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("Cache-Control", "public, max-age=300"))
        .content_type("application/json")
        .body(document.to_string())
}

#[cfg(test)]
mod tests {
    use crate::routes::OTHER_ROUTES;
    use smart::metadata::{BRANDS, ENDPOINTS, USERINFO};

    /// SM-07: what is stated is there.
    #[test]
    fn sm_07_each_endpoint_has_a_route() {
        for path in ENDPOINTS.iter().map(|(_, _, path)| *path).chain([USERINFO, BRANDS]) {
            assert!(OTHER_ROUTES.iter().any(|row| row.path == path), "{path} is stated, and no route");
        }
    }
}
