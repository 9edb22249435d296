//! `GET /portal`: where to go.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use store::apps::{self, Status};
use store::sharing;

use super::frame::Frame;
use crate::account::second_factor;
use crate::account::visitor::{Refused, State, Visitor, show};
use crate::oauth::page;

#[derive(Template)]
#[template(path = "portal-start.html")]
struct StartPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    has_record: bool,
    shared: usize,
    apps: usize,
    waiting: usize,
    needs_second_factor: bool,
    has_second_factor: bool,
}

/// The page.
pub async fn get(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    let account = &visitor.account;
    let waiting = if account.is_admin {
        apps::all(&app.store).await?.iter().filter(|app| app.status == Status::Requested).count()
    } else {
        0
    };
    let page = StartPage {
        style: page::STYLE,
        frame: Frame::of(&visitor, "portal"),
        has_record: account.fhir_user.is_some(),
        shared: sharing::list(&app.store, &account.id, app.clock.now()).await?.len(),
        apps: apps::of_account(&app.store, &account.id).await?.len(),
        waiting,
        needs_second_factor: (account.is_admin || visitor.is_billing) && !visitor.gave_second_factor(),
        has_second_factor: second_factor::is_on(&app, &account.id).await?,
    };
    Ok(show(&page, StatusCode::OK, None))
}
