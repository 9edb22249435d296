//! The authorization server over HTTP, names as in server/src/oauth. <https://hl7.org/fhir/smart-app-launch/STU2.2/>

mod account;
mod assertion;
mod authorize;
mod consent;
mod ehr_launch;
mod external;
mod granular;
mod introspect;
mod jwks;
mod launch;
mod login;
mod metadata;
mod openid;
mod par;
mod portal;
mod portal_admin;
mod portal_apps;
mod portal_console;
mod portal_sharing;
mod qsmartcare;
mod races;
mod register;
mod revoke;
mod style;
mod token;
mod userinfo;
