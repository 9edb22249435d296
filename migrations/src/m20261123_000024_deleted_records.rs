//! Deleted records with whose they are: two devices may use the same number for a record.

use sea_orm_migration::prelude::*;

use crate::table::{self, Table, integer, text};

/// The migration.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        table::create(manager, &TABLE).await?;
        // The table before this one stays for a server of the release before.
        let copy =
            "INSERT INTO deleted_record (vendor, record, holder, at) SELECT vendor, record, '', at FROM tombstone";
        manager.get_connection().execute_unprepared(copy).await.map(drop)
    }
}

static TABLE: Table = Table {
    name: "deleted_record",
    comment: "Records that a vendor deleted: what still arrives of them is not published.",
    columns: &[
        text("vendor", "Name of the adapter, such as medisante."),
        text("record", "The vendor's id of the record."),
        text("holder", "Whose it is: Patient/ID, or a search for the patient or the device; empty: whoever's."),
        integer("at", "When the deletion was read, microseconds since 1970."),
    ],
    primary_key: &["vendor", "record", "holder"],
    clustered: true,
    indexes: &[],
};
