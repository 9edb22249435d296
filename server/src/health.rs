//! `GET /health`: whether this server can answer, for load balancers and people. Tells nothing about data.

use actix_web::{HttpResponse, web};
use fhir::object;
use search::view::View;

use crate::app::App;

/// 200 where the database answers, else 503.
pub async fn handler(app: web::Data<App>) -> HttpResponse {
    // A point read of an id that cannot exist goes through the whole path to the database and back.
    let (mut response, status) = match app.store.read(&View::system(), "Patient", "-").await {
        Ok(_) => (HttpResponse::Ok(), "ok"),
        Err(error) => {
            tracing::error!(%error, "health: the database does not answer");
            (HttpResponse::ServiceUnavailable(), "database unreachable")
        }
    };
    let body = object! { "status": status, "version": env!("CARGO_PKG_VERSION") };
    response.insert_header(("Cache-Control", "no-store")).content_type("application/json").body(body.to_string())
}
