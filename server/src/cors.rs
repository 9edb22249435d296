//! Which scripts of other origins may read answers. <https://fetch.spec.whatwg.org/#http-cors-protocol>, SM-80
//!
//! | paths | who may read |
//! |---|---|
//! | discovery, keys, `/fhir/metadata`, styles | every origin |
//! | FHIR, token endpoint and its neighbours | origins of registered apps' redirect URIs |
//! | pages: sign-in, consent, portal, authorization endpoint | nobody |
//!
//! Where `base-url` is https, every answer also says that this host is asked over TLS only.
//!
//! Credentials of the browser are never allowed: tokens come in a header, and a page of another origin cannot use the
//! session of a person.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};
use smart::redirect_uri::RedirectUri;
use store::{StoreError, clients};
use url::Url;

use crate::app::App;

const ALLOW_ORIGIN: HeaderName = header::ACCESS_CONTROL_ALLOW_ORIGIN;
/// What scripts may send; `Authorization` has to be named, a star does not cover it.
const ALLOW_HEADERS: &str = "Authorization, Content-Type, Accept, Accept-Language, Content-Language, Prefer, If-Match, \
                             If-None-Match, If-None-Exist, If-Modified-Since, Cache-Control, Pragma, X-Requested-With, \
                             X-Request-Id, X-Security-Context";
/// What scripts may read beside what they always may.
const EXPOSE_HEADERS: &str = "Location, Content-Location, ETag, Last-Modified, WWW-Authenticate, Retry-After, X-Progress, X-Request-Id, \
     Content-Disposition, X-Security-Context";
/// What scripts may do with FHIR.
const FHIR_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// What scripts may do elsewhere.
const OTHER_METHODS: &str = "GET, HEAD, POST, OPTIONS";
/// How long browsers may keep the answer to a preflight, seconds.
const MAX_AGE: &str = "600";

/// For two years, where `base-url` is https; other hosts of the domain are not ours to speak for.
const TRANSPORT_SECURITY: &str = "max-age=63072000";

/// For so long an origin counts as registered after its app is gone, microseconds …
const KEPT: i64 = 60_000_000;
/// … and at most so often the apps are read anew because of an origin that is not known.
const READ_EVERY: i64 = 200_000;

/// Endpoints of the authorization server that scripts of registered apps call.
const OAUTH: [&str; 6] =
    ["/oauth/token", "/oauth/revoke", "/oauth/introspect", "/oauth/userinfo", "/oauth/par", "/oauth/register"];

/// Origins of registered apps, as they were read last. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Origins(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    read_at: i64,
    origins: Arc<HashSet<String>>,
}

/// Who may read the answers of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readers {
    Everybody,
    Apps,
    Nobody,
}

/// Middleware that answers preflights and says who may read an answer.
pub async fn answer<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let is_https = request.app_data::<web::Data<App>>().is_some_and(|app| app.config.base_url.starts_with("https:"));
    let mut response = shared(request, next).await?;
    hold_to_tls(response.headers_mut(), is_https);
    Ok(response)
}

/// Answers with who else may read the answer.
async fn shared<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let readers = readers(request.path());
    let allowed = match readers {
        Readers::Nobody => return next.call(request).await.map(ServiceResponse::map_into_left_body),
        Readers::Everybody => Some(HeaderValue::from_static("*")),
        Readers::Apps => registered(&request).await,
    };
    let is_fhir = request.path().starts_with("/fhir");
    if let Some(origin) = allowed.as_ref().filter(|_| is_preflight(&request)) {
        let response = preflight(origin, readers, is_fhir);
        return Ok(request.into_response(response).map_into_right_body());
    }
    let mut response = next.call(request).await?.map_into_left_body();
    if let Some(origin) = allowed {
        response.headers_mut().insert(ALLOW_ORIGIN, origin);
        response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSE_HEADERS));
    }
    if readers == Readers::Apps {
        vary(response.headers_mut());
    }
    Ok(response)
}

/// Browsers that were here over TLS come back over TLS only (SM-84). <https://www.rfc-editor.org/rfc/rfc6797>
fn hold_to_tls(headers: &mut HeaderMap, is_https: bool) {
    if is_https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(TRANSPORT_SECURITY));
    }
}

