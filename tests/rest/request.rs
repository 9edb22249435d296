//! Tests of `server/src/rest/request.rs`.
