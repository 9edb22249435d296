//! Pages for people: the front page, and the portal of developers, patients and administrators.
//!
//! | page | who | what |
//! |---|---|---|
//! | `/portal` | everybody with an account | where to go |
//! | `/portal/apps…` | developers | own apps: keys, addresses, scopes, patients, usage, errors |
//! | `/portal/api`, `/portal/console` | developers | how the API is called, and calling it |
//! | `/portal/live` | everybody with a record | readings and alerts of the patients in their care, as they come |
//! | `/portal/sharing` | everybody with an account | what apps may see, and taking it back |
//! | `/portal/billing…` | who bills insurers, with a second factor | claims that are not billed, sessions about to expire, what was sent and answered |
//! | `/portal/admin…` | administrators with a second factor | all apps, accounts, events, invitations |
//!
//! What is somebody else's is not there: 404 (OA-30).

pub mod admin;
pub mod api;
pub mod app_form;
pub mod apps;
pub mod billing;
pub mod console;
pub mod frame;
pub mod home;
pub mod key;
pub mod live;
pub mod own_access;
pub mod page;
pub mod patients;
pub mod plot;
pub mod record;
pub mod sharing;
pub mod start;
pub mod trail;
pub mod words;
