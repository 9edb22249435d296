//! `POST /health-data/…`: a vendor delivers a message. (IN-42, IN-43, RE-22)
//!
//! | what comes | answer | kept |
//! |---|---|---|
//! | no key, or one that is not this vendor's, and no access token either | 401 | no |
//! | a token without the rights, or of nobody's record where it takes one | 403 | no |
//! | larger than the vendor's messages are | 413 | no |
//! | of a media type that a mapping file does not name | 415 | no |
//! | not well formed | 400 | no |
//! | well formed, but names or values are missing or wrong | 422 listing all of them | yes, as dead |
//! | sound | 200 `{"_id": receipt}` after the commit; of a batch one for each item | yes |
//! | the same again | 200 with the first receipt | counted |
//! | another content under the same delivery id | 200 with a receipt of its own | yes, as duplicate |

use std::collections::BTreeSet;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use adapters::{Adapter, Authentication, Delivery, Refusal, Shape};
use fhir::json::Json;
use fhir::outcome::Issue;
use sha2::{Digest, Sha256};
use smart::scope::{Level, Right, Scope};
use store::inbox::{Arrival, Origin, Receipt, State};

use super::{Refused, door, outcome, phone};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::audit;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::request;

/// Longest word about a message that is kept from its URL.
const MAX_QUERY: usize = 200;

/// Who sent a message.
struct Sender {
    name: String,
    /// Whose token it came with; a vendor's key may deliver whatever its vendor's messages are.
    caller: Option<Caller>,
    /// Logical id of the patient whose app it is.
    patient: Option<String>,
}

