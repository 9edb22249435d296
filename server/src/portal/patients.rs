//! `/portal/apps/{app}/patients`: which patients an app for work can reach, chosen among those in its developer's care.
//! (LK-40)

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use smart::grant::FhirUser;
use store::apps::{self, Purpose};
use store::events::{self, Kind};

use super::apps::{Own, own};
use super::frame::Frame;
use crate::access;
use crate::account::visitor::{Refused, State, Visitor, event, go, show};
use crate::app::App;
use crate::oauth::form::Parameters;
use crate::oauth::{page, patients};

#[derive(Template)]
#[template(path = "app-patients.html")]
struct PatientsPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    client_id: &'a str,
    name: &'a str,
    is_linked: bool,
    is_limited: bool,
    words: &'a str,
    shown: Vec<Line>,
    more: u64,
    chosen: usize,
}

struct Line {
    id: String,
    name: String,
    detail: String,
    is_chosen: bool,
}

/// The page; `words` looks for patients by name or birth date.
pub async fn get(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    let own = of_work(&app, &request, &visitor).await?;
    let query = Parameters::parse(request.query_string().as_bytes())?;
    let words = query.get("words").unwrap_or_default();
    let limit = apps::patients(&app.store, &own.client.id).await?;
    let chosen = limit.clone().unwrap_or_default();
    let user = visitor.account.fhir_user.as_ref().filter(|user| matches!(user, FhirUser::Practitioner(_)));
    let found = match user {
        Some(user) => patients::patients(&app, &request, user, None, words).await?,
        None => patients::Choices::default(),
    };
    let line = |choice: patients::Choice| Line {
        is_chosen: chosen.binary_search(&choice.id).is_ok(),
        id: choice.id,
        name: choice.name,
        detail: choice.detail,
    };
    let page = PatientsPage {
        style: page::STYLE,
        frame: Frame::of(&visitor, "apps"),
        client_id: &own.client.id,
        name: &own.client.name,
        is_linked: user.is_some(),
        is_limited: limit.is_some(),
        words,
        shown: found.shown.into_iter().map(line).collect(),
        more: found.more,
        chosen: chosen.len(),
    };
    Ok(show(&page, StatusCode::OK, None))
}

/// What was ticked among what was shown; what was chosen and not shown stays. The app's next request sees it.
pub async fn post(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let own = of_work(&app, &request, &visitor).await?;
    let in_care = match &visitor.account.fhir_user {
        Some(user) => access::patients_of(&app, user).await?,
        None => Vec::new(),
    };
    let limit = match form.get("limit") {
        Some("chosen") => {
            let before = apps::patients(&app.store, &own.client.id).await?.unwrap_or_default();
            Some(chosen(&before, &form, &in_care)?)
        }
        Some("everybody") => None,
        _ => return Err(Refused::Invalid("Choose which patients the app can reach.".to_owned())),
    };
    let (client_id, now) = (own.client.id.clone(), app.clock.now());
    let event = event(&request, Kind::AppChanged, &visitor.account.id, Some(&client_id));
    app.store
        .write(move |tx| {
            let (client_id, limit, event) = (client_id.clone(), limit.clone(), event.clone());
            Box::pin(async move {
                apps::set_patients(tx, &client_id, limit.as_deref()).await?;
                events::insert(tx, &event, now).await
            })
        })
        .await?;
    Ok(go(&app, &format!("/portal/apps/{}/patients", own.client.id)))
}

async fn of_work(app: &App, request: &HttpRequest, visitor: &Visitor) -> Result<Own, Refused> {
    let own = own(app, request, visitor).await?;
    if own.registration.purpose == Purpose::Work { Ok(own) } else { Err(Refused::NotFound) }
}

/// The choice after the form: whoever was shown is chosen only if ticked, and nobody who is not in care.
fn chosen(before: &[String], form: &Parameters, in_care: &[String]) -> Result<Vec<String>, Refused> {
    let shown: Vec<&str> = form.all("shown").collect();
    let ticked: Vec<&str> = form.all("patient").collect();
    if !ticked.iter().all(|id| in_care.iter().any(|own| own == id)) {
        return Err(Refused::Invalid("One of these patients is not in your care.".to_owned()));
    }
    let stay = before.iter().filter(|id| !shown.contains(&id.as_str()));
    let mut chosen: Vec<String> = stay.cloned().chain(ticked.into_iter().map(str::to_owned)).collect();
    chosen.sort_unstable();
    chosen.dedup();
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lk_40_only_patients_in_care_are_chosen() {
        let texts = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let form = |text: &str| Parameters::parse(text.as_bytes()).expect("a form");
        let care = texts(&["a", "b", "c"]);
        let after = chosen(&texts(&["a", "c"]), &form("shown=a&shown=b&patient=b"), &care).expect("in care");
        assert_eq!(after, ["b", "c"]);
        assert!(chosen(&[], &form("shown=a&patient=x"), &care).is_err());
    }
}
