//! How every page is sent: one style sheet, no script but one of ours where a page is better with it, and headers that
//! keep pages from being framed or cached.
//! (OA-17, IN-04)

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use url::Url;

/// The one style sheet of all pages; it stands in each page, and its hash in the header.
pub const STYLE: &str = include_str!("../../templates/page.css");

static STYLE_HASH: LazyLock<String> = LazyLock::new(|| STANDARD.encode(Sha256::digest(STYLE.as_bytes())));

/// A page. `form_target` is where its form may lead besides this server: browsers hold redirects to it.
pub fn html(status: StatusCode, page: &impl Template, form_target: Option<&str>) -> HttpResponse {
    let target = form_target.and_then(source).map(|source| format!(" {source}")).unwrap_or_default();
    send(status, page, &target, "")
}

/// A page that may ask for a passkey: one script of this server may run, and call what it needs.
pub fn html_with_passkeys(base_url: &str, status: StatusCode, page: &impl Template) -> HttpResponse {
    with_script(base_url, status, page, "/account/passkeys.js", &["/account/passkeys/"])
}

/// A page with one script of this server, which may call what is named.
pub fn html_with_script(base_url: &str, page: &impl Template, script: &str, called: &[&str]) -> HttpResponse {
    with_script(base_url, StatusCode::OK, page, script, called)
}

/// A script of ours, to be run by pages of ours only.
pub fn script(text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header(("Cross-Origin-Resource-Policy", "same-origin"))
        .content_type("text/javascript; charset=utf-8")
        .body(text)
}

fn with_script(
    base_url: &str,
    status: StatusCode,
    page: &impl Template,
    script: &str,
    called: &[&str],
) -> HttpResponse {
    let called: Vec<String> = called.iter().map(|path| format!("{base_url}{path}")).collect();
    let policy = format!("; script-src {base_url}{script}; connect-src {}", called.join(" "));
    send(status, page, "", &policy)
}

fn send(status: StatusCode, page: &impl Template, target: &str, script: &str) -> HttpResponse {
    let body = match page.render() {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "page");
            return HttpResponse::InternalServerError().finish();
        }
    };
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'{target}; frame-ancestors 'none'; base-uri 'none'{script}",
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

/// A URI as a source of a content security policy: its origin, or its scheme.
fn source(uri: &str) -> Option<String> {
    let uri = Url::parse(uri).ok()?;
    let origin = uri.origin();
    Some(if origin.is_tuple() { origin.ascii_serialization() } else { format!("{}:", uri.scheme()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_targets_are_origins_or_schemes() {
        assert_eq!(source("https://app.example:8443/cb?x=1"), Some("https://app.example:8443".to_owned()));
        assert_eq!(source("com.example.app:/cb"), Some("com.example.app:".to_owned()));
    }
}
