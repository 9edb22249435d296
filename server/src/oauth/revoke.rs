//! `POST /oauth/revoke`: a client gives a token back. <https://www.rfc-editor.org/rfc/rfc7009>, OA-12, OA-13
//!
//! An access token goes alone, a refresh token takes its whole grant with it. Unknown tokens and those of other
//! clients are answered like any other, and `token_type_hint` is not needed: tokens say what they are.

use actix_web::{HttpRequest, HttpResponse, web};
use smart::token::{Kind, Secret};
use store::{StoreError, tokens};

use super::authenticate;
use super::error::Failure;
use super::form::Parameters;
use crate::app::App;

/// The endpoint.
pub async fn post(app: web::Data<App>, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Failure> {
    let form = Parameters::of_form(&request, &body)?.each_once()?;
    let client = authenticate::client(&app, &request, &form).await?;
    let token = form.required("token")?;
    let access = Secret::parse(Kind::Access, token).map(|token| token.hash());
    let refresh = Secret::parse(Kind::Refresh, token).map(|token| token.hash());
    let now = app.clock.now();
    let revoked = app.store.write(move |tx| {
        let client_id = client.id.clone();
        Box::pin(async move {
            if let Some(hash) = access {
                tokens::revoke_access(tx, hash, &client_id, now).await?;
            }
            if let Some(hash) = refresh {
                tokens::revoke_refresh(tx, hash, &client_id, now).await?;
            }
            Ok::<_, StoreError>(())
        })
    });
    revoked.await?;
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).insert_header(("Pragma", "no-cache")).finish())
}
