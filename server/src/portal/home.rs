//! `GET /`: what runs here, and the first steps with it.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;

use super::page;
use crate::app::App;

#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    style: &'a str,
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
    let home = Home {
        style: page::STYLE,
        base_url: &app.config.base_url,
        fhir_base: app.config.fhir_base(),
        base_url_flag,
        version: env!("CARGO_PKG_VERSION"),
        resource_types: fhir::definitions::resource_types().len(),
    };
    page::html(StatusCode::OK, &home, None)
}
