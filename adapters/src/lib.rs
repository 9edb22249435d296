#![doc = include_str!("../README.md")]

mod bundle;
pub mod declared;
pub mod device;
pub mod event_stream;
#[cfg(test)]
mod example;
mod external;
mod found;
pub mod healthkit;
mod holder;
mod medisante;
pub mod memory;
pub mod money;
mod number;
mod observation;
pub mod pas;
pub mod payer;
mod reading;
mod registry;
mod smart_meter;
pub mod smartlink;
pub mod smartz;
pub mod state;
mod table;
mod time;
mod validic;
mod version;

pub use holder::{Holder, is_of};
pub use registry::{Registry, Taken};
pub use version::Version;

use std::collections::BTreeSet;
use std::fmt;
use std::panic::RefUnwindSafe;

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

/// Every vendor with an adapter that is compiled in; those of mapping files join them in a [`Registry`].
pub const ADAPTERS: &[&Adapter] = &[
    &medisante::ADAPTER,
    &healthkit::ADAPTER,
    &validic::ADAPTER,
    &smart_meter::ADAPTER,
    &smartz::ADAPTER,
    &smartlink::ADAPTER,
    &pas::ADAPTER,
];

/// What the server has to know about a vendor: who it is, and the shapes that its messages come in.
#[derive(Debug)]
pub struct Adapter {
    /// Name in identifiers, keys, pairings and on the command line, such as `medisante`.
    pub vendor: &'static str,
    /// The vendor's name for people.
    pub name: &'static str,
    /// Version of the mapping: it stands in the Provenance of what was written.
    pub version: &'static str,
    /// How the sender proves who it is.
    pub authentication: Authentication,
    /// Largest message in bytes.
    pub max_bytes: usize,
    /// Media types that its messages come as, in lower case; any, if there is none.
    pub content_types: &'static [&'static str],
    /// The shapes of its messages.
    pub shapes: &'static [Shape],
    /// Kind of identifier (`device-id`, `serial-number`) that a device identifier of this vendor is.
    pub device_kind: fn(&str) -> &'static str,
}

/// One sort of message of a vendor, and the pure functions that read it.
pub struct Shape {
    /// Name of the shape, such as `medisantestandard-json`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Status that whoever sent it, or asked us for it, is answered with.
    pub answers: u16,
    /// Paths that take it; none if it only comes as an answer to a question of ours.
    pub routes: &'static [&'static str],
    /// Whether these bytes look like it: decides where a path takes several shapes.
    pub recognises: &'static Recognise,
    /// Reads what must be known before the message is acknowledged: is it sound, which delivery is it, whose devices.
    pub receive: &'static Receive,
    /// Translates a message that `receive` accepted. No clock, no network, no randomness: all it needs is in the context.
    pub map: &'static Map,
}

/// Says whether bytes look like a shape. It is pure, as the others are, so a panic leaves nothing half done behind.
pub type Recognise = dyn Fn(&[u8]) -> bool + Send + Sync + RefUnwindSafe;

/// Reads what must be known before a message is acknowledged.
pub type Receive = dyn Fn(&[u8]) -> Result<Delivery, Refusal> + Send + Sync + RefUnwindSafe;

/// Translates a message.
pub type Map = dyn Fn(&[u8], &Context<'_>) -> Mapping + Send + Sync + RefUnwindSafe;

impl fmt::Debug for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shape").field("name", &self.name).field("routes", &self.routes).finish_non_exhaustive()
    }
}

/// The answer to a request for a token.
const TOKEN: Shape = Shape {
    name: "token",
    about: "an access token: nothing to publish",
    answers: 200,
    routes: &[],
    recognises: &|bytes| json(bytes).is_ok_and(|json| json.get("access_token").is_some()),
    receive: &|bytes| json(bytes).map(|_| Delivery::default()),
    map: &|_, _| Mapping::Publish(Publication::of(bundle::transaction(Vec::new()), Vec::new())),
};

/// How a sender proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// A secret in this request header, one for each sender; an access token of a registered client does as well.
    ApiKey {
        /// Name of the header in lower case.
        header: &'static str,
    },
    /// The access token of an app that a person signed in to: what it sends is about that person's record.
    Session,
    /// Nobody sends anything: what there is are answers to our own questions.
    Asked,
}

