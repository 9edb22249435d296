//! `POST /health-data/…`: a vendor delivers a message. (IN-42, IN-43, RE-22)
//!
//! | what comes | answer | kept |
//! |---|---|---|
//! | no key, or one that is not this vendor's | 401 | no |
//! | larger than the vendor's messages are | 413 | no |
//! | not well formed | 400 | no |
//! | well formed, but names or values are missing or wrong | 422 listing all of them | yes, as dead |
//! | sound | 200 `{"_id": receipt}` after the commit | yes |
//! | the same again | 200 with the first receipt | counted |
//! | another content under the same delivery id | 200 with a receipt of its own | yes, as duplicate |

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use adapters::{Adapter, Refusal};
use sha2::{Digest as _, Sha256};
use store::inbox::{self, Arrival, Receipt, State};

use super::{Refused, outcome};
use crate::app::App;
use crate::rest::request;

/// Takes a message of the vendor whose path this is.
pub async fn handler(
    app: web::Data<App>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refused> {
    let adapter =
        of_path(request.path()).ok_or_else(|| Refused::new(StatusCode::NOT_FOUND, "no vendor delivers here"))?;
    let sender = authenticate(&app, adapter, &request).await?;
    let limit = adapter.max_bytes.min(app.config.max_delivery);
    let body = request::body(&request, payload, limit).await?;
    let receipt = execute(&app, adapter, body).await?;
    tracing::info!(vendor = adapter.vendor, sender, receipt = receipt.receipt, first = receipt.first, "received");
    let answer = fhir::object! { "_id": receipt.receipt };
    Ok(HttpResponse::Ok().content_type("application/json").body(answer.to_string()))
}

/// Checks and keeps a message of a vendor that is known to be its sender.
pub async fn execute(app: &App, adapter: &Adapter, body: Vec<u8>) -> Result<Receipt, Refused> {
    let (delivery, devices, refused) = match (adapter.receive)(&body) {
        Ok(delivery) => (Some(delivery.id), delivery.devices, Vec::new()),
        Err(Refusal::Malformed(issue)) => return Err(Refused::listing(StatusCode::BAD_REQUEST, &[issue])),
        Err(Refusal::Unprocessable(issues)) => (None, Vec::new(), issues),
    };
    let arrival = Arc::new(Arrival {
        receipt: receipt_id(app),
        vendor: adapter.vendor.to_owned(),
        delivery,
        body: body.into(),
        devices,
        state: if refused.is_empty() { State::Received } else { State::Dead },
        outcome: outcome(&[], &refused),
        at: app.clock.now(),
    });
    let receipt = app
        .store
        .write(move |tx| {
            let arrival = arrival.clone();
            Box::pin(async move { inbox::receive(tx, &arrival).await })
        })
        .await?;
    if !refused.is_empty() {
        return Err(Refused::listing(StatusCode::UNPROCESSABLE_ENTITY, &refused));
    }
    app.inbox_changed.notify_waiters();
    Ok(receipt)
}

/// The adapter that a path belongs to.
fn of_path(path: &str) -> Option<&'static Adapter> {
    adapters::ADAPTERS.iter().copied().find(|adapter| adapter.routes.contains(&path))
}

/// The name of the sender. Its secret is looked up by hash, so nothing is compared byte by byte with what was shown.
async fn authenticate(app: &App, adapter: &Adapter, request: &HttpRequest) -> Result<String, Refused> {
    let refused = || Refused::new(StatusCode::UNAUTHORIZED, "the API key is missing or not valid");
    let header = |name: &str| {
        let mut values = request.headers().get_all(name);
        values.next().filter(|_| values.next().is_none())?.to_str().ok()
    };
    let secret = adapter.credential(header).ok_or_else(refused)?;
    store::vendor_keys::sender(&app.store, hash(secret), adapter.vendor).await?.ok_or_else(refused)
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
