//! `GET|POST /oauth/consent`: may this app do that? (OA-14, OA-16, OA-18, SM-26 … SM-28, SM-37 … SM-39)
//!
//! | file | what |
//! |---|---|
//! | `asked` | the request that waits in this browser, and the person who answers it |
//! | `show` | the page |
//! | `wording` | its sentences |
//! | `allow` | what is given, in which context, and the code for it |

use actix_web::{HttpRequest, HttpResponse, web};
use smart::error::{ErrorCode, OAuthError};
use smart::grant::Authorization;
use smart::token::Secret;
use store::{StoreError, sessions};

use super::authorize::redirect_error;
use super::error::server_error;
use super::form::Parameters;
use super::page;
use super::session;
use crate::app::App;
use crate::audit;

mod allow;
mod asked;
mod show;
mod wording;

use asked::{Asked, Stop};

/// The page.
pub async fn get(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let shown = async {
        let parameters = Parameters::parse(request.query_string().as_bytes())?;
        let asked = Asked::of(&app, &request, &parameters).await?;
        tell(&request, &asked);
        Ok(show::page(&app, &request, &asked, None, None).await?)
    };
    shown.await.unwrap_or_else(|stop| stopped(&app, stop))
}

/// The answer.
pub async fn post(app: web::Data<App>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let answered = async {
        let form = Parameters::of_form(&request, &body)?;
        let asked = Asked::of(&app, &request, &form).await?;
        if !asked.browser.sent_form(asked.handle.expose(), form.get("form_token")) {
            let text = "the form has expired; start again from the app";
            return Err(OAuthError::new(ErrorCode::AccessDenied, text).into());
        }
        tell(&request, &asked);
        match form.get("decision") {
            Some("allow") => allow::allow(&app, &request, asked, &form).await,
            Some("switch") => switch(&app, &request, asked).await,
            // Enter in a field or on a box presses the first button of a form: that one, so that nothing is allowed
            // by accident.
            Some("again" | "find") => Ok(show::page(&app, &request, &asked, None, Some(&form)).await?),
            _ => deny(&app, &request, asked).await,
        }
    };
    answered.await.unwrap_or_else(|stop| stopped(&app, stop))
}

/// Who answers, and which app asks.
fn tell(http: &HttpRequest, asked: &Asked) {
    audit::note(http, |noted| {
        noted.client = Some(asked.request().client_id.clone());
        noted.account = Some(asked.person.user_id.clone());
        noted.fhir_user = asked.person.fhir_user.as_ref().map(ToString::to_string);
        // What becomes of it is told with the change, by [`audit::of_change`].
        noted.subtype = Some("consent-page");
    });
}

async fn deny(app: &App, http: &HttpRequest, asked: Asked) -> Result<HttpResponse, Stop> {
    let Authorization::Denied { request, error } = asked.authorization.deny("the person did not allow it")? else {
        return Err(OAuthError::new(ErrorCode::ServerError, "the request is in no state to be denied").into());
    };
    let (handle, session, now) = (asked.handle.hash(), asked.browser.secret.hash(), app.clock.now());
    let event = audit::of_change(http, app, "consent-refused", 303);
    let spent = app.store.write(move |tx| {
        let event = event.clone();
        Box::pin(async move {
            let spent = sessions::spend_request(tx, handle, session, now).await?;
            if let Some(event) = event.filter(|_| spent) {
                tx.record(event);
            }
            Ok(spent)
        })
    });
    spent.await.map_err(|error: StoreError| server_error(&error))?;
    Ok(page::see_other(&redirect_error(app, &request.redirect_uri, Some(&request.state), &error), None))
}

/// Signs out, and lets somebody else answer the same request.
async fn switch(app: &App, http: &HttpRequest, asked: Asked) -> Result<HttpResponse, Stop> {
    let secret = session::new_secret(app);
    let (old, new, handle, now) = (asked.browser.secret.hash(), secret.hash(), asked.handle.hash(), app.clock.now());
    let event = audit::of_change(http, app, "logout", 303);
    let released = app.store.write(move |tx| {
        let event = event.clone();
        Box::pin(async move {
            if let Some(event) = event {
                tx.record(event);
            }
            sessions::end(tx, old, now).await?;
            sessions::open(tx, new, None, now).await?;
            sessions::release_request(tx, handle, old, new).await
        })
    });
    released.await.map_err(|error: StoreError| server_error(&error))?;
    Ok(page::see_other(&login_address(app, &asked.handle), Some(session::cookie(app, &secret))))
}

fn stopped(app: &App, stop: Stop) -> HttpResponse {
    match stop {
        Stop::SignIn(handle) => page::see_other(&login_address(app, &handle), None),
        Stop::Error(error) => page::error(&error),
    }
}

fn login_address(app: &App, handle: &Secret) -> String {
    format!("{}/oauth/login?request={}", app.config.base_url, handle.expose())
}