/// What identifies one message and the devices it speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The vendor's id of the message: the same id again is the same message again. Without one its bytes are its id.
    pub id: Option<String>,
    /// Device identifiers that may be paired with a patient, the nearest to the patient first.
    pub devices: Vec<String>,
    /// How many items a batch holds; nothing if it is no batch.
    pub items: Option<usize>,
    /// Types of the FHIR resources in it that are taken over: whoever sends it must be allowed to write each of them.
    pub types: BTreeSet<String>,
}

/// Why a message is not accepted.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// Not even readable: nothing is kept.
    Malformed(Issue),
    /// Readable, but not a message of this vendor; it is kept for a person to look at.
    Unprocessable(Vec<Issue>),
    /// The vendor answered a question of ours with an error: nothing is kept, and the question is asked again or not.
    Vendor {
        /// What whoever asked us is answered: 502, 503 or 504.
        status: u16,
        /// What the vendor said.
        issues: Vec<Issue>,
        /// Seconds to wait before the next question, where the vendor says so.
        retry_after: Option<u64>,
    },
}

/// What a mapping may know beside the message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// Base of identifier systems, code systems and extensions, without a slash at the end.
    pub namespace: &'a str,
    /// Now, in microseconds since 1970.
    pub now: i64,
    /// Which device was with which patient, and when.
    pub assignments: &'a [Assignment],
    /// Logical id of the patient whose app sent it.
    pub session: Option<&'a str>,
    /// The vendor's id of the user whom a question of ours was about.
    pub user: Option<&'a str>,
    /// The query of the URL that it came to, without the question mark.
    pub query: &'a str,
    /// Organisation whose data it is, as the vendor names it.
    pub organisation: Option<&'a str>,
    /// Names of a vendor's fields where they are not the usual ones, as JSON.
    pub fields: Option<&'a Json>,
    /// What is known of the insured visit that a question or a claim is about, as JSON: see [`smartlink::Facts`].
    pub visit: Option<&'a Json>,
}

/// One device with one patient for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Device identifier as the vendor writes it.
    pub device: String,
    /// Logical id of the patient.
    pub patient: String,
    /// First moment, in microseconds since 1970.
    pub from: i64,
    /// First moment after it, if it has ended.
    pub until: Option<i64>,
}

/// What became of a message.
#[derive(Clone, Debug)]
pub enum Mapping {
    /// FHIR to write, with warnings.
    Publish(Publication),
    /// Nothing can be published now; a new mapping or a new pairing may change that.
    Quarantine {
        /// Why not.
        issues: Vec<Issue>,
    },
    /// FHIR that was given became what the vendor is to be sent.
    Send {
        /// Body of the request.
        request: Json,
        /// What the vendor's format cannot carry.
        issues: Vec<Issue>,
    },
    /// FHIR that was given cannot be sent as it is.
    Refuse {
        /// What is wrong with it and what would be right.
        issues: Vec<Issue>,
    },
}

/// FHIR to write.
#[derive(Clone, Debug)]
pub struct Publication {
    /// A transaction Bundle.
    pub bundle: Json,
    /// Errors of single items and warnings, if there are any.
    pub issues: Vec<Issue>,
    /// What is no longer true of what was published before.
    pub withdrawn: Vec<Withdrawal>,
    /// Whether a part of the message waits for a pairing or a mapping: it is mapped again when that comes.
    pub waits: bool,
}

/// Observations that a vendor took back, as a whole or in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// System of the identifier that all Observations of a record share.
    pub system: String,
    /// The record.
    pub record: String,
    /// The record as a whole was deleted: nothing of it is published again.
    pub deleted: bool,
    /// First identifiers of the Observations that remain.
    pub keep: Vec<String>,
    /// Whose the record is: what stands of anybody else under its id stays.
    pub holder: Holder,
    /// Which state of the record this is; of states without one the last that arrives counts. A deletion is the last.
    pub version: Option<Version>,
}

