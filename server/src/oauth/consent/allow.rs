//! What is given, in which context, and the code for it.

use actix_web::{HttpRequest, HttpResponse};
use smart::error::{ErrorCode, OAuthError};
use smart::grant::{Authorization, Code, Request, Terms, lifetime};
use smart::launch::{self, LaunchContext};
use smart::scope::{MAX_SCOPE_TEXT, MAX_SCOPES, Scope, ScopeSet, parts};
use smart::token::{Kind, Secret};
use store::audit::Event;
use store::grants::{self, NewGrant};
use store::{StoreError, sessions};

use super::asked::{Asked, Stop};
use super::show::{self, Problem};
use crate::app::App;
use crate::audit;
use crate::oauth::authorize::redirect;
use crate::oauth::error::server_error;
use crate::oauth::form::Parameters;
use crate::oauth::page;
use crate::oauth::patients;

/// The person agreed: to what is ticked, for the patient that is chosen.
pub(super) async fn allow(
    app: &App,
    http: &HttpRequest,
    asked: Asked,
    form: &Parameters,
) -> Result<HttpResponse, Stop> {
    let nothing = Problem::Sharing("Choose at least one kind of data to share, or deny.");
    let given = parts::given(&asked.scopes, &show::ticked(&asked.scopes, form));
    if given.is_empty() {
        return Ok(show::page(app, http, &asked, Some(nothing), Some(form)).await?);
    }
    if given.to_string().len() > MAX_SCOPE_TEXT || given.iter().count() > MAX_SCOPES {
        let problem = Problem::Sharing("These are too many kinds for one app. Choose fewer, or whole ones.");
        return Ok(show::page(app, http, &asked, Some(problem), Some(form)).await?);
    }
    let (given, context) = match context(app, http, &asked, (given, form)).await? {
        Ok(found) => found,
        Err(problem) => return Ok(show::page(app, http, &asked, Some(problem), Some(form)).await?),
    };
    match asked.authorization.clone().approve(&given, context) {
        Ok(Authorization::Approved { request, terms }) => {
            audit::note(http, |noted| noted.patients.extend(terms.context().patient.clone()));
            let event = audit::of_change(http, app, "consent-given", 303);
            Ok(issue_code(app, &asked, &request, terms, event).await?)
        }
        Ok(_) => Err(OAuthError::new(ErrorCode::ServerError, "the request is in no state to be allowed").into()),
        Err(_) => Ok(show::page(app, http, &asked, Some(nothing), Some(form)).await?),
    }
}

/// SM-37, SM-39: whatever the form or the EHR says, only a patient of this person is taken, and only a visit of that
/// patient. Where no visit is chosen, its scope is not given.
async fn context(
    app: &App,
    http: &HttpRequest,
    asked: &Asked,
    (given, form): (ScopeSet, &Parameters),
) -> Result<Result<(ScopeSet, LaunchContext), Problem>, OAuthError> {
    let mut context = asked.launched().map(|launched| launched.context.clone()).unwrap_or_default();
    if context.patient.is_some() || launch::needs_patient(&given) {
        match patient(app, http, asked, context.patient.as_deref(), form).await? {
            Ok(patient) => context.patient = Some(patient),
            Err(text) => return Ok(Err(Problem::Patient(text))),
        }
    }
    if let Some((patient, encounter)) = context.patient.as_deref().zip(context.encounter.as_deref()) {
        if patients::visit(app, http, patient, encounter).await?.is_none() {
            return Err(OAuthError::new(ErrorCode::AccessDenied, "the visit that was open is not this patient's"));
        }
        return Ok(Ok((given, context)));
    }
    let (true, Some(patient)) = (given.contains(&Scope::LaunchEncounter), context.patient.as_deref()) else {
        return Ok(Ok((given, context)));
    };
    match visit(app, http, patient, form).await? {
        Ok(Some(visit)) => context.encounter = Some(visit),
        Ok(None) => return Ok(Ok((given.filtered(|scope| *scope != Scope::LaunchEncounter), context))),
        Err(text) => return Ok(Err(Problem::Visit(text))),
    }
    Ok(Ok((given, context)))
}

