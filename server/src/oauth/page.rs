//! HTML answers of the authorization server, with the headers that keep them from being framed, scripted or cached.
//! (OA-17)

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::cookie::Cookie;
use actix_web::http::{StatusCode, header};
use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use smart::error::OAuthError;
use url::Url;

/// The one style sheet of these pages; it stands in each page, and its hash in the header.
pub const STYLE: &str = include_str!("../../templates/oauth.css");

static STYLE_HASH: LazyLock<String> = LazyLock::new(|| STANDARD.encode(Sha256::digest(STYLE.as_bytes())));

#[derive(Template)]
#[template(path = "oauth_error.html")]
struct ErrorPage<'a> {
    style: &'a str,
    error: &'a OAuthError,
}

/// A page. `form_target` is where its form may lead besides this server: browsers hold redirects to it.
pub fn html(status: StatusCode, page: &impl Template, form_target: Option<&str>) -> HttpResponse {
    let body = match page.render() {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "page");
            return HttpResponse::InternalServerError().finish();
        }
    };
    let target = form_target.and_then(source).map(|source| format!(" {source}")).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'{target}; frame-ancestors 'none'; base-uri 'none'",
        *STYLE_HASH
    );
    HttpResponse::build(status)
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header(("Cross-Origin-Opener-Policy", "same-origin"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("text/html; charset=utf-8")
        .body(body)
}

/// What went wrong, for the person in front of the browser: nothing is sent to an app that is not known (OA-02).
pub fn error(error: &OAuthError) -> HttpResponse {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    html(status, &ErrorPage { style: STYLE, error }, None)
}

/// 303, never 307: a form that was sent is not sent on (SM-16).
pub fn see_other(location: &str, cookie: Option<Cookie<'static>>) -> HttpResponse {
    let mut response = HttpResponse::SeeOther();
    response
        .insert_header((header::LOCATION, location))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"));
    if let Some(cookie) = cookie {
        response.cookie(cookie);
    }
    response.finish()
}

/// A URI as a source of a content security policy: its origin, or its scheme.
fn source(uri: &str) -> Option<String> {
    let uri = Url::parse(uri).ok()?;
    let origin = uri.origin();
    Some(if origin.is_tuple() { origin.ascii_serialization() } else { format!("{}:", uri.scheme()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use smart::error::ErrorCode;

    #[test]
    fn oa_17_pages_cannot_be_framed_scripted_or_cached() {
        let response = error(&OAuthError::new(ErrorCode::InvalidRequest, "<script>alert(1)</script>"));
        let header =
            |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"));
        assert!(!header("content-security-policy").contains("unsafe-inline"));
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("referrer-policy"), "no-referrer");
    }

    #[test]
    fn form_targets_are_origins_or_schemes() {
        assert_eq!(source("https://app.example:8443/cb?x=1"), Some("https://app.example:8443".to_owned()));
        assert_eq!(source("com.example.app:/cb"), Some("com.example.app:".to_owned()));
    }

    #[test]
    fn oa_30_texts_are_inert() {
        let page = ErrorPage { style: STYLE, error: &OAuthError::invalid_request("<b>") };
        let html = page.render().expect("renders");
        assert!(!html.contains("<b>") && html.contains("&#60;b&#62;"));
    }
}
