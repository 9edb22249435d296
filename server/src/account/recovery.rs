//! `GET|POST /account/recover`: a new password by a link that works once and for 15 minutes. (OA-23)
//!
//! `tributary user recover NAME` prints the link; the operator gives it to the person. All sessions end, and all that
//! apps were allowed to see; a second factor stays, and is asked for at the next sign-in.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use smart::token::{Kind as SecretKind, Secret};
use store::events::{self, Kind};
use store::users::{self, Change};
use store::{StoreError, recoveries, sharing, signed_in};

use super::visitor::{Refused, State, address, anybody, form_token, go, sent_by_anybody, show};
use super::{attempts, new_password};
use crate::app::App;
use crate::oauth::form::Parameters;
use crate::oauth::page;

#[derive(Template)]
#[template(path = "recover.html")]
struct RecoverPage<'a> {
    style: &'a str,
    form_token: String,
    link: &'a str,
    problem: Option<&'a str>,
}

/// The page; opening it spends nothing, because programs open links too.
pub async fn get(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let parameters = Parameters::parse(request.query_string().as_bytes())?;
    let link = good_link(&app, &parameters).await?;
    let (browser, cookie) = anybody(&app, &request).await?;
    let page = RecoverPage { style: page::STYLE, form_token: form_token(&browser), link: link.expose(), problem: None };
    Ok(show(&page, StatusCode::OK, cookie.as_ref()))
}

/// The new password.
pub async fn post(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (browser, form) = sent_by_anybody(&app, &request, &body).await?;
    let address = address(&request);
    if attempts::recovery(&app, &request).await?.is_none() {
        return Err(Refused::Invalid("Too many attempts. Wait a minute and try again.".to_owned()));
    }
    let link = good_link(&app, &form).await?;
    let hash = match new_password::accept(&app, "", form.get("password").unwrap_or_default()).await {
        Ok(hash) => hash,
        Err(problem) => {
            let (form_token, link) = (form_token(&browser), link.expose());
            let page = RecoverPage { style: page::STYLE, form_token, link, problem: Some(&problem) };
            return Ok(show(&page, StatusCode::BAD_REQUEST, None));
        }
    };
    let (link, now) = (link.hash(), app.clock.now());
    let spent = app.store.write(move |tx| {
        let (hash, address) = (hash.clone(), address.clone());
        Box::pin(async move {
            let Some(id) = recoveries::spend(tx, link, now).await? else { return Ok(false) };
            users::change(tx, &id, &Change::Password(hash)).await?;
            signed_in::end_all(tx, &id, None, now).await?;
            sharing::revoke_all(tx, &id, now).await?;
            let event = events::Event { kind: Kind::Recovered, account_id: Some(id), client_id: None, address };
            events::insert(tx, &event, now).await?;
            Ok::<_, StoreError>(true)
        })
    });
    if spent.await? { Ok(go(&app, "/account/sign-in")) } else { Err(gone()) }
}

async fn good_link(app: &App, parameters: &Parameters) -> Result<Secret, Refused> {
    let link = parameters.get("link").and_then(|text| Secret::parse(SecretKind::Recovery, text)).ok_or_else(gone)?;
    let is_good = recoveries::is_good(&app.store, link.hash(), app.clock.now()).await?;
    if is_good { Ok(link) } else { Err(gone()) }
}

/// One answer for unknown, spent and expired.
fn gone() -> Refused {
    Refused::Invalid("This link has been used or is older than 15 minutes. Ask for another one.".to_owned())
}
