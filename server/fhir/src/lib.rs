//! FHIR R4 vocabulary: JSON document, definitions, XML codec, FHIRPath, dates, decimals, units. <https://hl7.org/fhir/R4/>
//!
//! ```text
//! date ─┐                definitions ──▶ xml ──▶ json
//! decimal ─┼─▶ path ──▶ definitions
//! reference ┤             (all stand on json)
//! ucum ─────┘
//! ```
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
