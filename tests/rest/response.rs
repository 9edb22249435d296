//! Tests of `server/src/rest/response.rs`.