fn readers(path: &str) -> Readers {
    let below = |start: &str| path.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if below("/.well-known") || below("/fhir/.well-known") {
        return Readers::Everybody;
    }
    match path {
        "/fhir/metadata" | "/oauth/jwks.json" => Readers::Everybody,
        style if style.starts_with("/oauth/style-") => Readers::Everybody,
        _ if below("/fhir") || OAUTH.contains(&path) => Readers::Apps,
        _ => Readers::Nobody,
    }
}

fn is_preflight(request: &ServiceRequest) -> bool {
    let asks = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    request.method() == Method::OPTIONS && request.headers().contains_key(header::ORIGIN) && asks
}

fn preflight(origin: &HeaderValue, readers: Readers, is_fhir: bool) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    let methods = if is_fhir && readers == Readers::Apps { FHIR_METHODS } else { OTHER_METHODS };
    headers.insert(ALLOW_ORIGIN, origin.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOW_HEADERS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    if readers == Readers::Apps {
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// The origin of the request, if it is one of a registered app. A request without one costs nothing here.
async fn registered(request: &ServiceRequest) -> Option<HeaderValue> {
    let origin = request.headers().get(header::ORIGIN)?.clone();
    let text = origin.to_str().ok().filter(|text| *text != "null")?;
    let app = request.app_data::<web::Data<App>>()?;
    match app.origins.contains(app, text).await {
        Ok(known) => known.then_some(origin),
        Err(error) => {
            tracing::error!(%error, "origins of apps");
            None
        }
    }
}

/// FHIR says it already.
fn vary(headers: &mut HeaderMap) {
    let mut said = headers.get_all(header::VARY).filter_map(|value| value.to_str().ok());
    if !said.any(|names| names.split(", ").any(|name| name == "Origin")) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

impl Origins {
    /// Whether an app is registered that gets its answers there.
    async fn contains(&self, app: &App, origin: &str) -> Result<bool, StoreError> {
        let now = app.clock.now();
        let age = {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let age = now - known.read_at;
            if known.origins.contains(origin) && age < KEPT {
                return Ok(true);
            }
            age
        };
        if age < READ_EVERY {
            return Ok(false);
        }
        let clients = clients::all(&app.store).await?;
        let uris = clients.iter().filter(|client| client.is_active(now)).flat_map(|client| &client.redirect_uris);
        let origins = Arc::new(uris.filter_map(origin_of).collect::<HashSet<_>>());
        let found = origins.contains(origin);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Known { read_at: now, origins };
        Ok(found)
    }
}

/// Only web pages have an origin; apps with a scheme of their own have none.
fn origin_of(uri: &RedirectUri) -> Option<String> {
    let origin = Url::parse(uri.as_str()).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sm_84_a_host_that_was_asked_over_tls_is_asked_over_tls_only() {
        let told = |is_https| {
            let mut headers = HeaderMap::new();
            hold_to_tls(&mut headers, is_https);
            headers.get("strict-transport-security").map(|it| it.to_str().expect("text").to_owned())
        };
        assert_eq!((told(true).as_deref(), told(false)), (Some("max-age=63072000"), None));
    }

    #[test]
    fn sm_80_who_may_read_what() {
        for (path, expected) in [
            ("/fhir/.well-known/smart-configuration", Readers::Everybody),
            ("/.well-known/openid-configuration", Readers::Everybody),
            ("/fhir/metadata", Readers::Everybody),
            ("/oauth/jwks.json", Readers::Everybody),
            ("/oauth/style-0a1b.json", Readers::Everybody),
            ("/fhir", Readers::Apps),
            ("/fhir/Patient/1", Readers::Apps),
            ("/oauth/token", Readers::Apps),
            ("/oauth/userinfo", Readers::Apps),
            ("/fhirx", Readers::Nobody),
            ("/oauth/authorize", Readers::Nobody),
            ("/oauth/login", Readers::Nobody),
            ("/oauth/consent", Readers::Nobody),
            ("/oauth/tokens", Readers::Nobody),
            ("/portal", Readers::Nobody),
            ("/", Readers::Nobody),
            ("/health-data/x", Readers::Nobody),
        ] {
            assert_eq!(readers(path), expected, "{path}");
        }
    }

    #[test]
    fn sm_80_origins_are_those_of_web_pages() {
        let origin = |uri: &str| origin_of(&RedirectUri::register(uri).expect("valid"));
        assert_eq!(origin("https://app.example/callback"), Some("https://app.example".to_owned()));
        assert_eq!(origin("https://app.example:8443/a"), Some("https://app.example:8443".to_owned()));
        assert_eq!(origin("com.example.app:/callback"), None);
    }
}
