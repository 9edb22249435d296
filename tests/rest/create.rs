//! Tests of `server/src/rest/create.rs`.
