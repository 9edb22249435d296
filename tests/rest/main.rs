//! FHIR REST over HTTP, one file an interaction, names as in server/src/rest. <https://hl7.org/fhir/R4/http.html>

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bundle;
mod capabilities;
mod conditional;
mod create;
mod delete;
mod history;
mod read;
mod request;
mod response;
mod search;
mod update;
mod vread;
