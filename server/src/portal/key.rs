//! `POST /portal/apps/{app}/secret`: a secret of an app, shown once; two live at a time, so that one can be replaced
//! without a gap. (SM-61)

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use smart::token::{Kind as SecretKind, Secret};
use store::StoreError;
use store::clients::{self, KnownSecret};
use store::events::{self, Kind};

use super::apps::own;
use super::frame::Frame;
use super::words::{hexadecimal, moment, of_hexadecimal};
use crate::account::visitor::{Refused, State, Visitor, event, go, show};
use crate::oauth::page;

/// Secrets that live at a time.
const LIVE: usize = 2;

/// A secret as its developer sees it.
#[derive(Clone, Debug)]
pub struct SecretLine {
    /// By what it is named in forms.
    pub key: String,
    /// When it was made.
    pub made: String,
    /// When it ends, where that is settled.
    pub ends: Option<String>,
}

#[derive(Template)]
#[template(path = "app-secret.html")]
struct SecretPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    client_id: &'a str,
    name: &'a str,
    secret: &'a str,
    base_url: &'a str,
    is_second: bool,
}

/// The live secrets, latest first.
pub fn secret_lines(secrets: &[KnownSecret], now: i64) -> Vec<SecretLine> {
    let shown = |secret: &KnownSecret| SecretLine {
        key: hexadecimal(secret.hash),
        made: moment(secret.created_at),
        ends: secret.expires_at.map(moment),
    };
    secrets.iter().rev().filter(|secret| is_live(secret, now)).map(shown).collect()
}

/// Makes a secret and shows it. The form says which secret was the newest when its page was made: sent again, it makes
/// no further one.
pub async fn make(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let own = own(&app, &request, &visitor).await?;
    if !own.client.has_secret() {
        return Err(Refused::Invalid("This app has no secret.".to_owned()));
    }
    let client_id = own.client.id.clone();
    let known = clients::secrets(&app.store, &client_id).await?;
    let newest = known.last().map_or(0, |secret| secret.created_at);
    if form.get("newest") != Some(newest.to_string().as_str()) {
        return Ok(go(&app, &format!("/portal/apps/{client_id}")));
    }
    let secret = Secret::new(SecretKind::ClientSecret, app.random.bytes());
    let (hash, now) = (secret.hash(), app.clock.now());
    let live: Vec<_> = known.iter().filter(|secret| is_live(secret, now)).map(|secret| secret.hash).collect();
    let too_many: Vec<_> = live.iter().rev().skip(LIVE - 1).copied().collect();
    let event = event(&request, Kind::SecretMade, &visitor.account.id, Some(&client_id));
    let written = client_id.clone();
    app.store
        .write(move |tx| {
            let (client_id, too_many, event) = (written.clone(), too_many.clone(), event.clone());
            Box::pin(async move {
                for old in too_many {
                    clients::end_secret(tx, &client_id, old, now).await?;
                }
                clients::insert_secret(tx, &client_id, hash, now).await?;
                events::insert(tx, &event, now).await
            })
        })
        .await?;
    // Shown once, so there is nothing that a redirect could lead to.
    let page = SecretPage {
        style: page::STYLE,
        frame: Frame::of(&visitor, "apps"),
        client_id: &client_id,
        name: &own.client.name,
        secret: secret.expose(),
        base_url: &app.config.base_url,
        is_second: !live.is_empty(),
    };
    Ok(show(&page, StatusCode::OK, None))
}

/// Ends a secret now.
pub async fn end(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let own = own(&app, &request, &visitor).await?;
    let secret = form.get("secret").and_then(of_hexadecimal).ok_or(Refused::NotFound)?;
    let (client_id, now) = (own.client.id.clone(), app.clock.now());
    let event = event(&request, Kind::AppChanged, &visitor.account.id, Some(&client_id));
    let ended = app.store.write(move |tx| {
        let (client_id, event) = (client_id.clone(), event.clone());
        Box::pin(async move {
            let ended = clients::end_secret(tx, &client_id, secret, now).await?;
            events::insert(tx, &event, now).await?;
            Ok::<_, StoreError>(ended)
        })
    });
    if ended.await? { Ok(go(&app, &format!("/portal/apps/{}", own.client.id))) } else { Err(Refused::NotFound) }
}

fn is_live(secret: &KnownSecret, now: i64) -> bool {
    secret.expires_at.is_none_or(|ends| ends > now)
}
