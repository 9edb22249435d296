//! Search parameters that the database defines itself.

use sea_orm_migration::prelude::*;

use crate::table::{self, Table, integer, text};

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

static TABLES: &[Table] = &[
    Table {
        name: "search_parameter",
        comment: "Definitions of search parameters that came as SearchParameter resources, and how far the index is \
                  with each. An update that changes what a parameter is makes a second row; the first one leaves.",
        columns: &[
            text("id", "Logical id of the SearchParameter."),
            integer("hash", "First 63 bits of SHA-256 over the definition."),
            text("definition", "What the search needs of it, JSON, see search::registry::Definition."),
            integer(
                "state",
                "1 waits until all processes know it, 2 is being indexed, 3 is indexed, 4 is gone for searches, 5 is gone and its index rows are being deleted.",
            ),
            integer("done_rid", "Resources up to this row are indexed by it."),
            integer("last_rid", "The last row that stood when indexing began: what came later was indexed on writing."),
            integer("changed_at", "When it came into this state, microseconds since 1970; for people."),
        ],
        primary_key: &["id", "hash"],
        clustered: false,
        indexes: &[],
    },
    Table {
        name: "search_parameter_set",
        comment: "One row: what processes look at to learn that table search_parameter has changed.",
        columns: &[
            integer("one", "Always 1."),
            integer("generation", "Grows with each change of a definition or state."),
            text("holder", "Which process indexes: random."),
            integer("lease", "Until when another process leaves that to it, microseconds since 1970."),
        ],
        primary_key: &["one"],
        clustered: false,
        indexes: &[],
    },
];
