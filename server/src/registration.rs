//! What can be registered as a client, by whichever way: command line, portal, or `POST /oauth/register`. (OA-03, OA-29)

use std::fmt;

use smart::client::{Client, ClientAuthentication, ClientKeys, ClientKind};
use smart::jwk::JwkSet;
use smart::scope::{Scope, ScopeSet};
use store::tokens;

use crate::access;
use crate::app::App;

/// Most redirect URIs of a client.
const MAX_REDIRECT_URIS: usize = 20;
/// Longest name, characters.
const MAX_NAME: usize = 100;
/// Characters that turn text around or stand between it unseen: a name must look like what it is.
const HIDDEN: [std::ops::RangeInclusive<char>; 5] = [
    '\u{200B}'..='\u{200F}',
    '\u{2028}'..='\u{202E}',
    '\u{2060}'..='\u{206F}',
    '\u{FEFF}'..='\u{FEFF}',
    '\u{E0000}'..='\u{E007F}',
];

/// What of a client cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `client_id`.
    Id,
    /// Its name for people.
    Name,
    /// Where its answers go.
    RedirectUris,
    /// The most it can be granted.
    Scope,
    /// How it proves who it is, and with which keys.
    Authentication,
}

/// Why a client cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationError {
    /// What is wrong.
    pub field: Field,
    /// What to do about it.
    pub text: String,
}

impl fmt::Display for RegistrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for RegistrationError {}

/// Whether all of a client goes together.
pub fn check(app: &App, client: &Client) -> Result<(), RegistrationError> {
    let id = &client.id;
    if id.is_empty() || id.len() > 128 || !id.chars().all(|c| c.is_ascii_graphic()) || id == tokens::OPERATOR {
        let text = "the client id is 1 to 128 printable ASCII characters without spaces, and not \"operator\"";
        return Err(wrong(Field::Id, text));
    }
    let hidden = |c: char| c.is_control() || HIDDEN.iter().any(|range| range.contains(&c));
    let name = &client.name;
    if name.trim() != name || name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(hidden) {
        return Err(wrong(Field::Name, "the name is 1 to 100 characters without control characters"));
    }
    if (client.kind == ClientKind::Backend) != client.redirect_uris.is_empty() {
        let text = "a redirect URI is needed for apps, and backend services have none";
        return Err(wrong(Field::RedirectUris, text));
    }
    if client.redirect_uris.len() > MAX_REDIRECT_URIS {
        return Err(wrong(Field::RedirectUris, "there are at most 20 redirect URIs"));
    }
    check_scopes(app, client.kind, &client.scopes)?;
    check_authentication(app, client)
}

/// Whether each scope can be granted to clients of that kind.
fn check_scopes(app: &App, kind: ClientKind, scopes: &ScopeSet) -> Result<(), RegistrationError> {
    if let Some(scope) = scopes.iter().find(|scope| !kind.can_hold(scope)) {
        return Err(wrong(Field::Scope, format!("a {} client cannot hold {scope}", kind.as_str())));
    }
    let base = app.config.fhir_base();
    let unusable = |scope: &&Scope| matches!(scope, Scope::Resource(resource) if !access::is_honoured(resource, &base));
    match scopes.iter().find(unusable) {
        None => Ok(()),
        Some(scope) => {
            let text = format!("the conditions of {scope} cannot be honoured by a search of its type");
            Err(wrong(Field::Scope, text))
        }
    }
}

fn check_authentication(app: &App, client: &Client) -> Result<(), RegistrationError> {
    let wrong = |text: String| Err(wrong(Field::Authentication, text));
    if !client.kind.may_use(client.authentication) {
        return wrong(match client.kind {
            ClientKind::Public => "a public client has neither secret nor keys".to_owned(),
            ClientKind::Confidential => "a confidential client has a secret or keys".to_owned(),
            ClientKind::Backend => "a backend service has keys, a JWK Set or the address of one".to_owned(),
        });
    }
    match (client.authentication, &client.keys) {
        (ClientAuthentication::PrivateKeyJwt, ClientKeys::Inline(text)) => match JwkSet::parse(text.as_bytes()) {
            Ok(_) => Ok(()),
            Err(error) => wrong(error.to_string()),
        },
        (ClientAuthentication::PrivateKeyJwt, ClientKeys::Url(url)) => match app.outbound.check(url) {
            Ok(_) => Ok(()),
            Err(error) => wrong(format!("keys at {url}: {error}")),
        },
        (ClientAuthentication::PrivateKeyJwt, ClientKeys::None) => wrong("the client's keys are missing".to_owned()),
        (_, ClientKeys::None) => Ok(()),
        (_, _) => wrong("keys are for clients that authenticate with them".to_owned()),
    }
}

fn wrong(field: Field, text: impl Into<String>) -> RegistrationError {
    RegistrationError { field, text: text.into() }
}
