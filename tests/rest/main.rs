//! FHIR REST over HTTP, one file an interaction, names as in server/src/rest. <https://hl7.org/fhir/R4/http.html>

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
