//! Work that goes on after the request that asked for it was answered.

use sea_orm_migration::prelude::*;

use crate::table::{self, Column, Kind, Table, index, integer, text};

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
    name: "job",
    comment: "Work in the background: what was asked for, who works on it, and the answer for as long as it is kept.",
    columns: &[
        text("id", "Random, part of the status address: 32 hexadecimal digits."),
        text("kind", "Which part of the server carries it out, see server/src/jobs.rs."),
        text("owner", "Who alone may see it: client, user, patient and scopes; empty for the server's own."),
        Column {
            name: "token",
            kind: Kind::Bytes,
            comment: "SHA-256 of the access token it was asked for with, whose rights are looked up when it runs; empty \
                      for the server's own.",
        },
        text("request", "What is to be done, JSON; its form is up to the kind."),
        integer("repeatable", "1 where doing it twice does no harm, 0 for writes."),
        text("state", "waiting, running or done."),
        text("progress", "For people, less than 100 characters."),
        integer("attempts", "How often it was begun."),
        integer("due_at", "When a worker may take it: the end of the lease while one works on it."),
        integer("created_at", "When it was asked for, microseconds since 1970."),
        integer("settled_at", "When it was done; 0 before."),
        integer("expires_at", "When it is forgotten; 0 before it is done."),
        text("answer", "What it led to, JSON; empty before it is done."),
    ],
    primary_key: &["id"],
    clustered: false,
    indexes: &[
        index("job_by_state", &["state", "due_at"], "the workers' queue"),
        index("job_by_owner", &["owner"], "how many a caller has"),
        index("job_by_expiry", &["expires_at"], "removing the old ones"),
    ],
}];
