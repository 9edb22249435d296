//! Tests of `server/src/rest/conditional.rs`.
