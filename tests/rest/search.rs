//! Tests of `server/src/rest/search.rs`.
