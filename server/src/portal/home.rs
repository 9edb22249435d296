//! `GET /`: what runs here, and the first steps with it.

use actix_web::{HttpResponse, web};
use askama::Template;

use crate::app::App;

/// Pages need no script and no foreign content; say so to the browser.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'";

#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    base_url: &'a str,
    fhir_base: String,
    base_url_flag: String,
    version: &'a str,
    resource_types: usize,
}

/// The front page.
pub async fn handler(app: web::Data<App>) -> HttpResponse {
    // Not the database's address: this page is for everybody.
    let base_url_flag = match app.config.flags_to_reach() {
        flags if flags.contains("--base-url") => format!(" --base-url {}", app.config.base_url),
        _ => String::new(),
    };
    let page = Home {
        base_url: &app.config.base_url,
        fhir_base: app.config.fhir_base(),
        base_url_flag,
        version: env!("CARGO_PKG_VERSION"),
        resource_types: fhir::definitions::resource_types().len(),
    };
    match page.render() {
        Ok(html) => HttpResponse::Ok()
            .insert_header(("Content-Security-Policy", CONTENT_SECURITY_POLICY))
            .insert_header(("X-Content-Type-Options", "nosniff"))
            .insert_header(("Referrer-Policy", "no-referrer"))
            .content_type("text/html; charset=utf-8")
            .body(html),
        Err(error) => {
            tracing::error!(%error, "front page");
            HttpResponse::InternalServerError().finish()
        }
    }
}
