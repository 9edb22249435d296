//! `GET /portal/api`: how the API is called, with the addresses of this server.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::frame::Frame;
use crate::account::visitor::{Refused, State, Visitor, show};
use crate::oauth::page;

#[derive(Template)]
#[template(path = "api.html")]
struct ApiPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    base_url: &'a str,
    fhir_base: String,
}

/// The page.
pub async fn get(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    let page = ApiPage {
        style: page::STYLE,
        frame: Frame::of(&visitor, "api"),
        base_url: &app.config.base_url,
        fhir_base: app.config.fhir_base(),
    };
    Ok(show(&page, StatusCode::OK, None))
}
