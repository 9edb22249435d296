//! Vendors that are described by a mapping file instead of code: paths, units and codes, read at the start.
//!
//! ```text
//! text of a TOML file ── read ──► Plan, or every mistake with its line and setting
//! Plan ── adapter ──► Adapter, which is used like a compiled one
//! ```
//!
//! A record is state, as with most vendors: its id stays, other content is a correction, what vanishes from it or is
//! marked as deleted becomes `entered-in-error`. What the file says of a record is in `docs/src/devices/mapping-file.md`.

mod code;
mod file;
mod measurement;
mod path;
mod plan;
mod record;
mod rule;
mod run;
mod said;
mod schema;
mod timing;
mod unit;
mod unread;
mod value;
mod vital;
mod xml;

pub use file::Mistake;
pub use plan::Plan;

use fhir::json::Json;

use self::record::Patient;
use crate::{Adapter, Authentication, Delivery, Refusal, Shape, first_byte};

/// Largest mapping file in bytes.
pub const MAX_FILE: usize = 1 << 20;

/// Name of the only shape of such a vendor.
const SHAPE: &str = "records";

impl Plan {
    /// The adapter that does what the plan says. It lives as long as the process, as compiled adapters do: plans are
    /// read once, at the start.
    pub fn adapter(self) -> &'static Adapter {
        let plan: &'static Plan = Box::leak(Box::new(self));
        let authentication = match plan.patient {
            Patient::Session => Authentication::Session,
            Patient::User(_) | Patient::Device => Authentication::ApiKey { header: &plan.header },
        };
        let route: &'static str = Box::leak(format!("/health-data/{}", plan.vendor).into_boxed_str());
        let content_types: Vec<&'static str> = plan.content_types.iter().map(String::as_str).collect();
        let shape = Shape {
            name: SHAPE,
            about: &plan.about,
            answers: 200,
            routes: Box::leak(Box::new([route])),
            recognises: &|bytes| document(bytes).is_ok(),
            receive: Box::leak(Box::new(|bytes: &[u8]| -> Result<Delivery, Refusal> { run::receive(plan, bytes) })),
            map: Box::leak(Box::new(|bytes: &[u8], context: &crate::Context<'_>| run::map(plan, bytes, context))),
        };
        Box::leak(Box::new(Adapter {
            vendor: &plan.vendor,
            name: &plan.name,
            version: &plan.version,
            authentication,
            max_bytes: plan.max_bytes,
            content_types: content_types.leak(),
            shapes: Box::leak(Box::new([shape])),
            device_kind: plan.device_kind(),
        }))
    }
}

/// The document that bytes are: JSON, or XML if they begin like it.
fn document(bytes: &[u8]) -> Result<Json, Refusal> {
    use fhir::outcome::{Issue, IssueCode};

    if first_byte(bytes) != Some(b'<') {
        return crate::json(bytes);
    }
    xml::read(bytes).map_err(|text| Refusal::Malformed(Issue::error(IssueCode::Invalid, text)))
}
