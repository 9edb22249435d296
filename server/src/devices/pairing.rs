//! Which patient has which device: written by operators, read by the mapping of every message. (RE-19)
//!
//! `POST /devices/assign` takes `{deviceId, deviceType, name, deviceProvider, assignedPatientId}` and answers
//! `{"_id": pairing}`; `POST /devices/{id}/unassign` ends it. Both need a token of the system level that may write
//! Device and `DeviceUseStatement`. `tributary pair` calls the same functions. A patient who is signed in on a phone
//! may assign what sends with that sign-in, to nobody but themselves.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use adapters::Authentication;
use adapters::device::{self, Use};
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use search::view::{Compartment, View};
use smart::scope::Level;
use store::inbox::{self, Filter, State};
use store::pairings::{self, Paired, Pairing};

use super::registry::{self, Change};
use super::{Refused, phone};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::{bundle, request};

/// Largest body of an assignment.
const MAX_BYTES: usize = 64 << 10;

/// Longest device identifier or provider.
const MAX_NAME: usize = 200;

/// What an operator wants.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Vendor or provider of the device.
    pub provider: String,
    /// Device identifier as the vendor writes it.
    pub device: String,
    /// Logical id of the patient.
    pub patient: String,
    /// From when; now if it is not said.
    pub from: Option<i64>,
    /// Until when, if that is known.
    pub until: Option<i64>,
    /// Name that people call the device by.
    pub name: Option<String>,
    /// What sort of device it is.
    pub device_type: Option<String>,
}

/// A pairing, and how many messages waited for it.
#[derive(Clone, Debug)]
pub struct Made {
    /// The pairing that holds now.
    pub pairing: Pairing,
    /// Quarantined messages that were put back into the queue.
    pub replayed: u64,
}

