//! Apps from which people took back what they could see by themselves.

use sea_orm_migration::prelude::*;

use crate::table::{self, Table, integer, text};

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
    name: "withdrawal",
    comment: "Apps that get no further grant by themselves until their person allows it again (OA-19).",
    columns: &[
        text("account_id", "Who took it back; the app is theirs."),
        text("client_id", "From which app."),
        integer("at", "Since when, microseconds since 1970."),
    ],
    primary_key: &["account_id", "client_id"],
    clustered: true,
    indexes: &[],
};
