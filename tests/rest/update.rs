//! Tests of `server/src/rest/update.rs`.
