//! Claims whose payers answer with decisions, and take changes: what they said, and what is wanted of them.

use sea_orm_migration::prelude::*;

use crate::table::{self, Column, text};

/// The migration.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (column, before) in COLUMNS {
            table::add(manager, "claim_submission", column, before).await?;
        }
        Ok(())
    }
}

/// Columns, and what they hold in rows that were there before.
static COLUMNS: &[(Column, &str)] = &[
    (text("answer", "JSON: what the payer said that stands in the ClaimResponse too; empty before."), ""),
    (text("intent", "submit, or cancel where it is to be taken back."), "submit"),
    (text("related", "Logical id of the Claim that this one updates; empty if it is none."), ""),
];
