#![doc = include_str!("../README.md")]

mod bundle;
pub mod device;
mod medisante;
mod observation;
mod reading;
mod table;
mod time;

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

/// Every vendor there is an adapter for.
pub const ADAPTERS: &[&Adapter] = &[&medisante::ADAPTER];

/// What the server has to know about a vendor: how its messages arrive, and the pure functions that read them.
#[derive(Debug)]
pub struct Adapter {
    /// Name in identifiers, keys, pairings and on the command line, such as `medisante`.
    pub vendor: &'static str,
    /// Paths that take its messages.
    pub routes: &'static [&'static str],
    /// How the sender proves who it is.
    pub authentication: Authentication,
    /// Largest message in bytes.
    pub max_bytes: usize,
    /// Reads what must be known before the message is acknowledged: is it sound, which delivery is it, whose devices.
    pub receive: fn(&[u8]) -> Result<Delivery, Refusal>,
    /// Translates a message that `receive` accepted. No clock, no network, no randomness: all it needs is in the context.
    pub map: fn(&[u8], &Context<'_>) -> Mapping,
    /// Kind of identifier (`device-id`, `serial-number`) that a device identifier of this vendor is.
    pub device_kind: fn(&str) -> &'static str,
}

/// How a sender proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// A secret in this request header, one for each sender.
    ApiKey {
        /// Name of the header in lower case.
        header: &'static str,
    },
}

/// What identifies one message and the devices it speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The vendor's id of the message: the same id again is the same message again.
    pub id: String,
    /// Device identifiers that may be paired with a patient, the nearest to the patient first.
    pub devices: Vec<String>,
}

/// Why a message is not accepted.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// Not even readable: nothing is kept.
    Malformed(Issue),
    /// Readable, but not a message of this vendor; it is kept for a person to look at.
    Unprocessable(Vec<Issue>),
}

/// What a mapping may know beside the message.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Base of identifier systems, code systems and extensions, without a slash at the end.
    pub namespace: &'a str,
    /// Now, in microseconds since 1970.
    pub now: i64,
    /// Which device was with which patient, and when.
    pub assignments: &'a [Assignment],
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
    Publish {
        /// A transaction Bundle.
        bundle: Json,
        /// Warnings, if there are any.
        issues: Vec<Issue>,
    },
    /// Nothing can be published now; a new mapping or a new pairing may change that.
    Quarantine {
        /// Why not.
        issues: Vec<Issue>,
    },
}

impl Adapter {
    /// The secret that a request shows, read through the look-up of a header by its name.
    pub fn credential<'a>(&self, header: impl Fn(&str) -> Option<&'a str>) -> Option<&'a str> {
        let Authentication::ApiKey { header: name } = self.authentication;
        header(name).filter(|secret| !secret.is_empty())
    }
}

impl Context<'_> {
    /// The patient that the first of `devices` with an assignment at that moment belonged to.
    fn patient(&self, devices: &[String], micros: i64) -> Result<&str, Unassigned> {
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

/// The adapter of a vendor.
pub fn find(vendor: &str) -> Option<&'static Adapter> {
    ADAPTERS.iter().copied().find(|adapter| adapter.vendor == vendor)
}

/// Why a measurement has no patient.
enum Unassigned {
    None,
    Many,
}

fn error(code: IssueCode, text: impl Into<String>, expression: &str) -> Issue {
    Issue::error(code, text).at(expression)
}

fn warning(code: IssueCode, text: impl Into<String>, expression: &str) -> Issue {
    Issue::warning(code, text).at(expression)
}
