//! Browser sessions: the cookie, and the token that binds forms to it. (OA-14, OA-15)

use actix_web::HttpRequest;
use actix_web::cookie::{Cookie, SameSite};
use smart::token::{Kind, Secret};
use store::StoreError;
use store::sessions::{self, Session};
use subtle::ConstantTimeEq as _;

use crate::app::App;

/// A browser that presented a live session.
#[derive(Clone, Debug)]
pub struct Browser {
    /// The cookie.
    pub secret: Secret,
    /// What is known of it.
    pub session: Session,
}

impl Browser {
    /// The browser of a request, if its cookie names a live session.
    pub async fn of(app: &App, request: &HttpRequest) -> Result<Option<Self>, StoreError> {
        Self::by_cookie(app, request, cookie_name(app)).await
    }

    /// The same by a cookie of another name.
    pub async fn by_cookie(app: &App, request: &HttpRequest, name: &str) -> Result<Option<Self>, StoreError> {
        let Some(cookie) = request.cookie(name) else { return Ok(None) };
        let Some(secret) = Secret::parse(Kind::Session, cookie.value()) else { return Ok(None) };
        let (hash, now) = (secret.hash(), app.clock.now());
        let Some(session) = sessions::find(&app.store, hash, now).await? else { return Ok(None) };
        if session.is_stale(now) {
            app.store.write(move |tx| Box::pin(async move { sessions::touch(tx, hash, now).await })).await?;
        }
        Ok(Some(Browser { secret, session }))
    }

    /// The value of the hidden field of a form about one authorization request.
    pub fn form_token(&self, handle: &str) -> String {
        self.secret.derive(&form_purpose(handle))
    }

    /// Whether a form came from a page that this browser was shown about this request.
    pub fn sent_form(&self, handle: &str, token: Option<&str>) -> bool {
        let expected = self.form_token(handle);
        token.is_some_and(|token| token.as_bytes().ct_eq(expected.as_bytes()).into())
    }
}

/// Whether the browser sent a session cookie at all, live or not.
pub fn has_cookie(app: &App, request: &HttpRequest) -> bool {
    request.cookie(cookie_name(app)).is_some()
}

/// The cookie that hands out a session.
pub fn cookie(app: &App, secret: &Secret) -> Cookie<'static> {
    Cookie::build(cookie_name(app), secret.expose().to_owned())
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(is_https(app))
        .finish()
}

/// A new session secret.
pub fn new_secret(app: &App) -> Secret {
    Secret::new(Kind::Session, app.random.bytes())
}

/// With https the prefix makes browsers refuse a cookie that another host or a plain connection set.
fn cookie_name(app: &App) -> &'static str {
    if is_https(app) { "__Host-session" } else { "session" }
}

fn is_https(app: &App) -> bool {
    app.config.base_url.starts_with("https://")
}

fn form_purpose(handle: &str) -> String {
    format!("form {handle}")
}
