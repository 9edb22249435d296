//! The request that waits in a browser, and the person who answers it. (OA-16)

use actix_web::HttpRequest;
use smart::error::{ErrorCode, OAuthError};
use smart::grant::{Authorization, Person, Request};
use smart::launch::Launched;
use smart::scope::{Level, Scope, ScopeSet};
use smart::token::{Kind, Secret};
use store::{apps, sessions};

use crate::app::App;
use crate::oauth::error::server_error;
use crate::oauth::form::Parameters;
use crate::oauth::session::Browser;

/// A signed-in person with a request to answer.
pub(super) struct Asked {
    pub(super) browser: Browser,
    pub(super) handle: Secret,
    pub(super) authorization: Authorization,
    pub(super) person: Person,
    /// What this person can give at all.
    pub(super) scopes: ScopeSet,
    limit: Option<Vec<String>>,
}

/// Why there is nothing to answer.
pub(super) enum Stop {
    /// The person has to sign in first.
    SignIn(Secret),
    /// It is over.
    Error(OAuthError),
}

impl From<OAuthError> for Stop {
    fn from(error: OAuthError) -> Self {
        Stop::Error(error)
    }
}

impl Asked {
    /// Finds it by its handle; only in the browser that it belongs to, and only for the person who signed in for it.
    pub(super) async fn of(app: &App, request: &HttpRequest, parameters: &Parameters) -> Result<Self, Stop> {
        let gone = || OAuthError::invalid_request("this request is no longer open; start again from the app");
        let handle = parameters.get("request").and_then(|text| Secret::parse(Kind::Request, text)).ok_or_else(gone)?;
        let browser = Browser::of(app, request).await.map_err(|error| server_error(&error))?.ok_or_else(gone)?;
        let found = sessions::find_request(&app.store, handle.hash(), browser.secret.hash(), app.clock.now()).await;
        let authorization = found.map_err(|error| server_error(&error))?.ok_or_else(gone)?;
        let person = match &authorization {
            Authorization::SignedIn { person, .. } => person.clone(),
            _ => return Err(Stop::SignIn(handle)),
        };
        if browser.session.account_id.as_ref() != Some(&person.user_id) {
            return Err(gone().into());
        }
        let request = authorization.request();
        if request.launch.as_ref().is_some_and(|launched| launched.account_id != person.user_id) {
            let text = "the app was launched by another person; sign in as the one who launched it";
            return Err(OAuthError::new(ErrorCode::AccessDenied, text).into()); // SM-35
        }
        let limit = apps::patients(&app.store, &request.client_id).await.map_err(|error| server_error(&error))?;
        let scopes = request.scopes.filtered(|scope| can_give(&person, scope));
        Ok(Asked { browser, handle, authorization, person, scopes, limit })
    }

    /// What is asked.
    pub(super) fn request(&self) -> &Request {
        self.authorization.request()
    }

    /// The only patients that the app can reach, by logical id; none: whomever the person may see.
    pub(super) fn limit(&self) -> Option<&[String]> {
        self.limit.as_deref()
    }

    /// What the EHR handed over, if it launched the app.
    pub(super) fn launched(&self) -> Option<&Launched> {
        self.request().launch.as_ref()
    }
}

/// SM-28: what a person without a record of their own cannot do, they cannot give.
fn can_give(person: &Person, scope: &Scope) -> bool {
    match scope {
        Scope::Resource(resource) if resource.level == Level::System => false,
        Scope::Resource(_) | Scope::LaunchPatient | Scope::LaunchEncounter => person.fhir_user.is_some(),
        _ => true,
    }
}
