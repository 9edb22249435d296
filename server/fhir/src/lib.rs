//! FHIR R4 vocabulary: JSON document, definitions, XML codec, FHIRPath, dates, decimals, units. <https://hl7.org/fhir/R4/>
//!
//! | module | stands on |
//! |---|---|
//! | `json`, `definitions`, `date`, `decimal`, `id` | nothing |
//! | `outcome` | `json` |
//! | `xml` | `json`, `definitions` |
//! | `narrative` | `xml` |
//! | `reference` | `id` |
//! | `ucum` | `decimal` |
//! | `statistics` | `decimal`, `ucum` |
//! | `path` | `json`, `definitions`, `xml`, `narrative`, `date`, `decimal`, `reference`, `ucum` |
//! | `patch` | `path`, and what that stands on |
//! | `difference` | `patch`, and what that stands on |
//!
//! `nearest` says in messages what was perhaps meant.
//!
//! Everything here is pure: no IO, no clock, no database.

pub mod date;
pub mod decimal;
pub mod definitions;
pub mod difference;
mod hexadecimal;
pub mod id;
pub mod json;
pub mod narrative;
pub mod nearest;
pub mod outcome;
pub mod patch;
pub mod path;
pub mod reference;
pub mod statistics;
pub mod ucum;
pub mod xml;

pub use hexadecimal::hexadecimal;
