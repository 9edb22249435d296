//! Pages for people: how every page is sent, and those that need no login.

pub mod home;
pub mod page;
