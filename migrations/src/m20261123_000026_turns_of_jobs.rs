//! Jobs are counted by who asks, whatever rights they ask with, and those who ask take turns.

use sea_orm_migration::prelude::*;

use crate::table::{self, Column, Index, Table, index, integer, text};

/// The migration.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        table::add(manager, "job", &PARTY, "").await?;
        table::add_index(manager, "job", &BY_PARTY).await?;
        table::create(manager, &TURN).await
    }
}

static PARTY: Column = text(
    "party",
    "Whose jobs are counted together and take turns with those of others: the client, and of requests of people the \
     person and the patient; empty for the server's own.",
);

static BY_PARTY: Index = index("job_by_party", &["party", "kind"], "how many a party has");

static TURN: Table = Table {
    name: "job_turn",
    comment: "When a job of a party was taken last: whoever has waited longest for a turn has the next one.",
    columns: &[
        text("kind", "Which part of the server carries the jobs out, see server/src/jobs.rs."),
        text("party", "Whose jobs they are, see job."),
        integer("at", "When the last one was taken, microseconds since 1970; forgotten after a day."),
    ],
    primary_key: &["kind", "party"],
    clustered: true,
    indexes: &[],
};
