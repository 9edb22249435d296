//! The vendors' side of each adapter, runnable: they send what the vendors send, and answer what the vendors answer,
//! over real HTTP.
//!
//! | vendor | it is | to try it |
//! |---|---|---|
//! | Medisanté | a sender | `tributary simulate medisante --api-key KEY` |
//! | HealthKit | a sender | `tributary simulate healthkit --token TOKEN` |
//! | Validic | a server: users, records, event stream, devices | `tributary simulate validic` |
//! | Smart Meter | a server: readings by when they were taken in | `tributary simulate smart-meter` |
//! | Smartz | a server: tokens, lists, statuses, alerts | `tributary simulate smartz` |
//! | FHIR payer | a server: tokens, claims, inquiries, a ledger | `tributary simulate pas` |
//!
//! What goes wrong on their side is asked for with the options of [`trouble::Trouble`]. The demo and the black-box
//! tests use them, and so can a person who integrates.

pub mod healthkit;
pub mod http;
pub mod medisante;
pub mod pas;
pub mod run;
pub mod smart_meter;
pub mod smartlink;
pub mod smartz;
pub mod trouble;
pub mod validic;
