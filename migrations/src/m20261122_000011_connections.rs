//! Connections to services of vendors that this server asks by itself.

use sea_orm_migration::prelude::*;

use crate::table::{self, Table, bytes, index, integer, optional_integer, text, unique_index};

/// The migration.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            table::create(manager, table).await?;
        }
        Ok(())
    }
}

static TABLES: &[Table] = &[Table {
    name: "connection",
    comment: "Services of vendors that this server asks by itself: where they are, as whom it asks, how far it has read.",
    columns: &[
        text("id", "Random: 32 hexadecimal digits."),
        text("vendor", "Which part of the server asks it, see server/src/connections.rs."),
        text("name", "Name among several of one vendor, for people."),
        text("base_url", "Where it is; no other host is asked."),
        bytes("credentials", "Nonce and encrypted JSON: who we are there. The key is not in the database."),
        text("settings", "JSON: what else the vendor's part of the server must know."),
        integer("enabled", "1 if it is asked, 0 while it is switched off."),
        text("cursor", "JSON: how far it was read; empty before the first time."),
        text("state", "new, ok or failing."),
        optional_integer("failing_since", "When it failed first since it last worked, microseconds since 1970."),
        text("error", "Why it failed last, without secrets; empty while it works."),
        integer("attempts", "How often in a row it failed."),
        optional_integer("asked_at", "When it last worked, microseconds since 1970."),
        integer("due_at", "When it may be asked next: the end of the lease while a worker asks it."),
        text("holder", "Which worker has it; empty if none."),
        integer("created_at", "When it was made, microseconds since 1970."),
    ],
    primary_key: &["id"],
    clustered: false,
    indexes: &[
        unique_index("connection_by_name", &["vendor", "name"], "a connection is known by these"),
        index("connection_by_due", &["enabled", "due_at"], "the workers' queue"),
    ],
}];
