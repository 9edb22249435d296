//! The vendors' side of each adapter, runnable: they send what the vendors send, over real HTTP.
//!
//! The demo and the black-box tests use them, and so can a person: `cargo run -p simulators --bin medisante-simulator`.

pub mod medisante;
pub mod smartlink;
