//! Client authentication at the token, pushed request, revocation and introspection endpoints. (SM-60 … SM-66, OA-10)
//! <https://www.rfc-editor.org/rfc/rfc6749#section-2.3>, <https://www.rfc-editor.org/rfc/rfc7523>

use actix_web::HttpRequest;
use actix_web::http::header;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smart::assertion::{self, AssertionError, Proven};
use smart::client::{Client, ClientAuthentication, Credentials};
use smart::error::{ErrorCode, OAuthError};
use smart::token::{Hash, Kind, Secret};
use store::{StoreError, assertions, clients, tokens};

use super::client_keys;
use super::error::Failure;
use super::form::Parameters;
use crate::app::App;
use crate::audit;

/// The client that a request proves to come from.
pub(super) async fn client(app: &App, request: &HttpRequest, form: &Parameters) -> Result<Client, Failure> {
    let basic = request.headers().contains_key(header::AUTHORIZATION);
    let refused = || Failure::from(invalid_client()).after_basic(basic);
    let now = app.clock.now();
    let endpoint = format!("{}{}", app.config.base_url, request.path());
    let audiences = [endpoint.as_str(), app.config.base_url.as_str()];
    let credentials = credentials(request, form, &audiences, now)?;
    let client = clients::find(&app.store, credentials.client_id()).await?;
    if let Some(client) = &client {
        audit::note(request, |noted| noted.client = Some(client.id.clone()));
    }
    let client = client.filter(|client| client.is_active(now)).ok_or_else(refused)?;
    let proven = match (&credentials, client.authentication) {
        (Credentials::Named(_), ClientAuthentication::None) => true,
        (Credentials::Secret { secret, .. }, ClientAuthentication::Secret) => {
            match Secret::parse(Kind::ClientSecret, secret) {
                Some(secret) => clients::has_secret(&app.store, &client.id, secret.hash(), now).await?,
                None => false,
            }
        }
        (Credentials::Assertion { assertion, .. }, ClientAuthentication::PrivateKeyJwt) => {
            let assertion = assertion::read(assertion, &audiences, now).map_err(assertion_error)?;
            let signed = assertion.points_rightly(&client.keys);
            let keys = client_keys::of(app, &client.keys, assertion.kid()).await;
            match keys.filter(|_| signed).and_then(|keys| assertion.verify(&keys).ok()) {
                Some(proven) => spend(app, proven, now).await?,
                None => false,
            }
        }
        // a client registered for one method cannot use another
        _ => false,
    };
    if proven { Ok(client) } else { Err(refused()) }
}

/// Whether a request says nothing about the client that it comes from.
pub(super) fn is_unnamed(request: &HttpRequest, form: &Parameters) -> bool {
    let names = ["client_id", "client_secret", "client_assertion", "client_assertion_type"];
    !request.headers().contains_key(header::AUTHORIZATION) && names.iter().all(|name| form.get(name).is_none())
}

/// The public app whose refresh token comes without its name, as RFC 6749 §6 lets it and the SMART JavaScript client
/// does: the token says whose it is. Apps that can authenticate have to (SM-53).
pub(super) async fn holder(app: &App, request: &HttpRequest, form: &Parameters) -> Result<Client, Failure> {
    let unknown = || OAuthError::invalid_grant("the refresh token is not valid");
    let token = Secret::parse(Kind::Refresh, form.required("refresh_token")?).ok_or_else(unknown)?;
    let client_id = tokens::client_of_refresh(&app.store, token.hash()).await?.ok_or_else(unknown)?;
    let now = app.clock.now();
    audit::note(request, |noted| noted.client = Some(client_id.clone()));
    let client = clients::find(&app.store, &client_id).await?;
    let public = client.filter(|it| it.is_active(now) && it.authentication == ClientAuthentication::None);
    public.ok_or_else(|| invalid_client().into())
}

/// Spends the name of an assertion: true for exactly one request with it, whatever comes in parallel or after a restart.
async fn spend(app: &App, proven: Proven, now: i64) -> Result<bool, StoreError> {
    let jti = Hash::of(proven.jti.as_bytes());
    let spent = app.store.write(move |tx| {
        let proven = proven.clone();
        Box::pin(async move { assertions::spend(tx, &proven.client_id, jti, proven.expires_at, now).await })
    });
    spent.await
}

