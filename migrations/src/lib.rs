//! Database schema of both engines and its history.
//!
//! To add a migration: write `mYYYYMMDD_NNNNNN_<what>.rs` beside this file, describe its tables with
//! [`table::Table`] (every table, column and index needs a comment), list it in [`Migrator`]. A migration that has
//! been released is never edited; a column is removed only two releases after the code stopped naming it.

#![expect(elided_lifetimes_in_paths, reason = "`MigrationTrait::up` elides it, and its expansion takes no other form")]

use sea_orm_migration::prelude::*;

mod m20261122_000001_resources;
mod m20261122_000002_access;
mod m20261122_000003_devices;
mod m20261122_000004_jobs;
mod m20261122_000005_search_parameters;
mod m20261122_000006_keys;
mod m20261122_000007_launches;
mod m20261122_000008_portal;
mod m20261122_000009_audit;
mod m20261122_000010_passkeys;
mod m20261122_000011_connections;
mod m20261122_000012_insurance;
mod m20261122_000013_inbox_devices;
mod m20261122_000014_audit_seals;
mod m20261122_000017_billing;
mod m20261123_000018_claim_answers;
mod m20261123_000019_bulk_exports;
mod m20261123_000021_access_change;
mod m20261123_000024_deleted_records;
mod m20261123_000025_second_factor_given;
mod m20261123_000026_turns_of_jobs;
mod m20261123_000027_withdrawals;
mod m20261123_000028_ranges_of_numbers;
mod m20261123_000029_tokens_in_any_case;
mod m20261124_000030_events_of_people;
pub mod table;

pub use m20261124_000030_events_of_people::NAMES_OTHERS;

/// All migrations, oldest first.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_resources::Migration),
            Box::new(m20261122_000002_access::Migration),
            Box::new(m20261122_000003_devices::Migration),
            Box::new(m20261122_000004_jobs::Migration),
            Box::new(m20261122_000005_search_parameters::Migration),
            Box::new(m20261122_000006_keys::Migration),
            Box::new(m20261122_000007_launches::Migration),
            Box::new(m20261122_000008_portal::Migration),
            Box::new(m20261122_000009_audit::Migration),
            Box::new(m20261122_000010_passkeys::Migration),
            Box::new(m20261122_000011_connections::Migration),
            Box::new(m20261122_000012_insurance::Migration),
            Box::new(m20261122_000013_inbox_devices::Migration),
            Box::new(m20261122_000014_audit_seals::Migration),
            Box::new(m20261122_000017_billing::Migration),
            Box::new(m20261123_000018_claim_answers::Migration),
            Box::new(m20261123_000019_bulk_exports::Migration),
            Box::new(m20261123_000021_access_change::Migration),
            Box::new(m20261123_000024_deleted_records::Migration),
            Box::new(m20261123_000025_second_factor_given::Migration),
            Box::new(m20261123_000026_turns_of_jobs::Migration),
            Box::new(m20261123_000027_withdrawals::Migration),
            Box::new(m20261123_000028_ranges_of_numbers::Migration),
            Box::new(m20261123_000029_tokens_in_any_case::Migration),
            Box::new(m20261124_000030_events_of_people::Migration),
        ]
    }
}

/// Migrations of the file beside an SQLite database that holds the audit trail of everything but writes.
#[derive(Debug)]
pub struct TrailMigrator;

#[async_trait::async_trait]
impl MigratorTrait for TrailMigrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000009_audit::Migration),
            Box::new(m20261122_000014_audit_seals::Migration),
            Box::new(m20261124_000030_events_of_people::Migration),
        ]
    }
}
