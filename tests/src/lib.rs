//! Harness of the black-box tests: starts the real `tributary` binary on a fresh database, hands out clients.
//!
//! ```ignore
//! tests::on_both_engines!(a_created_patient_can_be_read);
//!
//! async fn a_created_patient_can_be_read(server: TestServer) {
//!     let system = server.system();
//!     let created = system.post("Patient").json(&object! { "resourceType": "Patient" }).await.expect_status(201);
//!     system.get(&created.location()).await.expect_status(200);
//! }
//! ```
//!
//! Each test gets its own server process and its own database, so tests run side by side and may kill theirs.
//! PostgreSQL is used where `TRIBUTARY_TEST_POSTGRES` names one (`tests/run` starts it); where not, that half is
//! [skipped] and counted.

pub mod authenticator;
pub mod browser;
pub mod client;
pub mod clients;
pub mod clinic;
pub mod data;
pub mod database;
pub mod file_server;
pub mod openid_provider;
pub mod program;
pub mod random;
pub mod redact;
pub mod same;
pub mod server;
pub mod signer;
pub mod skipped;
pub mod totp;
pub mod url;
pub mod world;

pub use client::{Answer, Client};
pub use database::Engine;
pub use server::TestServer;

/// Makes of each named `async fn name(server: TestServer)` two tests, `name::sqlite` and `name::postgres`.
#[macro_export]
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn sqlite() {
                $crate::server::run($crate::Engine::Sqlite, concat!(module_path!(), "::sqlite"), super::$name);
            }

            #[test]
            fn postgres() {
                $crate::server::run($crate::Engine::Postgres, concat!(module_path!(), "::postgres"), super::$name);
            }
        }
    )+};
}
