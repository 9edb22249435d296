//! Tests of `server/src/rest/history.rs`.
