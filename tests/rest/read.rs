//! Tests of `server/src/rest/read.rs`.
