//! `[base]/.well-known/smart-configuration` and `/.well-known/oauth-authorization-server`.
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html>

use actix_web::{HttpResponse, web};
use fhir::json::Json;
use smart::metadata::Metadata;

use crate::app::App;

/// What the authorization server says about itself.
pub fn metadata(app: &App) -> Metadata {
    Metadata::new(app.config.base_url.clone())
}

/// SM-01: JSON whatever `Accept` says, for any origin, without a token.
pub async fn smart_configuration(app: web::Data<App>) -> HttpResponse {
    answer(&metadata(&app).smart_configuration())
}

/// RFC 8414, of the same struct.
pub async fn authorization_server(app: web::Data<App>) -> HttpResponse {
    answer(&metadata(&app).authorization_server())
}

fn answer(document: &Json) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("Access-Control-Allow-Origin", "*"))
        .insert_header(("Cache-Control", "public, max-age=300"))
        .content_type("application/json")
        .body(document.to_string())
}
