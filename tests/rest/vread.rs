//! Tests of `server/src/rest/vread.rs`.
