//! SMART on FHIR and OAuth 2: scopes, grants, PKCE, tokens as pure types
//!
//! Nothing here reads a clock, a random source or a database: the server passes in what it has, and gets back a
//! decision. What must never exist (a patient scope without a patient, a code without a challenge) has no value.

pub mod assertion;
pub mod client;
pub mod error;
pub mod grant;
pub mod id_token;
pub mod jwk;
pub mod launch;
pub mod metadata;
pub mod passkey;
pub mod pkce;
pub mod redirect_uri;
pub mod scope;
pub mod signing;
pub mod token;