/// Takes a message of the vendor whose path this is.
pub async fn handler(
    app: web::Data<App>,
    caller: Result<Caller, Refused>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refused> {
    let path = phone::path(&app, &request);
    let path = path.as_ref();
    let adapter =
        app.adapters.at(path).ok_or_else(|| Refused::new(StatusCode::NOT_FOUND, "no vendor delivers here"))?;
    let sender = authenticate(&app, adapter, &request, caller).await?;
    expect_type(adapter, &request)?;
    let limit = adapter.max_bytes.min(app.config.max_delivery);
    let body = request::body(&request, payload, limit).await?;
    let shape = adapter
        .shape_at(path, &body)
        .ok_or_else(|| Refused::new(StatusCode::NOT_FOUND, "no message of this vendor is taken here"))?;
    let origin = Origin { shape: shape.name.to_owned(), patient: sender.patient, query: told(request.query_string()) };
    let (receipt, items) = execute(&app, adapter, shape, (origin, sender.caller.as_ref()), body).await?;
    let (first, name) = (receipt.first, sender.name);
    tracing::info!(vendor = adapter.vendor, shape = shape.name, name, receipt = receipt.receipt, first, "received");
    let one = || fhir::object! { "_id": receipt.receipt.as_str() };
    let answer = items.map_or_else(one, |count| Json::Array((0..count).map(|_| one()).collect()));
    let status = StatusCode::from_u16(shape.answers).unwrap_or(StatusCode::OK);
    Ok(HttpResponse::build(status).content_type("application/json").body(answer.to_string()))
}

/// Refuses what comes as a media type that the vendor does not send.
fn expect_type(adapter: &Adapter, request: &HttpRequest) -> Result<(), Refused> {
    let told = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = told.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if adapter.content_types.is_empty() || adapter.content_types.contains(&essence.as_str()) {
        return Ok(());
    }
    let text = format!("the Content-Type is \"{essence}\"; taken are {}", adapter.content_types.join(", "));
    Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
}

/// A message as it will be kept.
pub struct Taken {
    /// What is kept.
    pub arrival: Arrival,
    /// How many items a batch has.
    pub items: Option<usize>,
    types: BTreeSet<String>,
    refused: Vec<Issue>,
}

/// Reads a message of a vendor and gives it an identity; one that is not even readable is refused. It is not yet kept.
pub fn arrival(app: &App, adapter: &Adapter, shape: &Shape, origin: Origin, body: Vec<u8>) -> Result<Taken, Refused> {
    let (delivery, refused) = match (shape.receive)(&body) {
        Ok(delivery) => (delivery, Vec::new()),
        Err(Refusal::Malformed(issue)) => return Err(Refused::listing(StatusCode::BAD_REQUEST, &[issue])),
        Err(Refusal::Unprocessable(issues) | Refusal::Vendor { issues, .. }) => (Delivery::default(), issues),
    };
    let Delivery { id, devices, items, types } = delivery;
    let id = id.unwrap_or_else(|| digest(&origin, &body));
    let arrival = Arrival {
        receipt: receipt_id(app),
        vendor: adapter.vendor.to_owned(),
        // Two patients may send the same bytes.
        delivery: Some(origin.patient.as_ref().map(|patient| format!("{patient}:{id}")).unwrap_or(id)),
        body: body.into(),
        devices,
        origin,
        state: if refused.is_empty() { State::Received } else { State::Dead },
        outcome: outcome(&[], &refused),
        at: app.clock.now(),
    };
    Ok(Taken { arrival, items, types, refused })
}

/// Checks and keeps a message of a vendor that is known to be its sender; says how many items a batch has. With a token
/// it must be allowed to write all that the message holds as FHIR.
pub async fn execute(
    app: &App,
    adapter: &Adapter,
    shape: &Shape,
    (origin, sender): (Origin, Option<&Caller>),
    body: Vec<u8>,
) -> Result<(Receipt, Option<usize>), Refused> {
    let Taken { arrival, items, types, refused } = arrival(app, adapter, shape, origin, body)?;
    if let Some(sender) = sender {
        types.iter().try_for_each(|resource_type| decide(sender, resource_type))?;
    }
    let receipt = door::receive(app, arrival).await?;
    if !refused.is_empty() {
        return Err(Refused::listing(StatusCode::UNPROCESSABLE_ENTITY, &refused));
    }
    app.inbox_changed.notify_waiters();
    Ok((receipt, items))
}

/// Who sends, by the vendor's key or by an access token.
///
/// A key is looked up by its hash, so nothing is compared byte by byte with what was shown. A token for a vendor's cloud
/// is one of a registered client with rights of the system level; a person's app has a token for one record.
async fn authenticate(
    app: &App,
    adapter: &Adapter,
    request: &HttpRequest,
    caller: Result<Caller, Refused>,
) -> Result<Sender, Refused> {
    let header = |name: &str| {
        let mut values = request.headers().get_all(name);
        values.next().filter(|_| values.next().is_none())?.to_str().ok()
    };
    let refused = || Refused::new(StatusCode::UNAUTHORIZED, "the API key is missing or not valid");
    if let Some(secret) = adapter.credential(header) {
        let known = store::vendor_keys::sender(&app.store, hash(secret), adapter.vendor).await?;
        let name = known.ok_or_else(refused)?;
        audit::note(request, |noted| noted.client = Some(format!("{}/{name}", adapter.vendor)));
        return Ok(Sender { name, caller: None, patient: None });
    }
    if adapter.authentication == Authentication::Session && phone::is_meant(request) {
        let person = phone::Person::sending(app, request).await?;
        let (name, patient) = (person.account.username.clone(), Some(person.patient.clone()));
        return Ok(Sender { name, caller: Some(person.caller(request)), patient });
    }
    let bearer = request.headers().contains_key("authorization");
    if adapter.authentication != Authentication::Session && !bearer {
        return Err(refused());
    }
    let caller = caller?;
    access::decide(&caller, Interaction::Create, "Observation")?;
    if adapter.authentication == Authentication::Session {
        let text = "the access token must be for the record of one patient";
        let patient = caller.patient.clone().ok_or_else(|| Refused::new(StatusCode::FORBIDDEN, text))?;
        return Ok(Sender { name: caller.client_id.clone(), caller: Some(caller), patient: Some(patient) });
    }
    if !caller.scopes.has_level(Level::System) || caller.user.is_some() {
        let text = "delivering for a vendor needs a token with system scopes";
        return Err(Refused::new(StatusCode::FORBIDDEN, text));
    }
    Ok(Sender { name: caller.client_id.clone(), caller: Some(caller), patient: None })
}

/// Whether a sender may write resources of a type: the message creates them, or updates what it told before. What is
/// written is made later and by the server, so conditions of a granular scope cannot be held against it.
pub fn decide(sender: &Caller, resource_type: &str) -> Result<(), Error> {
    for interaction in [Interaction::Create, Interaction::Update] {
        access::decide(sender, interaction, resource_type)?;
    }
    let whole = sender.scopes.filtered(|scope| match scope {
        Scope::Resource(scope) => scope.constraint.is_empty(),
        _ => true,
    });
    if [Right::Create, Right::Update].into_iter().all(|right| whole.allows(right, resource_type)) {
        return Ok(());
    }
    Err(Error::forbidden(format!("delivering {resource_type} needs a scope for all resources of that type")))
}

/// What is kept of the query: the type of samples, and how times are meant. Some vendors put secrets there.
fn told(query: &str) -> String {
    let is_told = |pair: &&str| {
        let mut names = ["type=", "recorded_time="].into_iter();
        names.any(|name| pair.starts_with(name)) && pair.len() <= MAX_QUERY
    };
    query.split('&').filter(is_told).take(2).collect::<Vec<_>>().join("&")
}

/// The identity of a message without an id of its own: the same bytes mean something else in another shape, or with
/// another type in the URL.
fn digest(origin: &Origin, body: &[u8]) -> String {
    let parts = [origin.shape.as_bytes(), b"\0", origin.query.as_bytes(), b"\0", body];
    let digest = parts.into_iter().fold(Sha256::new(), Digest::chain_update).finalize();
    format!("sha256:{}", fhir::hexadecimal(&digest))
}

/// What is kept of a vendor's secret.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// 24 hexadecimal digits: seconds since 1970, then randomness.
fn receipt_id(app: &App) -> String {
    let seconds = u32::try_from(app.clock.now() / 1_000_000).unwrap_or(u32::MAX);
    let random = u64::from_be_bytes(app.random.bytes::<8>());
    format!("{seconds:08x}{random:016x}")
}
