//! The audit trail: one event for each access and each authentication event, on its way to safety before the answer
//! leaves. (CO-01 … CO-08; decision 14) <https://profiles.ihe.net/ITI/BALP/>
//!
//! [`record`] wraps every route. What an event says beyond the request is noted on the way: by [`Caller`] who asks, by
//! interactions whose data they hand out. The event of a write is written by the transaction of the write, see
//! [`Tx::put`](store::Tx::put); then nothing is left to do here.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage as _, HttpRequest, ResponseError as _, web};
use store::audit::{Entity, Event, Kind};

use crate::app::App;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::error::Error;
use crate::random::Random;
use crate::rest::response;
use crate::routes::FHIR;

mod conditions;
mod links;
mod named;
mod parameters;
mod render;
pub mod route;
pub mod seals;
pub mod serve;
pub mod strangers;

pub use named::{masked, patients_in};

use route::Asked;

/// The header that names a request, in both directions.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest name of a request that is taken over from the client.
const MAX_REQUEST_ID: usize = 64;

/// What becomes known of a request while it is carried out.
#[derive(Debug, Default)]
pub struct Trail {
    request: Option<String>,
    address: Option<IpAddr>,
    /// The path by which requests find their handlers: what was escaped without need is not.
    path: String,
    noted: Mutex<Noted>,
    written: Arc<AtomicBool>,
}

/// What handlers add.
#[derive(Debug, Default)]
pub struct Noted {
    /// What happened, where the address does not tell.
    pub subtype: Option<&'static str>,
    /// `client_id` of the app, which proved to be it or was found.
    pub client: Option<String>,
    /// Key of the account.
    pub account: Option<String>,
    /// The record that the person is.
    pub fhir_user: Option<String>,
    /// Patients whose data was handed out.
    pub patients: BTreeSet<String>,
    /// The version that was handed out.
    pub version: Option<i64>,
    /// What was handed out where the address does not name it.
    pub found: Option<String>,
    /// What was searched with a form.
    pub query: Option<String>,
    /// Entries of a Bundle.
    pub entries: Event,
    /// Whether the caller sees one patient only, whose data all of it is then.
    confined: bool,
}

impl Trail {
    fn of(request: &ServiceRequest, app: &App, id: [u8; 16]) -> Self {
        let named = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let named = named.filter(|name| {
            (1..=MAX_REQUEST_ID).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        });
        let name = named.map_or_else(|| uuid::Uuid::from_bytes(id).to_string(), str::to_owned);
        Trail {
            request: Some(name),
            address: app.config.trusted_proxies.client(request.peer_addr(), request.headers()),
            path: request.match_info().as_str().to_owned(),
            ..Trail::default()
        }
    }

    /// Adds what is known.
    pub fn note(&self, add: impl FnOnce(&mut Noted)) {
        add(&mut self.noted());
    }

    /// Who asks.
    pub fn identify(&self, caller: &Caller) {
        use search::view::Compartment;
        let mut noted = self.noted();
        noted.client = Some(caller.client_id.clone());
        noted.account.clone_from(&caller.user);
        noted.fhir_user.clone_from(&caller.fhir_user);
        if let Compartment::Patients(patients) = caller.view.compartment()
            && let [patient] = patients.as_slice()
        {
            noted.patients = BTreeSet::from([patient.clone()]);
            noted.confined = true;
        }
    }

    /// A text of a resource that is handed out to `caller`.
    pub fn saw(&self, caller: &Caller, body: &str) {
        let mut noted = self.noted();
        if !noted.confined {
            patients_in(body, &caller.base, &mut noted.patients);
        }
    }

    /// The beginning of an event of this request.
    pub fn event(&self, caller: &Caller, clock: &Clock, random: &Random) -> Event {
        Event {
            id: store::audit::id_at(clock.now(), random.bytes()),
            client: Some(caller.client_id.clone()),
            account: caller.user.clone(),
            fhir_user: caller.fhir_user.clone(),
            address: self.address.map(|address| address.to_string()),
            request: self.request.clone(),
            ..Event::default()
        }
    }

    /// The event of what was carried out in the background; `job` is named as the request.
    pub fn of_job(&self, caller: &Caller, app: &App, (method, url, job): (&str, &str, &str), status: u16) -> Event {
        let method = actix_web::http::Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let path = format!("{FHIR}/{}", url.split('?').next().unwrap_or_default());
        let asked = route::of(&method, &path);
        let noted = std::mem::take(&mut *self.noted());
        Event {
            subtype: noted.subtype.or(asked.map(|asked| asked.subtype)).unwrap_or_default().into(),
            action: asked.map_or('E', |asked| asked.action),
            status,
            request: Some(job.to_owned()),
            patients: noted.patients,
            entities: noted.entries.entities,
            query: Some(masked(url)).filter(|_| method != actix_web::http::Method::POST),
            ..self.event(caller, &app.clock, &app.random)
        }
    }

