//! The authorization server over HTTP, names as in server/src/oauth. <https://hl7.org/fhir/smart-app-launch/STU2.2/>

mod authorize;
mod consent;
mod introspect;
mod launch;
mod login;
mod metadata;
mod revoke;
mod token;