impl Adapter {
    /// The secret that a request shows, read through the look-up of a header by its name.
    pub fn credential<'a>(&self, header: impl Fn(&str) -> Option<&'a str>) -> Option<&'a str> {
        let Authentication::ApiKey { header: name } = self.authentication else { return None };
        header(name).filter(|secret| !secret.is_empty())
    }

    /// Paths that take its messages.
    pub fn routes(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.shapes.iter().flat_map(|shape| shape.routes).copied()
    }

    /// The shape of this name.
    pub fn shape(&self, name: &str) -> Option<&'static Shape> {
        self.shapes.iter().find(|shape| shape.name == name)
    }

    /// The shape of a message that came to a path: the first of that path that recognises it, else the first.
    pub fn shape_at(&self, path: &str, body: &[u8]) -> Option<&'static Shape> {
        let mut shapes = self.shapes.iter().filter(|shape| shape.routes.contains(&path));
        let first = shapes.clone().next()?;
        Some(shapes.find(|shape| (shape.recognises)(body)).unwrap_or(first))
    }

    /// The shape of a message of which nothing else is known.
    pub fn shape_of(&self, body: &[u8]) -> &'static Shape {
        self.shapes.iter().find(|shape| (shape.recognises)(body)).unwrap_or(&self.shapes[0])
    }
}

impl Publication {
    fn of(bundle: Json, issues: Vec<Issue>) -> Self {
        Publication { bundle, issues, withdrawn: Vec::new(), waits: false }
    }
}

impl Refusal {
    /// What is wrong.
    pub fn issues(&self) -> &[Issue] {
        match self {
            Refusal::Malformed(issue) => std::slice::from_ref(issue),
            Refusal::Unprocessable(issues) | Refusal::Vendor { issues, .. } => issues,
        }
    }
}

impl<'a> Context<'a> {
    /// The patient that the first of `devices` with an assignment at that moment belonged to.
    fn patient(&self, devices: &[String], micros: i64) -> Result<&'a str, Unassigned> {
        for device in devices {
            let mut holders = self.assignments.iter().filter(|assignment| {
                assignment.device == *device
                    && assignment.from <= micros
                    && assignment.until.is_none_or(|until| micros < until)
            });
            match (holders.next(), holders.next()) {
                (Some(holder), None) => return Ok(&holder.patient),
                (Some(_), Some(_)) => return Err(Unassigned::Many),
                (None, _) => {}
            }
        }
        Err(Unassigned::None)
    }
}

/// The compiled adapter of a vendor; a [`Registry`] knows those of mapping files as well.
pub fn find(vendor: &str) -> Option<&'static Adapter> {
    ADAPTERS.iter().copied().find(|adapter| adapter.vendor == vendor)
}

/// Why a measurement has no patient.
enum Unassigned {
    None,
    Many,
}

impl Unassigned {
    /// The warning that a device has no patient, or more than one.
    fn issue(&self, device: &str, at: &str, expression: &str) -> Issue {
        let (who, code) = match self {
            Unassigned::None => ("No patient is", IssueCode::NotFound),
            Unassigned::Many => ("More than one patient is", IssueCode::MultipleMatches),
        };
        warning(code, format!("{who} assigned to device {device} at {at}; raw data kept"), expression)
    }
}

/// Reads a body as JSON.
fn json(bytes: &[u8]) -> Result<Json, Refusal> {
    Json::parse(bytes).map_err(|cause| {
        Refusal::Malformed(Issue::error(IssueCode::Invalid, format!("Body is not well formed JSON: {cause}")))
    })
}

/// What a mapping of a refused message comes to.
fn quarantined(refusal: Refusal) -> Mapping {
    let issues = match refusal {
        Refusal::Malformed(issue) => vec![issue],
        Refusal::Unprocessable(issues) | Refusal::Vendor { issues, .. } => issues,
    };
    Mapping::Quarantine { issues }
}

/// The first byte that is no white space: tells JSON from XML.
fn first_byte(bytes: &[u8]) -> Option<u8> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace())
}

fn error(code: IssueCode, text: impl Into<String>, expression: &str) -> Issue {
    Issue::error(code, text).at(expression)
}

fn warning(code: IssueCode, text: impl Into<String>, expression: &str) -> Issue {
    Issue::warning(code, text).at(expression)
}
