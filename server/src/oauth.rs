//! The authorization server, one file an endpoint.
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html>, <https://www.rfc-editor.org/rfc/rfc9700>
//!
//! ```text
//! app ─▶ authorize ─▶ login ─▶ consent ─▶ app ─▶ token ─▶ FHIR
//! ```
//!
//! What is decided is in package `smart`, what is kept in `store::{clients, users, sessions, grants, tokens}`; here is
//! HTTP. Times, codes and tokens come from the server's clock and randomness.

pub mod authorize;
pub mod client_keys;
pub mod consent;
pub mod error;
pub mod external;
pub mod form;
pub mod introspect;
pub mod issue;
pub mod jwks;
pub mod keys;
pub mod launch;
pub mod login;
pub mod metadata;
pub mod page;
pub mod par;
pub mod password;
pub mod patients;
pub mod register;
pub mod revoke;
pub mod session;
pub mod style;
pub mod token;
pub mod userinfo;

mod authenticate;
