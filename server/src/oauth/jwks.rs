//! `GET /oauth/jwks.json`: the keys with which apps verify `id_token`s. <https://www.rfc-editor.org/rfc/rfc7517>

use actix_web::{HttpResponse, web};
use smart::signing::CACHE_SECONDS;

use super::error::Failure;
use crate::app::App;

/// The published keys: bare public keys, for any origin (SM-71, SM-80).
pub async fn get(app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let set = app.signer.jwks().await?;
    Ok(HttpResponse::Ok()
        .insert_header(("Cache-Control", format!("public, max-age={CACHE_SECONDS}")))
        .content_type("application/json")
        .body(set.to_string()))
}
