//! Rules about the code, as tests: `cargo test -p tidy`.
//!
//! A rule that is only written down is forgotten. Each module holds one kind of rule, and each exception stands in
//! a list with its reason; an exception that is no longer needed fails too.

#![cfg(test)]

mod arrows;
mod docs;
mod names;
mod places;
mod requirements;
mod sizes;
mod tree;
mod words;
