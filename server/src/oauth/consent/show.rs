//! The consent page, filled in as the person had filled it in.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use smart::error::OAuthError;
use smart::grant::FhirUser;
use smart::launch;
use smart::scope::{Level, Scope, ScopeSet};
use store::{StoreError, clients, users};

use super::asked::Asked;
use super::wording::{self, Heading};
use crate::app::App;
use crate::oauth::error::server_error;
use crate::oauth::form::Parameters;
use crate::oauth::page;
use crate::oauth::patients::{self, Choice, Choices};

/// From how many patients on there is a field to find them by name.
const MANY: usize = 7;

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentPage<'a> {
    style: &'a str,
    app_name: &'a str,
    app_address: &'a str,
    client_id: &'a str,
    person_name: &'a str,
    username: &'a str,
    handle: &'a str,
    form_token: String,
    headings: Vec<Heading>,
    limits: Vec<String>,
    needs_patient: bool,
    /// The patient, where there is nothing to choose.
    fixed_patient: Option<Choice>,
    fixed_visit: Option<Choice>,
    is_own_record: bool,
    /// The only patients whom the app reaches with what it may do in every record; none: all of the person.
    reached: Option<Choices>,
    patients: Choices,
    only_patient: bool,
    find: &'a str,
    chosen_patient: &'a str,
    visits: Option<Choices>,
    visits_of: &'a str,
    chosen_visit: &'a str,
    patient_problem: Option<&'a str>,
    visit_problem: Option<&'a str>,
    sharing_problem: Option<&'a str>,
}

impl ConsentPage<'_> {
    /// Whether there are so many patients that one looks for a name.
    fn can_find(&self) -> bool {
        !self.find.is_empty() || self.patients.shown.len() > MANY
    }
}

