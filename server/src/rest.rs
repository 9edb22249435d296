//! FHIR REST: one file an interaction. <https://hl7.org/fhir/R4/http.html>
//!
//! A file reads top-down: its `handler` (HTTP in, `execute`, HTTP out); `prepare`, which decides access and does all
//! that costs time before a transaction is open; `execute`, which carries the interaction out; helpers; tests of pure
//! parts. A transaction Bundle has a preparation of its own and ends in the same last functions, such as
//! [`create::execute_prepared`].
//!
//! ```text
//! handler     ─▶ prepare ─▶ store.write(execute) ─▶ Answer ─▶ response
//! batch       ─▶ prepare ─▶ store.write(execute) ─▶ Answer ─▶ entry
//! transaction ─▶ plan ─▶ store.write(create::execute_prepared, …) ─▶ Answer ─▶ entry
//! ```

pub mod asynchronous;
pub mod binary;
pub mod bundle;
pub mod capabilities;
pub mod conditional;
mod context;
pub mod create;
pub mod delete;
pub mod elements;
pub mod history;
pub mod operation;
pub mod patch;
mod prepared;
pub mod projected;
pub mod read;
pub mod references;
pub mod replaced_references;
pub mod request;
pub mod response;
pub mod search;
pub mod update;
pub mod vread;

pub use context::Context;
pub use prepared::{Prepared, Written, extract};
