//! Accounts: opening one, signing in and out, sessions, passwords, recovery, second factor.
//! (OA-14, OA-15, OA-20 to OA-26)
//!
//! ```text
//!         ┌──────────────passkey──────────────┐
//! sign-in ──password──▶ (second factor) ──▶ signed in: portal, consent
//!    ▲                        ▲
//! sign-up, recovery link   one-time password, passkey or recovery code
//! ```
//!
//! A session is the same for portal and authorization server: whoever signed in for one is signed in for the other.
//! Every form carries a token that belongs to the session, every page that changes something answers 303, and every
//! change is written with its event in one transaction.

pub mod attempts;
pub mod new_password;
pub mod passkeys;
pub mod recovery;
pub mod second_factor;
pub mod settings;
pub mod setup;
pub mod sign_in;
pub mod sign_up;
pub mod totp;
pub mod visitor;
