//! The pages for people that need no login.

pub mod home;
