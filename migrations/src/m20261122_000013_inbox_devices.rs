//! Devices of vendor messages beyond the two that stand with the message itself.

use sea_orm_migration::prelude::*;

use crate::table::{self, Table, text};

/// The migration.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        table::create(manager, &TABLE).await
    }
}

static TABLE: Table = Table {
    name: "inbox_device",
    comment: "The third and further devices of a vendor message, each of which it may wait for: most messages have none.",
    columns: &[
        text("vendor", "Name of the adapter, such as medisante."),
        text("device", "Device identifier as the vendor writes it."),
        text("receipt", "The message."),
    ],
    primary_key: &["vendor", "device", "receipt"],
    clustered: true,
    indexes: &[],
};
