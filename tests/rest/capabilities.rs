//! Tests of `server/src/rest/capabilities.rs`.