    /// The event of what was handed out in the background since this was asked last, to be written with the step of the
    /// job that keeps it; none where it was nobody's.
    pub fn of_step(&self, caller: &Caller, app: &App, (url, job): (&str, &str)) -> Option<Event> {
        let patients = {
            let mut noted = self.noted();
            if noted.confined { noted.patients.clone() } else { std::mem::take(&mut noted.patients) }
        };
        (!patients.is_empty()).then(|| Event {
            subtype: "operation".into(),
            action: 'R',
            status: 200,
            request: Some(job.to_owned()),
            patients,
            query: Some(masked(url)),
            ..self.event(caller, &app.clock, &app.random)
        })
    }

    /// What becomes true when the event of the whole request is on disk.
    pub fn written(&self) -> Arc<AtomicBool> {
        self.written.clone()
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The event of a request that has been answered.
    fn finished(&self, id: [u8; 16], asked: &Asked, request: &HttpRequest, status: u16) -> Event {
        let noted = std::mem::take(&mut *self.noted());
        let mut event = Event {
            id,
            kind: asked.kind,
            subtype: noted.subtype.unwrap_or(asked.subtype).into(),
            action: asked.action,
            status,
            address: self.address.map(|address| address.to_string()),
            request: self.request.clone(),
            patients: noted.patients,
            entities: noted.entries.entities,
            ..Event::default()
        };
        if asked.kind == Kind::Rest {
            // What somebody unknown asks for may hold anything, and finds nothing.
            if noted.client.is_some() {
                let query = noted.query.or_else(|| Some(request.query_string().to_owned()));
                let path = self.path.strip_prefix(FHIR).unwrap_or(&self.path).trim_start_matches('/');
                let path = path.replace(char::is_control, "");
                let query = query.filter(|query| !query.is_empty() || asked.is_search());
                event.query = query.map(|query| masked(&format!("{path}?{query}")));
            }
            let mut touch = |reference: &str| event.touch(Entity { action: asked.action, status, reference });
            if let Some((resource_type, id, version)) = route::instance(&self.path) {
                let version = noted.version.map(|version| version.to_string()).or(version.map(str::to_owned));
                let version = version.map(|version| format!("/_history/{version}")).unwrap_or_default();
                touch(&format!("{resource_type}/{id}{version}"));
            } else if let Some(reference) = &noted.found {
                touch(reference);
            }
        }
        (event.client, event.account, event.fhir_user) = (noted.client, noted.account, noted.fhir_user);
        event
    }
}

/// Adds to what is known of a request.
pub fn note(request: &HttpRequest, add: impl FnOnce(&mut Noted)) {
    if let Some(trail) = of(request) {
        trail.note(add);
    }
}

/// The event of what a request changes, to be written with the change; none of a request that has no event. Who asks
/// must have been noted.
pub fn of_change(request: &HttpRequest, app: &App, subtype: &'static str, status: u16) -> Option<Event> {
    let trail = of(request)?;
    let asked = route::of(request.method(), &trail.path)?;
    let noted = trail.noted();
    Some(Event {
        id: store::audit::id_at(app.clock.now(), app.random.bytes()),
        kind: asked.kind,
        subtype: subtype.into(),
        action: asked.action,
        status,
        client: noted.client.clone(),
        account: noted.account.clone(),
        fhir_user: noted.fhir_user.clone(),
        address: trail.address.map(|address| address.to_string()),
        request: trail.request.clone(),
        patients: noted.patients.clone(),
        written: Some(trail.written()),
        ..Event::default()
    })
}

/// The trail of a request.
pub fn of(request: &HttpRequest) -> Option<Arc<Trail>> {
    request.extensions().get::<Arc<Trail>>().cloned()
}

/// Middleware around all routes: no answer leaves whose event is not written. Where it cannot be written, what was
/// asked for is refused.
pub async fn record<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let Some(app) = request.app_data::<web::Data<App>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    };
    let id = store::audit::id_at(app.clock.now(), app.random.bytes());
    let trail = Arc::new(Trail::of(&request, &app, id));
    let asked = route::of(request.method(), &trail.path);
    request.extensions_mut().insert(trail.clone());
    let response = next.call(request).await?;
    let mut written = Ok(());
    if let Some(asked) = asked.filter(|_| !trail.written.load(Ordering::Acquire)) {
        let event = trail.finished(id, &asked, response.request(), response.status().as_u16());
        let is_counted = strangers::is_one(&event) && !app.strangers.admit(trail.address, app.clock.now());
        if !is_counted {
            written = app.store.audit(event).await;
        }
    }
    let mut response = match written {
        Ok(()) => response.map_into_left_body(),
        Err(error) => {
            let error = Error::from(error);
            let is_fhir = trail.path.starts_with(FHIR);
            let refused = if is_fhir { response::rendered(response.request(), &error) } else { error.error_response() };
            response.into_response(refused).map_into_right_body()
        }
    };
    if let Some(name) = trail.request.as_deref().and_then(|name| HeaderValue::from_str(name).ok()) {
        response.headers_mut().insert(REQUEST_ID, name);
    }
    Ok(response)
}
