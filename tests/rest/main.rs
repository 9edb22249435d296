//! FHIR REST over HTTP, one file an interaction, names as in server/src/rest. <https://hl7.org/fhir/R4/http.html>

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod asynchronous;
mod audit;
mod audit_proxy;
mod audit_seals;
mod audit_whole;
mod bad_input;
mod binary;
mod bundle;
mod bundle_envelope;
mod bundle_narrative;
mod bundle_overlaps;
mod bundle_references;
mod capabilities;
mod conditional;
mod connections;
mod create;
mod delete;
mod history;
mod operation;
mod operation_definition;
mod operation_diff;
mod operation_export;
mod operation_export_rights;
mod operation_export_state;
mod operation_meta;
mod operation_stats;
mod patch;
mod read;
mod request;
mod response;
mod search;
mod search_cases;
mod search_compartment;
mod search_contained;
mod search_filter;
mod search_patients;
mod search_queries;
mod search_ranges;
mod search_rules;
mod search_special;
mod search_terminology;
mod update;
mod vread;
