//! Who is asking: made only from a Bearer token, or by the server for its own work.
//! <https://www.rfc-editor.org/rfc/rfc6750>

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use search::view::View;
use smart::scope::{Level, Right, ScopeSet};
use smart::token::{Hash, Kind, Secret};
use store::audit::Event;
use store::users::Account;
use store::{SearchPage, Stored};

use crate::access;
use crate::app::App;
use crate::audit::{self, Trail};
use crate::error::Error;
use crate::usage::Whose;

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// `client_id` of the app, or the name of the part of the server that acts.
    pub client_id: String,
    /// Key of the person's account.
    pub user: Option<String>,
    /// Logical id of the patient of the launch.
    pub patient: Option<String>,
    /// The record that the person is, as `Type/ID`.
    pub fhir_user: Option<String>,
    /// The grant that the token came of; none for the server itself.
    pub grant_id: Option<String>,
    /// What may be done.
    pub scopes: ScopeSet,
    /// What can be seen.
    pub view: View,
    /// What the audit trail learns of the request.
    pub trail: Arc<Trail>,
    /// The FHIR base that the token is for; empty for the server itself, whose scopes have no conditions.
    pub base: String,
    /// Whether what is labelled restricted is withheld from it, unless a scope names the label.
    pub withholds: bool,
    actor: String,
}

impl Caller {
    /// The server itself, for work that no token stands behind: devices, import, demo.
    pub fn server(actor: &str) -> Self {
        Caller {
            client_id: actor.to_owned(),
            user: None,
            patient: None,
            fhir_user: None,
            grant_id: None,
            scopes: ScopeSet::parse("system/*.cruds").unwrap_or_default(),
            view: View::system(),
            trail: Arc::default(),
            base: String::new(),
            withholds: false,
            actor: actor.to_owned(),
        }
    }

    /// The server itself for a person who is signed in without an app, and perhaps for one record only.
    pub fn person(door: &str, account: &Account, patient: Option<&str>) -> Self {
        Caller {
            actor: format!("{door}/{}", account.id),
            user: Some(account.id.clone()),
            fhir_user: account.fhir_user.as_ref().map(ToString::to_string),
            patient: patient.map(str::to_owned),
            ..Caller::server(door)
        }
    }

    /// The beginning of an event of what this caller does outside of a request.
    pub fn event(&self, app: &App) -> Event {
        self.trail.event(self, &app.clock, &app.random)
    }

    /// Who stands in the audit trail: client and, if there is one, account.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// The same for this request: its audit event tells who asked.
    #[must_use]
    pub fn attached(mut self, request: &HttpRequest) -> Self {
        if let Some(trail) = audit::of(request) {
            trail.identify(&self);
            self.trail = trail;
        }
        self
    }

    /// Notes that a text of a resource is handed out.
    pub fn saw(&self, body: &str) {
        self.trail.saw(self, body);
    }

    /// The same of a resource that is asked for by itself.
    pub fn saw_one(&self, stored: Option<&Stored>) {
        if let Some(stored) = stored {
            self.saw(&stored.body);
            self.trail.note(|noted| noted.version = Some(stored.version));
        }
    }

    /// The same of a page.
    pub fn saw_page(&self, page: &SearchPage) {
        // A contained resource is its container's patient's.
        let matches =
            page.matches.iter().enumerate().map(|(index, stored)| page.containers.get(&index).unwrap_or(stored));
        for stored in matches.chain(&page.included) {
            self.saw(&stored.body);
        }
    }

    /// The scope that is missing for a right, at the level of the token.
    pub fn wanting(&self, right: Right, resource_type: &str) -> String {
        let level =
            [Level::Patient, Level::User, Level::System].into_iter().find(|level| self.scopes.has_level(*level));
        format!("{}/{resource_type}.{}", level.unwrap_or(Level::Patient).as_str(), right.letter())
    }
}