async fn patient(
    app: &App,
    http: &HttpRequest,
    asked: &Asked,
    open: Option<&str>,
    form: &Parameters,
) -> Result<Result<String, &'static str>, OAuthError> {
    let Some(user) = &asked.person.fhir_user else { return Ok(Err("Your account is not linked to a record.")) };
    let only = match (open, form.get("patient")) {
        (None, None) => {
            let mut all = patients::patients(app, http, user, asked.limit(), "").await?;
            if all.shown.len() == 1 { all.shown.pop().map(|choice| choice.id) } else { None }
        }
        _ => None,
    };
    let Some(wanted) = open.or(form.get("patient")).or(only.as_deref()) else {
        return Ok(Err("Choose the patient whose record the app may use."));
    };
    match (patients::patient(app, http, user, asked.limit(), wanted).await?, open) {
        (Some(patient), _) => Ok(Ok(patient.id)),
        (None, None) => Ok(Err("You cannot share this patient's record.")),
        (None, Some(_)) => {
            let text = "the record that was open is none that you and this app may see";
            Err(OAuthError::new(ErrorCode::AccessDenied, text))
        }
    }
}

async fn visit(
    app: &App,
    http: &HttpRequest,
    patient: &str,
    form: &Parameters,
) -> Result<Result<Option<String>, &'static str>, OAuthError> {
    let answered = form.get("encounter").filter(|_| form.get("visits_of") == Some(patient));
    match answered {
        Some("none") => Ok(Ok(None)),
        Some(wanted) => {
            let found = patients::visit(app, http, patient, wanted).await?;
            Ok(found.map(|visit| Some(visit.id)).ok_or("This is not a visit of the patient."))
        }
        None if patients::visits(app, http, patient).await?.shown.is_empty() => Ok(Ok(None)),
        None => Ok(Err("Choose the visit that the app is for.")),
    }
}

async fn issue_code(
    app: &App,
    asked: &Asked,
    request: &Request,
    terms: Terms,
    event: Option<Event>,
) -> Result<HttpResponse, OAuthError> {
    let code = Secret::new(Kind::Code, app.random.bytes());
    let now = app.clock.now();
    let kept = Code {
        client_id: request.client_id.clone(),
        redirect_uri: request.redirect_uri.clone(),
        challenge: request.challenge,
        expires_at: now + lifetime::CODE,
        used_at: None,
    };
    let session = asked.browser.secret.hash();
    let grant = NewGrant {
        id: app.random.uuid(),
        client_id: request.client_id.clone(),
        audience: request.audience.clone(),
        session: Some(session),
        nonce: request.nonce.clone(),
        auth_time: asked.browser.session.auth_time,
        expires_at: grants::end_of(&terms, now),
        terms,
    };
    let (handle, code_hash) = (asked.handle.hash(), code.hash());
    let written = app.store.write(move |tx| {
        let (grant, kept, event) = (grant.clone(), kept.clone(), event.clone());
        Box::pin(async move {
            if !sessions::spend_request(tx, handle, session, now).await? {
                return Ok(false);
            }
            if let Some(event) = event {
                tx.record(event);
            }
            grants::insert(tx, &grant, now).await?;
            grants::insert_code(tx, code_hash, &grant.id, &kept, now).await?;
            grants::sweep(tx, now).await?;
            Ok(true)
        })
    });
    if !written.await.map_err(|error: StoreError| server_error(&error))? {
        return Err(OAuthError::invalid_request("this request has been answered already"));
    }
    let location = redirect(app, &request.redirect_uri, Some(&request.state), &[("code", code.expose())]);
    Ok(page::see_other(&location, None))
}
