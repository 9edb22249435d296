//! Tests of `server/src/rest/bundle.rs`.
