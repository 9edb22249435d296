//! Answers of the authorization server to a browser that are no form: a fault told to the person, and the way on.

use actix_web::HttpResponse;
use actix_web::cookie::Cookie;
use actix_web::http::{StatusCode, header};
use askama::Template;
use smart::error::OAuthError;

pub use crate::portal::page::{STYLE, html, html_with_passkeys, script};

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    style: &'a str,
    reason: &'a str,
    code: &'a str,
}

/// What went wrong, for the person in front of the browser: nothing is sent to an app that is not known (OA-02).
pub fn error(error: &OAuthError) -> HttpResponse {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    html(status, &ErrorPage { style: STYLE, reason: &error.description, code: error.code.as_str() }, None)
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
    fn oa_30_texts_are_inert() {
        let page = ErrorPage { style: STYLE, reason: "<b>", code: "invalid_request" };
        let html = page.render().expect("renders");
        assert!(!html.contains("<b>") && html.contains("&#60;b&#62;"));
    }
}
