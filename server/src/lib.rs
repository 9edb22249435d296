//! Tributary, a FHIR R4 server into which devices, phones, insurers and apps flow.
//!
//! Start reading at [`routes`]: every address the server answers is one row there. The command line is in
//! [`command`], what can be set in [`config`], and what every handler shares in [`app`].

pub mod access;
pub mod account;
pub mod app;
pub mod audit;
pub mod background;
pub mod caller;
pub mod client_address;
pub mod clock;
pub mod command;
pub mod compression;
pub mod config;
pub mod connections;
pub mod cors;
pub mod devices;
pub mod error;
pub mod health;
pub mod insurance;
pub mod jobs;
pub mod logging;
pub mod oauth;
pub mod outbound;
pub mod portal;
pub mod qsmartcare;
pub mod random;
pub mod rates;
pub mod registration;
pub mod rest;
pub mod routes;
pub mod search_parameters;
pub mod secret;
pub mod usage;