/// `POST /devices/assign`.
pub async fn assign(
    app: web::Data<App>,
    caller: Result<Caller, Refused>,
    request: actix_web::HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refused> {
    let person = if phone::is_meant(&request) { Some(phone::Person::sending(&app, &request).await?) } else { None };
    let caller = match &person {
        Some(person) => person.caller(&request),
        None => caller.and_then(|caller| authorize(&caller).map(|()| caller).map_err(Refused::from))?,
    };
    let body = request::body(&request, payload, MAX_BYTES).await?;
    let json = Json::parse(&body)
        .map_err(|error| Refused::new(StatusCode::BAD_REQUEST, format!("Body is not well formed JSON: {error}")))?;
    let wish = wish(&json)?;
    if let Some(person) = &person {
        own(&app, person, &wish)?;
    }
    let made = pair(&app, &caller, wish).await?;
    let answer = fhir::object! { "_id": made.pairing.id };
    Ok(HttpResponse::Ok().content_type("application/json").body(answer.to_string()))
}

/// `POST /devices/{id}/unassign`.
pub async fn unassign(
    app: web::Data<App>,
    caller: Result<Caller, Refused>,
    path: web::Path<String>,
) -> Result<HttpResponse, Refused> {
    let caller = caller?;
    authorize(&caller)?;
    let unknown = || Refused::new(StatusCode::NOT_FOUND, "there is no open assignment of this id");
    if !fhir::id::is_valid(&path) {
        return Err(unknown());
    }
    let now = app.clock.now();
    end(&app, &caller, &path, now).await?.ok_or_else(unknown)?;
    Ok(HttpResponse::NoContent().finish())
}

/// Pairs a device with a patient, writes Device and `DeviceUseStatement`, and puts messages that waited for it
/// back into the queue. Doing it again changes nothing.
pub async fn pair(app: &App, caller: &Caller, wish: Wish) -> Result<Made, Error> {
    let now = app.clock.now();
    let wanted = Pairing {
        id: app.random.uuid().replace('-', ""),
        vendor: wish.provider.clone(),
        device: wish.device.clone(),
        patient: wish.patient.clone(),
        from: wish.from.unwrap_or(now),
        until: wish.until,
    };
    if wanted.until.is_some_and(|until| until <= wanted.from) {
        return Err(Error::unprocessable(Issue::error(IssueCode::Value, "an assignment ends after it begins")));
    }
    let known = app.store.read(&View::system(), "Patient", &wish.patient).await?;
    if known.is_none_or(|stored| stored.deleted) {
        let text = format!("there is no Patient/{}", wish.patient);
        return Err(Error::unprocessable(Issue::error(IssueCode::NotFound, text)));
    }
    let (made, replayed) = keep(app, caller, &wanted, now).await?;
    let pairing = match made {
        Paired::Made => wanted,
        Paired::Already(standing) => standing,
        Paired::Taken(other) => {
            let text =
                format!("{} is assigned to another patient at that time; end that assignment first", other.device);
            return Err(Error::conflict(Issue::error(IssueCode::Conflict, text)));
        }
    };
    publish(app, caller, &pairing, wish.name.as_deref(), wish.device_type.as_deref()).await?;
    app.inbox_changed.notify_waiters();
    Ok(Made { pairing, replayed })
}

/// Ends an open pairing; nothing if there is none of this id.
pub async fn end(app: &App, caller: &Caller, id: &str, until: i64) -> Result<Option<Pairing>, Error> {
    let wanted = id.to_owned();
    let ended = app
        .store
        .write(move |tx| {
            let id = wanted.clone();
            Box::pin(async move { pairings::end(tx, &id, until).await })
        })
        .await?;
    if let Some(pairing) = &ended {
        publish(app, caller, pairing, None, None).await?;
    }
    Ok(ended)
}

/// The pairing and the replay in one transaction: no message can be quarantined in between.
async fn keep(app: &App, caller: &Caller, wanted: &Pairing, now: i64) -> Result<(Paired, u64), Error> {
    let (wanted, actor) = (wanted.clone(), caller.actor().to_owned());
    app.store
        .write(move |tx| {
            let (wanted, actor) = (wanted.clone(), actor.clone());
            Box::pin(async move {
                let paired = pairings::insert(tx, &wanted, &actor, now).await?;
                let filter = Filter {
                    vendor: Some(wanted.vendor.clone()),
                    device: Some(wanted.device.clone()),
                    state: Some(State::Quarantined),
                    receipt: None,
                };
                let replayed = match paired {
                    Paired::Made => inbox::replay(tx, &filter).await?,
                    Paired::Already(_) | Paired::Taken(_) => 0,
                };
                Ok::<_, Error>((paired, replayed))
            })
        })
        .await
}

async fn publish(
    app: &App,
    caller: &Caller,
    pairing: &Pairing,
    name: Option<&str>,
    device_type: Option<&str>,
) -> Result<(), Error> {
    let adapter = app.adapters.find(&pairing.vendor);
    let kind = adapter.map_or("device-id", |adapter| (adapter.device_kind)(&pairing.device));
    let (start, end) = (instant(pairing.from), pairing.until.map(instant));
    let usage = Use {
        provider: &pairing.vendor,
        kind,
        device: &pairing.device,
        name,
        device_type,
        patient: &pairing.patient,
        start: &start,
        end: end.as_deref(),
        recorded: &start,
    };
    let told = device::assignment(&app.config.adapter_namespace, &usage);
    let holder = format!("Patient/{}", pairing.patient);
    let change = Change { released_from: pairing.until.map(|_| holder.as_str()) };
    let settled = registry::settle(app, caller, &told, change, &mut registry::Seen::new()).await?;
    if settled.is_empty() {
        return Ok(());
    }
    bundle::execute(app, caller, registry::transaction(settled)).await.map(drop)
}

/// Whoever pairs decides whose data a device makes: that takes the rights of the system level.
fn authorize(caller: &Caller) -> Result<(), Error> {
    for resource_type in ["Device", "DeviceUseStatement"] {
        for interaction in [Interaction::Search, Interaction::Create, Interaction::Update] {
            access::decide(caller, interaction, resource_type)?;
        }
    }
    let everyone = *caller.view.compartment() == Compartment::Everyone;
    if everyone && caller.scopes.has_level(Level::System) && caller.user.is_none() {
        Ok(())
    } else {
        Err(Error::forbidden("assigning devices needs a token with system scopes"))
    }
}

/// A person assigns to themselves, and only what sends with their own sign-in: of a device whose vendor delivers, the
/// next readings may be somebody else's.
fn own(app: &App, person: &phone::Person, wish: &Wish) -> Result<(), Refused> {
    let refused = |text| Err(Refused::new(StatusCode::FORBIDDEN, text));
    if wish.patient != person.patient {
        return refused("a device can be assigned to your own record only");
    }
    match app.adapters.find(&wish.provider) {
        Some(adapter) if adapter.authentication == Authentication::Session => Ok(()),
        _ => refused("devices of this vendor are assigned by who runs the server"),
    }
}

fn wish(json: &Json) -> Result<Wish, Refused> {
    let mut missing = Vec::new();
    let mut required = |name: &str| match json.str(name).map(str::trim) {
        Some(text) if !text.is_empty() && text.len() <= MAX_NAME => text.to_owned(),
        _ => {
            missing.push(format!("{name} must be a text of 1 to {MAX_NAME} characters"));
            String::new()
        }
    };
    let (device, provider, patient) = (required("deviceId"), required("deviceProvider"), required("assignedPatientId"));
    if !missing.is_empty() {
        return Err(Refused::new(StatusCode::UNPROCESSABLE_ENTITY, missing.join("; ")));
    }
    let optional = |name: &str| json.str(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(Wish {
        provider,
        device,
        patient,
        name: optional("name"),
        device_type: optional("deviceType"),
        ..Wish::default()
    })
}

fn instant(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros).unwrap_or_default().to_string()
}
