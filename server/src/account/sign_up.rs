//! `GET|POST /account/sign-up`: an account for somebody who makes apps. (OA-20, OA-22)
//!
//! Whoever opens an account sees nothing with it: it belongs to no record until an operator says so, and no app of it
//! works until an administrator approves it. That a name is taken is told: without mail there is no other way.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use store::apps::Purpose;
use store::events::{self, Kind};
use store::users::{self, Account};

use super::sign_in::{Factors, Next, enter};
use super::visitor::{Refused, State, anybody, event, form_token, go, sent_by_anybody, show};
use super::{attempts, new_password};
use crate::app::App;
use crate::oauth::form::Parameters;
use crate::oauth::login::fold_username;
use crate::oauth::page;
use crate::oauth::session::Browser;

/// Longest name for people.
const MAX_NAME: usize = 100;

#[derive(Template)]
#[template(path = "sign-up.html")]
struct SignUpPage<'a> {
    style: &'a str,
    form_token: String,
    username: &'a str,
    name: &'a str,
    purpose: &'a str,
    problem: Option<(&'a str, &'a str)>,
}

impl SignUpPage<'_> {
    /// What is wrong with a field.
    fn problem_of(&self, field: &str) -> Option<&str> {
        self.problem.filter(|(of, _)| *of == field).map(|(_, text)| text)
    }
}

/// The page.
pub async fn get(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let (browser, cookie) = anybody(&app, &request).await?;
    if browser.session.account_id.is_some() {
        return Ok(go(&app, "/portal"));
    }
    let mut page = filled(&browser, &Parameters::default(), None, StatusCode::OK);
    if let Some(cookie) = cookie {
        drop(page.add_cookie(&cookie));
    }
    Ok(page)
}

/// What was filled in.
pub async fn post(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (browser, form) = sent_by_anybody(&app, &request, &body).await?;
    let (account, hash) = match read(&app, &form).await {
        Ok(read) => read,
        Err((field, text)) => return Ok(filled(&browser, &form, Some((field, &text)), StatusCode::BAD_REQUEST)),
    };
    let (now, written, subjects) = (app.clock.now(), account.clone(), attempts::of_sign_up(&request));
    let event = event(&request, Kind::SignedUp, &account.id, None);
    let added = app.store.write(move |tx| {
        let (account, hash, subjects, event) = (written.clone(), hash.clone(), subjects.clone(), event.clone());
        Box::pin(async move {
            if users::note_attempt(tx, &subjects, now, now - attempts::HOUR).await?.is_none() {
                return Ok(None);
            }
            let added = users::insert(tx, &account, &hash, now).await?;
            if added {
                events::insert(tx, &event, now).await?;
            }
            Ok::<_, store::StoreError>(Some(added))
        })
    });
    match added.await? {
        Some(true) => {
            enter(&app, &request, &browser, (&account, Factors::One), &Next::Page("/portal".to_owned()), &[]).await
        }
        Some(false) => {
            let problem = ("username", "This name is taken. If it is yours, sign in.");
            Ok(filled(&browser, &form, Some(problem), StatusCode::CONFLICT))
        }
        None => {
            let problem = ("username", "Too many accounts were opened from here. Try again in an hour.");
            Ok(filled(&browser, &form, Some(problem), StatusCode::TOO_MANY_REQUESTS))
        }
    }
}

/// A name for people: not empty, not long, nothing that turns text around (OA-29).
pub fn plain_name(text: &str, longest: usize) -> Option<String> {
    let turns =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let text = text.trim();
    let is_plain =
        !text.is_empty() && text.chars().count() <= longest && !text.chars().any(|c| c.is_control() || turns(c));
    is_plain.then(|| text.to_owned())
}

async fn read(app: &App, form: &Parameters) -> Result<(Account, String), (&'static str, String)> {
    let purpose = form.get("purpose").and_then(Purpose::parse);
    let purpose = purpose.ok_or(("purpose", "Choose what your apps are for.".to_owned()))?;
    let name = plain_name(form.get("name").unwrap_or_default(), MAX_NAME);
    let name = name.ok_or(("name", "Give a name of at most 100 characters.".to_owned()))?;
    let username = fold_username(form.get("username").unwrap_or_default()).filter(|name| name.len() >= 3);
    let text = "An e-mail address or a name of at least three letters, digits and . _ - @ + without accents.";
    let username = username.ok_or(("username", text.to_owned()))?;
    let typed = form.get("password").unwrap_or_default();
    let hash = new_password::accept(app, &username, typed).await.map_err(|text| ("password", text))?;
    let account = Account {
        id: app.random.uuid(),
        username,
        name,
        fhir_user: None,
        is_admin: false,
        developer: Some(purpose),
        disabled_at: None,
    };
    Ok((account, hash))
}

fn filled(browser: &Browser, form: &Parameters, problem: Option<(&str, &str)>, status: StatusCode) -> HttpResponse {
    let page = SignUpPage {
        style: page::STYLE,
        form_token: form_token(browser),
        username: form.get("username").unwrap_or_default(),
        name: form.get("name").unwrap_or_default(),
        purpose: form.get("purpose").unwrap_or_default(),
        problem,
    };
    show(&page, status, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oa_29_names_are_plain() {
        assert_eq!(plain_name(" Dr Grace Hopper ", 100), Some("Dr Grace Hopper".to_owned()));
        assert_eq!(plain_name("Zoë 李", 100), Some("Zoë 李".to_owned()));
        for text in ["", "  ", "a\u{202e}b", "a\u{200b}b", "a\nb", &"x".repeat(101)] {
            assert_eq!(plain_name(text, 100), None, "{text:?}");
        }
    }
}
