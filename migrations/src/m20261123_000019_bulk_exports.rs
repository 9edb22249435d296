//! What is exported in bulk: how far it is, its files, and what it refers to.

use sea_orm_migration::prelude::*;

use crate::table::{self, Column, Table, bytes, index, integer, text};

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

const EXPORT: Column = text("export", "Id of the job that makes it.");

static TABLES: &[Table] = &[
    Table {
        name: "bulk_export",
        comment: "How far an export is; the row goes when nothing of an export is left that was cancelled or has expired.",
        columns: &[
            text("id", "Id of the job that makes it."),
            integer("at", "Instant whose state is exported, microseconds since 1970; 0 before it is known."),
            text("position", "JSON: where to go on; its form is up to server/src/jobs/export.rs."),
            integer("attempt", "The job's attempt that wrote here last: an attempt that got nowhere is no progress."),
            integer("bytes", "What all files take here, in bytes."),
        ],
        primary_key: &["id"],
        clustered: false,
        indexes: &[],
    },
    Table {
        name: "bulk_file",
        comment: "A file of an export: resources of one type, one a line.",
        columns: &[
            text("name", "Random, the last segment of its address: 36 characters."),
            EXPORT,
            integer("number", "Its place in the manifest, from 0."),
            text("kind", "output, deleted or error: in which list of the manifest it stands."),
            text("resource_type", "The type of its lines."),
            integer("resources", "Its lines."),
            integer("chunks", "Its rows of bulk_chunk."),
            integer("bytes", "Its length when it is not compressed."),
            integer("crc", "CRC-32 of it when it is not compressed."),
        ],
        primary_key: &["name"],
        clustered: false,
        indexes: &[index("bulk_file_by_export", &["export", "number"], "the manifest; removing an export")],
    },
    Table {
        name: "bulk_chunk",
        comment: "A part of a file of an export, about a mebibyte of it before compression.",
        columns: &[
            text("file", "Name of the file."),
            integer("number", "Its place in the file, from 0."),
            bytes("content", "Blocks of DEFLATE that end on a byte and look back at nothing before them."),
        ],
        primary_key: &["file", "number"],
        clustered: false,
        indexes: &[],
    },
    Table {
        name: "bulk_reference",
        comment: "What exported resources refer to outside of the patients' compartments: exported after them, once.",
        columns: &[
            EXPORT,
            text("resource_type", "Type of what is referred to."),
            text("id", "Its logical id."),
            integer("done", "1 once it has been looked for."),
        ],
        primary_key: &["export", "resource_type", "id"],
        clustered: true,
        indexes: &[index("bulk_reference_by_state", &["export", "done"], "what is to be looked for next")],
    },
];
