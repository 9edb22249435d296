//! `GET /portal/sharing`: which apps may see what, since when, when each looked last; and taking it back. (OA-19, SM-57)
//!
//! What was taken back from an app that asks with its own key stays so until it is allowed again here.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use smart::scope::ScopeSet;
use smart::scope::words::{Description, Group, describe};
use store::events::{self, Kind};
use store::sharing::{self, Shared};
use store::withdrawals::{self, Withdrawn};

use super::frame::Frame;
use super::words::{day, moment};
use crate::account::visitor::{Refused, State, Visitor, event, go, show};
use crate::audit;
use crate::oauth::page;

#[derive(Template)]
#[template(path = "sharing.html")]
struct SharingPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    shared: Vec<Line>,
    withdrawn: Vec<WithdrawnLine>,
}

struct Line {
    grant_id: String,
    app_name: String,
    since: String,
    until: String,
    looked: String,
    what: Vec<String>,
}

struct WithdrawnLine {
    client_id: String,
    app_name: String,
    since: String,
}

/// The page.
pub async fn get(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    let shared = sharing::list(&app.store, &visitor.account.id, app.clock.now()).await?;
    let shared = shared.into_iter().map(line).collect();
    let withdrawn = withdrawals::list(&app.store, &visitor.account.id).await?;
    let withdrawn = withdrawn.into_iter().map(withdrawn_line).collect();
    let frame = Frame::of(&visitor, "sharing");
    Ok(show(&SharingPage { style: page::STYLE, frame, shared, withdrawn }, StatusCode::OK, None))
}

/// Takes one back: the app's next request is refused.
pub async fn revoke(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let grant_id = form.get("grant").ok_or(Refused::NotFound)?.to_owned();
    let (id, now) = (visitor.account.id, app.clock.now());
    let event = event(&request, Kind::GrantRevoked, &id, None);
    let told = audit::of_change(&request, &app, "consent-withdrawn", 303);
    let revoked = app.store.write(move |tx| {
        let (id, grant_id, event, told) = (id.clone(), grant_id.clone(), event.clone(), told.clone());
        Box::pin(async move {
            let revoked = sharing::revoke(tx, &id, &grant_id, now).await?;
            if revoked {
                events::insert(tx, &event, now).await?;
                if let Some(told) = told {
                    tx.record(told);
                }
            }
            Ok::<_, store::StoreError>(revoked)
        })
    });
    if revoked.await? { Ok(go(&app, "/portal/sharing")) } else { Err(Refused::NotFound) }
}

/// Lets an app that asks with its own key see again what was taken back from it.
pub async fn allow(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let client_id = form.get("app").ok_or(Refused::NotFound)?.to_owned();
    let (id, now) = (visitor.account.id, app.clock.now());
    let event = event(&request, Kind::GrantAllowed, &id, Some(&client_id));
    let told = audit::of_change(&request, &app, "consent", 303);
    let allowed = app.store.write(move |tx| {
        let (id, client_id, event, told) = (id.clone(), client_id.clone(), event.clone(), told.clone());
        Box::pin(async move {
            let allowed = withdrawals::remove(tx, &id, &client_id).await?;
            if allowed {
                events::insert(tx, &event, now).await?;
                if let Some(told) = told {
                    tx.record(told);
                }
            }
            Ok::<_, store::StoreError>(allowed)
        })
    });
    if allowed.await? { Ok(go(&app, "/portal/sharing")) } else { Err(Refused::NotFound) }
}

fn withdrawn_line(withdrawn: Withdrawn) -> WithdrawnLine {
    WithdrawnLine { client_id: withdrawn.client_id, app_name: withdrawn.client_name, since: moment(withdrawn.at) }
}

fn line(shared: Shared) -> Line {
    Line {
        grant_id: shared.grant_id,
        app_name: shared.client_name,
        since: moment(shared.created_at),
        until: day(shared.expires_at),
        looked: shared.seen_at.map_or_else(|| "not yet".to_owned(), moment),
        what: in_words(&shared.scopes),
    }
}

/// What scopes let an app do, a line each.
fn in_words(scopes: &ScopeSet) -> Vec<String> {
    let mut said: Vec<_> = scopes.iter().map(describe).collect();
    said.sort_by_key(|said| said.group);
    let line = |said: Description| {
        let verb = match said.group {
            Group::See(_) => "See: ",
            Group::Change(_) => "See or change: ",
            Group::Context => "Know: ",
            Group::Duration => "",
        };
        format!("{verb}{}", said.title)
    };
    said.into_iter().map(line).collect()
}
