//! Tests of `server/src/rest/delete.rs`.
