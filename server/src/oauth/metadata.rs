//! `[base]/.well-known/smart-configuration`, `/.well-known/openid-configuration` and
//! `/.well-known/oauth-authorization-server`. <https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html>
//!
//! JSON whatever `Accept` says, for any origin, without a token (SM-01).

use actix_web::{HttpResponse, web};
use fhir::json::Json;
use smart::metadata::Metadata;

use crate::app::App;

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

fn answer(document: &Json) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("Cache-Control", "public, max-age=300"))
        .content_type("application/json")
        .body(document.to_string())
}

#[cfg(test)]
mod tests {
    use crate::routes::OTHER_ROUTES;
    use smart::metadata::{ENDPOINTS, USERINFO};

    /// SM-07: what is stated is there.
    #[test]
    fn sm_07_each_endpoint_has_a_route() {
        for path in ENDPOINTS.iter().map(|(_, _, path)| *path).chain([USERINFO]) {
            assert!(OTHER_ROUTES.iter().any(|row| row.path == path), "{path} is stated, and no route");
        }
    }
}
