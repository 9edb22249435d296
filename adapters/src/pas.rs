//! Payers that speak FHIR: the shape of Da Vinci Prior Authorization Support. <https://hl7.org/fhir/us/davinci-pas/>
//!
//! ```text
//! outbound  Claim with what it refers to ──▶ Bundle for POST [payer]/Claim/$submit, and for Claim/$inquire
//! answers   Bundle, ClaimResponse, Parameters of Bundles, OperationOutcome ──▶ what our ClaimResponse says
//! ```
//!
//! What goes out is FHIR already: the work is to send everything that the claim refers to, each once, and nothing else
//! ([`parcel`]), to prove the money, and to believe only answers that are about this claim ([`answer`]).

mod answer;
mod inquiry;
mod kept;
mod parcel;
mod payer;
mod request;

pub use payer::PAYER;

use fhir::json::Json;
use fhir::outcome::IssueCode;

use crate::{Adapter, Authentication, Delivery, Mapping, Refusal, Shape, TOKEN, error, json, quarantined};

/// The adapter.
pub(crate) static ADAPTER: Adapter = Adapter {
    vendor: VENDOR,
    name: "Da Vinci PAS",
    version: "1",
    authentication: Authentication::Asked,
    max_bytes: 4 << 20,
    content_types: &[],
    shapes: &[
        TOKEN,
        Shape {
            name: "claim",
            about: "outbound: a Claim and what it refers to, for POST Claim/$submit",
            answers: 200,
            routes: &[],
            recognises: &|bytes| json(bytes).is_ok_and(|json| first_is(&json, "Claim")),
            receive: &given,
            map: &|bytes, context| sent(bytes, |json| request::build(json, context).map(|it| (it.body, it.warnings))),
        },
        Shape {
            name: "inquiry",
            about: "outbound: what was sent with a Claim, for POST Claim/$inquire",
            answers: 200,
            routes: &[],
            recognises: &|_| false,
            receive: &given,
            map: &|bytes, context| {
                let reference = context.visit.and_then(|told| told.str("reference")).unwrap_or_default();
                sent(bytes, |json| inquiry::build(json, reference, context).map(|body| (body, Vec::new())))
            },
        },
        Shape {
            name: "response",
            about: "the answer to a claim or an inquiry",
            answers: 200,
            routes: &[],
            recognises: &|bytes| json(bytes).is_ok_and(|json| answer::responses(&json).next().is_some()),
            receive: &answered,
            map: &|bytes, context| {
                json(bytes).map_or_else(quarantined, |json| Mapping::Publish(kept::publication(&json, context)))
            },
        },
        Shape {
            name: "error",
            about: "an OperationOutcome, or an error of the payer's tokens",
            answers: 200,
            routes: &[],
            recognises: &|_| true,
            receive: &answered,
            map: &|bytes, _| quarantined(answered(bytes).err().unwrap_or_else(|| answer::refusal(&Json::Null))),
        },
    ],
    device_kind: |_| "provider",
};

/// Adapter id in names.
const VENDOR: &str = "pas";

/// Where PAS defines its extensions.
const DEFINITIONS: &str = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition";

/// A Bundle whose first resource is of this type.
fn first_is(json: &Json, resource_type: &str) -> bool {
    let first = json.list("entry").first().and_then(|entry| entry.get("resource"));
    json.str("resourceType") == Some("Bundle") && first.and_then(|it| it.str("resourceType")) == Some(resource_type)
}

/// Accepts FHIR that is to be sent.
fn given(bytes: &[u8]) -> Result<Delivery, Refusal> {
    if first_is(&json(bytes)?, "Claim") {
        return Ok(Delivery::default());
    }
    let text = "Body is no Bundle that begins with a Claim and holds what it refers to";
    Err(Refusal::Unprocessable(vec![error(IssueCode::Structure, text, "Bundle.entry[0].resource")]))
}

fn sent(
    bytes: &[u8],
    build: impl FnOnce(&Json) -> Result<(Json, Vec<fhir::outcome::Issue>), Vec<fhir::outcome::Issue>>,
) -> Mapping {
    match json(bytes).map(|json| build(&json)) {
        Ok(Ok((request, issues))) => Mapping::Send { request, issues },
        Ok(Err(issues)) => Mapping::Refuse { issues },
        Err(refusal) => quarantined(refusal),
    }
}

/// Accepts an answer that holds a ClaimResponse.
fn answered(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let json = json(bytes)?;
    if answer::responses(&json).next().is_some() { Ok(Delivery::default()) } else { Err(answer::refusal(&json)) }
}