/// Why an answer cannot be taken as it is; shown beside what has to change.
#[derive(Clone, Copy)]
pub(super) enum Problem {
    Patient(&'static str),
    Visit(&'static str),
    Sharing(&'static str),
}

/// The page; `form` is what the person sent, if it is not the first time.
pub(super) async fn page(
    app: &App,
    http: &HttpRequest,
    asked: &Asked,
    problem: Option<Problem>,
    form: Option<&Parameters>,
) -> Result<HttpResponse, OAuthError> {
    let request = asked.request();
    let (store, broken) = (&app.store, |error: StoreError| server_error(&error));
    let client = clients::find(store, &request.client_id).await.map_err(broken)?;
    let account = users::find(store, &asked.person.user_id).await.map_err(broken)?;
    let field = |name: &str| form.and_then(|form| form.get(name)).unwrap_or_default();
    let find = field("find");
    let is_own_record = matches!(asked.person.fhir_user, Some(FhirUser::Patient(_)));
    let needs_patient = launch::needs_patient(&asked.scopes);
    let fixed_patient = fixed_patient(app, http, asked).await?;
    let patients = match &asked.person.fhir_user {
        Some(user) if needs_patient && fixed_patient.is_none() => {
            patients::patients(app, http, user, asked.limit(), find).await?
        }
        _ => Choices::default(),
    };
    let reached = reached(app, http, asked).await?;
    let only_patient = patients.shown.len() == 1 && patients.more == 0 && find.is_empty();
    let visits_of = visits_of(asked, fixed_patient.as_ref(), &patients, only_patient, field("patient"));
    let visits = match visits_of {
        Some(patient) => Some(patients::visits(app, http, patient).await?).filter(|visits| !visits.shown.is_empty()),
        None => None,
    };
    let handle = asked.handle.expose();
    let ticked = form.map(|form| ticked(&asked.scopes, form));
    let text_of = |wanted: fn(Problem) -> Option<&'static str>| problem.and_then(wanted);
    let consent = ConsentPage {
        style: page::STYLE,
        app_name: client.as_ref().map_or(request.client_id.as_str(), |client| client.name.as_str()),
        app_address: &request.redirect_uri,
        client_id: &request.client_id,
        person_name: account.as_ref().map_or("", |account| account.name.as_str()),
        username: account.as_ref().map_or("", |account| account.username.as_str()),
        handle,
        form_token: asked.browser.form_token(handle),
        headings: if asked.scopes.gives_anything() {
            wording::headings(&asked.scopes, ticked.as_ref(), is_own_record, reached.is_some())
        } else {
            Vec::new()
        },
        limits: wording::limits(&asked.scopes, is_own_record),
        needs_patient,
        fixed_visit: fixed_visit(app, http, asked).await?,
        is_own_record,
        reached,
        only_patient,
        find,
        chosen_patient: field("patient"),
        visits_of: visits_of.unwrap_or_default(),
        visits,
        chosen_visit: if field("visits_of") == visits_of.unwrap_or_default() { field("encounter") } else { "" },
        patient_problem: text_of(|it| if let Problem::Patient(text) = it { Some(text) } else { None }),
        visit_problem: text_of(|it| if let Problem::Visit(text) = it { Some(text) } else { None }),
        sharing_problem: text_of(|it| if let Problem::Sharing(text) = it { Some(text) } else { None }),
        fixed_patient: fixed_patient.clone(),
        patients: patients.clone(),
    };
    Ok(page::html(StatusCode::OK, &consent, Some(&request.redirect_uri)))
}

/// What of the asked is ticked, whole or in part, as the page shows it; what was not asked is not there.
pub(super) fn ticked(asked: &ScopeSet, form: &Parameters) -> ScopeSet {
    let ticked: ScopeSet = form.all("scope").filter_map(|text| Scope::parse(text).ok()).collect();
    let is_asked = |scope: &Scope| {
        let parts = asked.iter().flat_map(smart::scope::parts::parts_of);
        asked.contains(scope) || parts.into_iter().any(|part| part.scope == *scope)
    };
    ticked.filtered(is_asked)
}

/// The patient who was open in the EHR, or whose own record it is.
async fn fixed_patient(app: &App, http: &HttpRequest, asked: &Asked) -> Result<Option<Choice>, OAuthError> {
    let Some(user) = &asked.person.fhir_user else { return Ok(None) };
    let open = asked.launched().and_then(|launched| launched.context.patient.as_deref());
    let id = match (open, user) {
        (Some(patient), _) => patient,
        (None, FhirUser::Patient(own)) if launch::needs_patient(&asked.scopes) => own,
        _ => return Ok(None),
    };
    patients::patient(app, http, user, asked.limit(), id).await
}

/// Where an app is limited to a list of patients, and asks for more than one record: those of the list who are in the
/// person's care.
async fn reached(app: &App, http: &HttpRequest, asked: &Asked) -> Result<Option<Choices>, OAuthError> {
    match &asked.person.fhir_user {
        Some(user) if asked.limit().is_some() && asked.scopes.has_level(Level::User) => {
            patients::patients(app, http, user, asked.limit(), "").await.map(Some)
        }
        _ => Ok(None),
    }
}

async fn fixed_visit(app: &App, http: &HttpRequest, asked: &Asked) -> Result<Option<Choice>, OAuthError> {
    let context = asked.launched().map(|launched| &launched.context);
    match context.and_then(|context| context.patient.as_deref().zip(context.encounter.as_deref())) {
        Some((patient, encounter)) => patients::visit(app, http, patient, encounter).await,
        None => Ok(None),
    }
}

/// The patient among whose visits there is to choose, as soon as it is clear who that is.
fn visits_of<'a>(
    asked: &Asked,
    fixed: Option<&'a Choice>,
    patients: &'a Choices,
    only_patient: bool,
    chosen: &str,
) -> Option<&'a str> {
    let has_visit = asked.launched().is_some_and(|launched| launched.context.encounter.is_some());
    if !asked.scopes.contains(&Scope::LaunchEncounter) || has_visit {
        return None;
    }
    let shown = || patients.shown.iter().find(|patient| only_patient || patient.id == chosen);
    fixed.or_else(shown).map(|patient| patient.id.as_str())
}
