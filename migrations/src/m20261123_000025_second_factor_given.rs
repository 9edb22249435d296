//! Whether a second factor was given in a session, beside whether its account has one.

use sea_orm_migration::prelude::*;

use crate::table::{self, optional_integer};

/// The migration.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let given = optional_integer(
            "second_factor_at",
            "When a second factor was given in it, here or at the other provider, microseconds since 1970.",
        );
        table::add_column(manager, "session", &given).await
    }
}