/// What is presented, by one method only.
fn credentials(
    request: &HttpRequest,
    form: &Parameters,
    audiences: &[&str],
    now: i64,
) -> Result<Credentials, OAuthError> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let (named, secret) = (form.get("client_id"), form.get("client_secret"));
    let presented = (form.get("client_assertion"), form.get("client_assertion_type"));
    let two_methods = || OAuthError::invalid_request("authenticate by one method: header, form or assertion");
    if presented.0.is_some() || presented.1.is_some() {
        if secret.is_some() || headers.next().is_some() {
            return Err(two_methods());
        }
        return asserted(presented, named, audiences, now);
    }
    match (headers.next(), headers.next()) {
        (None, _) => {
            let client_id = named.ok_or_else(invalid_client)?.to_owned();
            Ok(match secret {
                Some(secret) => Credentials::Secret { client_id, secret: secret.to_owned() },
                None => Credentials::Named(client_id),
            })
        }
        (Some(value), None) => {
            let (client_id, password) = value.to_str().ok().and_then(basic).ok_or_else(invalid_client)?;
            if secret.is_some() {
                return Err(two_methods());
            }
            if named.is_some_and(|named| named != client_id) {
                return Err(OAuthError::invalid_request("client_id is not the one of the Authorization header"));
            }
            Ok(Credentials::Secret { client_id, secret: password })
        }
        (Some(_), Some(_)) => Err(OAuthError::invalid_request("there is more than one Authorization header")),
    }
}

/// An assertion whose form and claims are in order. What is wrong with them is told: no client is needed to know it.
fn asserted(
    presented: (Option<&str>, Option<&str>),
    named: Option<&str>,
    audiences: &[&str],
    now: i64,
) -> Result<Credentials, OAuthError> {
    let (Some(text), Some(kind)) = presented else {
        return Err(OAuthError::invalid_request("client_assertion and client_assertion_type come together"));
    };
    if kind != assertion::TYPE {
        let text = format!("client_assertion_type must be {}", assertion::TYPE);
        return Err(OAuthError::new(ErrorCode::InvalidClient, text));
    }
    let read = assertion::read(text, audiences, now).map_err(assertion_error)?;
    if named.is_some_and(|named| named != read.client_id()) {
        return Err(OAuthError::new(ErrorCode::InvalidClient, "client_id is not the sub of the assertion"));
    }
    Ok(Credentials::Assertion { client_id: read.client_id().to_owned(), assertion: text.to_owned() })
}

fn assertion_error(error: AssertionError) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidClient, error.to_string())
}

/// Name and password of `Basic …`, each form-urlencoded as RFC 6749 §2.3.1 asks.
fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("Basic"))?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    let pair = (decode(name)?, decode(password)?);
    Some(pair).filter(|(name, password)| !name.contains('\0') && !password.contains('\0')) // IN-11
}

fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// One answer for unknown, disabled and unproven.
fn invalid_client() -> OAuthError {
    OAuthError::new(ErrorCode::InvalidClient, "client authentication failed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn read(header: Option<&str>, form: &str) -> Result<Credentials, OAuthError> {
        let mut request = TestRequest::post();
        if let Some(value) = header {
            request = request.insert_header(("Authorization", value));
        }
        credentials(&request.to_http_request(), &Parameters::parse(form.as_bytes()).expect("a form"), &[], 0)
    }

    #[test]
    fn sm_60_header_and_form() {
        let both = Credentials::Secret { client_id: "my app".to_owned(), secret: "a:b%".to_owned() };
        let header = format!("Basic {}", STANDARD.encode("my+app:a%3Ab%25"));
        assert_eq!(read(Some(&header), ""), Ok(both.clone()));
        assert_eq!(read(Some(&header), "client_id=my+app"), Ok(both.clone()));
        assert_eq!(read(None, "client_id=my+app&client_secret=a%3Ab%25"), Ok(both));
        assert_eq!(read(None, "client_id=app"), Ok(Credentials::Named("app".to_owned())));
    }

    #[test]
    fn sm_60_two_methods_or_none_are_refused() {
        let header = format!("Basic {}", STANDARD.encode("app:secret"));
        let code = |header: Option<&str>, form: &str| read(header, form).expect_err("refused").code;
        assert_eq!(code(Some(&header), "client_id=app&client_secret=secret"), ErrorCode::InvalidRequest);
        assert_eq!(code(Some(&header), "client_id=other"), ErrorCode::InvalidRequest);
        let assertion = format!("client_assertion=x&client_assertion_type={}", assertion::TYPE);
        assert_eq!(code(None, &format!("{assertion}&client_secret=x")), ErrorCode::InvalidRequest);
        assert_eq!(code(Some(&header), &assertion), ErrorCode::InvalidRequest);
        assert_eq!(code(None, "client_assertion=x"), ErrorCode::InvalidRequest);
        assert_eq!(code(None, &assertion), ErrorCode::InvalidClient);
        assert_eq!(code(None, ""), ErrorCode::InvalidClient);
        assert_eq!(code(Some("Bearer x"), "client_id=app"), ErrorCode::InvalidClient);
        assert_eq!(code(Some("Basic !!"), ""), ErrorCode::InvalidClient);
        for text in ["a\0:secret", "a%00:secret", "a:%00"] {
            let header = format!("Basic {}", STANDARD.encode(text));
            assert_eq!(code(Some(&header), ""), ErrorCode::InvalidClient, "{text:?}");
        }
    }
}
