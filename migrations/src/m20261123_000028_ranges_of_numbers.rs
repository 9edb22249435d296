//! Numbers and quantities as ranges: a row of the index also says where the value's other end is.
//!
//! Rows that are there stay as they are, and say what they said: a value without another end. What a `Range` or
//! `SampledData` holds stands in them once the resources are indexed again.

use sea_orm_migration::prelude::*;

use crate::table::{self, Column, Index, Table, integer, text};

/// The migration.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            table::add_to_key(manager, table, &OTHER).await?;
        }
        for column in COMPOSITE {
            table::add(manager, "index_composite", column, "").await?;
        }
        manager.drop_index(sea_query::Index::drop().name(OF_ALL.name).to_owned()).await?;
        table::add_index(manager, "index_composite", &OF_ALL).await
    }
}

const OTHER: Column = text(
    "other",
    "Of a range, which has a row for each of its ends: the end that is not in value, \"0\" and \"3\" where it is open; \
     empty for a single number.",
);

static TABLES: &[Table] = &[
    Table {
        name: "index_number",
        comment: "Values of number parameters.",
        columns: &[
            integer("param", "As before."),
            text("value", "Sortable form of the decimal, see fhir::decimal."),
            integer("patient", "As before."),
            integer("chronology", "As before."),
            integer("rid", "As before."),
            integer("lead", "As before."),
            OTHER,
        ],
        primary_key: &["param", "value", "other", "patient", "rid"],
        clustered: true,
        indexes: &[table::index(
            "index_number_by_resource",
            &["rid", "param", "value"],
            "further conditions on a found resource; sorting",
        )],
    },
    Table {
        name: "index_quantity",
        comment: "Values of quantity parameters.",
        columns: &[
            integer("param", "As before."),
            text("value", "Sortable form of the decimal, see fhir::decimal."),
            integer("unit", "As before."),
            integer("code", "As before."),
            integer("name", "As before."),
            integer("patient", "As before."),
            integer("chronology", "As before."),
            integer("rid", "As before."),
            integer("lead", "As before."),
            OTHER,
        ],
        primary_key: &["param", "value", "other", "unit", "name", "patient", "rid"],
        clustered: true,
        indexes: &[table::index(
            "index_quantity_by_resource",
            &["rid", "param", "value"],
            "further conditions on a found resource; sorting",
        )],
    },
];

static COMPOSITE: &[Column] = &[
    text("other", "The other end of value, as in index_quantity; a range has a row for each of its ends."),
    text("third_other", "The other end of third."),
    text("canonical_other", "The other end of canonical."),
];

static OF_ALL: Index = Index {
    name: "index_composite_of_all",
    columns: &[
        "param",
        "first",
        "chronology",
        "rid",
        "second",
        "value",
        "other",
        "unit",
        "code",
        "name",
        "canonical",
        "canonical_other",
        "canonical_unit",
    ],
    unique: false,
    only_where: Some("lead"),
    comment: "search over all patients, newest first: the values stand in it so that what is too small is passed over quickly",
};