impl FromRequest for Caller {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let app = request.app_data::<web::Data<App>>().cloned();
        let token = bearer(request);
        let request = request.clone();
        Box::pin(async move {
            let app = app.ok_or_else(|| Error::internal("the application state is not registered"))?;
            let caller = authenticate(&app, token?).await?.attached(&request);
            app.rates.admit(&caller, &app)?;
            let whose = Whose { client_id: caller.client_id.clone(), grant_id: caller.grant_id.clone() };
            request.extensions_mut().insert(whose);
            Ok(caller)
        })
    }
}

/// The caller of a live token.
pub async fn authenticate(app: &App, token: Secret) -> Result<Caller, Error> {
    of_hash(app, token.hash(), app.clock.now()).await
}

/// The caller of the token with this hash, as of an instant at which it had not expired: rights are those of now, and
/// a token that was revoked since is none.
pub async fn of_hash(app: &App, token: Hash, instant: i64) -> Result<Caller, Error> {
    let access = store::tokens::find_access(&app.store, token, instant).await?.ok_or_else(invalid_token)?;
    let base = app.config.fhir_base();
    if access.audience != base {
        // OA-35. Whoever holds the token may know for whom it was made.
        let message = format!("the access token was made for {}, not for {base}", access.audience);
        return Err(Error::unauthorized(message).with_header("WWW-Authenticate", "Bearer error=\"invalid_token\""));
    }
    let view = access::view(app, &access.terms).await?;
    let view = match &access.patients {
        Some(patients) => view.within(patients),
        None => view,
    };
    let person = access.terms.person();
    let user = person.map(|person| person.user_id.clone());
    Ok(Caller {
        actor: user.as_ref().map_or_else(|| access.client_id.clone(), |user| format!("{}/{user}", access.client_id)),
        user,
        patient: access.terms.context().patient.clone(),
        fhir_user: person.and_then(|person| person.fhir_user.as_ref()).map(ToString::to_string),
        scopes: access.terms.scopes().clone(),
        view,
        withholds: access::withholds(app, access.terms.scopes()),
        trail: Arc::default(),
        grant_id: Some(access.grant_id),
        client_id: access.client_id,
        base,
    })
}

/// The token of the Authorization header; tokens elsewhere are not looked at (SM-49).
pub fn bearer(request: &HttpRequest) -> Result<Secret, Error> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let Some(value) = headers.next() else {
        let error = Error::unauthorized("an access token is needed: Authorization: Bearer …");
        return Err(error.with_header("WWW-Authenticate", "Bearer"));
    };
    if headers.next().is_some() {
        return Err(invalid_token());
    }
    let text = value.to_str().map_err(|_| invalid_token())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(invalid_token)?;
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(invalid_token());
    }
    Secret::parse(Kind::Access, token.trim()).ok_or_else(invalid_token)
}

/// One answer for all that is wrong with a token, so that it tells nothing (SM-48).
fn invalid_token() -> Error {
    Error::unauthorized("the access token is unknown, has expired or was revoked")
        .with_header("WWW-Authenticate", "Bearer error=\"invalid_token\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn of(values: &[&str], uri: &str) -> Result<Secret, Error> {
        let mut request = TestRequest::with_uri(uri);
        for value in values {
            request = request.append_header(("Authorization", *value));
        }
        bearer(&request.to_http_request())
    }

    #[test]
    fn sm_48_sm_49_tokens_are_read_from_one_header_only() {
        let token = Secret::new(Kind::Access, [1; 32]);
        let good = format!("Bearer {}", token.expose());
        assert_eq!(of(&[&good], "/").expect("read"), token);
        let refresh = format!("Bearer {}", Secret::new(Kind::Refresh, [1; 32]).expose());
        let in_address = format!("/?access_token={}", token.expose());
        for (values, uri) in [
            (vec![], "/"),
            (vec![], in_address.as_str()),
            (vec![good.as_str(), good.as_str()], "/"),
            (vec![token.expose()], "/"),
            (vec!["Basic YTpi"], "/"),
            (vec!["Bearer "], "/"),
            (vec![&good[..good.len() - 1]], "/"),
            (vec![refresh.as_str()], "/"),
        ] {
            assert_eq!(of(&values, uri).expect_err("refused").status(), 401, "{values:?} {uri}");
        }
    }
}
