//! SmartLink of Smart Applications: members' cover, visits and claims of insurers in East Africa.
//!
//! ```text
//! answers   token, visit, member, copay, claim answer, claim status, errors ──▶ FHIR
//! outbound  Claim with what it refers to ──▶ body of POST /api/claims; Conditions ──▶ body of POST /api/clinic-record
//! ```
//!
//! Nothing is sent to us: every message answers a question of ours, so what it does not repeat comes with the question
//! ([`Facts`]). An amount that cannot be read is never guessed.

mod answer;
mod check;
mod claim;
mod claim_back;
mod claim_parts;
mod clinic_record;
mod copay;
mod facts;
mod graph;
mod local_time;
mod lost;
mod member;
mod payer;
mod status;
mod taken;
mod visit;

pub use facts::Facts;
pub use payer::PAYER;

use fhir::json::Json;
use fhir::outcome::IssueCode;

use crate::bundle::Source;
use crate::{
    Adapter, Authentication, Context, Delivery, Mapping, Publication, Refusal, Shape, TOKEN, error, json, quarantined,
};

/// A shape whose messages a module reads.
macro_rules! shape {
    ($name:literal, $about:literal, $module:ident, $receive:ident) => {
        Shape {
            name: $name,
            about: $about,
            answers: 200,
            routes: &[],
            recognises: &|bytes| json(bytes).is_ok_and(|json| $module::recognises(&json)),
            receive: &|bytes| $receive(bytes, $module::read),
            map: &|bytes, context| mapped(bytes, context, $module::read),
        }
    };
}

/// The adapter.
pub(crate) static ADAPTER: Adapter = Adapter {
    vendor: VENDOR,
    name: "SmartLink",
    version: "1",
    authentication: Authentication::Asked,
    max_bytes: 4 << 20,
    content_types: &[],
    shapes: &[
        TOKEN,
        shape!("claim", "outbound: a Claim and what it refers to, for POST /api/claims", claim, given),
        shape!(
            "clinic-record",
            "outbound: diagnoses of an Encounter, for POST /api/clinic-record",
            clinic_record,
            given
        ),
        shape!("member", "a member with benefits and balances", member, answered),
        shape!("visit", "sessions of a patient, or the one that was merged or closed", visit, answered),
        shape!("copay", "what the member pays", copay, answered),
        shape!("claim-status", "what has become of an invoice", status, answered),
        shape!("claim-answer", "the answer to a claim", taken, answered),
        shape!("claim-body", "what was sent to POST /api/claims, read again", claim_back, answered),
        shape!("error", "an error: of SmartLink, of the framework below it, or of its tokens", answer, answered),
    ],
    device_kind: |_| "provider",
};

/// Vendor id in names.
const VENDOR: &str = "smartlink";

/// What a module makes of a message: a refusal never depends on what came with the question.
type Read = fn(&Json, &Facts<'_>) -> Result<Mapping, Refusal>;

/// Accepts an answer unless it is an error or cannot be read.
fn answered(bytes: &[u8], read: Read) -> Result<Delivery, Refusal> {
    let json = json(bytes)?;
    if let Some(refusal) = answer::refusal(&json) {
        return Err(refusal);
    }
    read(&json, &Facts::new(&Context::default())).map(|_| Delivery::default())
}

/// Accepts FHIR: whether it can be sent depends on the visit.
fn given(bytes: &[u8], _: Read) -> Result<Delivery, Refusal> {
    let json = json(bytes)?;
    if json.str("resourceType") == Some("Bundle") {
        return Ok(Delivery::default());
    }
    let text = "Body is no Bundle with the Claim or the Conditions and what they refer to";
    Err(Refusal::Unprocessable(vec![error(IssueCode::Structure, text, "resourceType")]))
}

fn mapped(bytes: &[u8], context: &Context<'_>, read: Read) -> Mapping {
    let read = json(bytes).and_then(|json| match answer::refusal(&json) {
        Some(refusal) => Err(refusal),
        None => read(&json, &Facts::new(context)),
    });
    read.unwrap_or_else(quarantined)
}
