//! Roles of accounts, what was said about claims, diagnoses that follow a claim, and sessions that are about to expire.

use sea_orm_migration::prelude::*;

use crate::table::{self, Column, Index, Kind, Table, index, integer, optional_integer, optional_text, text};

/// The migration.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            table::create(manager, table).await?;
        }
        for (table, column) in COLUMNS {
            table::add_column(manager, table, column).await?;
        }
        for index in INDEXES {
            table::add_index(manager, "claim_submission", index).await?;
        }
        Ok(())
    }
}

static TABLES: &[Table] = &[
    Table {
        name: "account_role",
        comment: "What an account may do beyond its record and its apps.",
        columns: &[text("account_id", "The account."), text("role", "billing: bills insurers, for all patients.")],
        primary_key: &["account_id", "role"],
        clustered: true,
        indexes: &[],
    },
    Table {
        name: "claim_exchange",
        comment: "What a payer was asked about a claim and what it answered, the latest twenty of each claim.",
        columns: &[
            Column { name: "exchange", kind: Kind::Serial, comment: "Order of writing." },
            text("claim", "Logical id of the Claim."),
            integer("at", "When it was answered, microseconds since 1970."),
            text("asked", "Method and path, without the query."),
            integer("status", "HTTP status of the answer; 0 if none came."),
            text("answer", "The answer, its first 8 KiB; what happened where none came."),
            text("state", "How far the claim was after it."),
        ],
        primary_key: &["exchange"],
        clustered: false,
        indexes: &[index("claim_exchange_by_claim", &["claim", "exchange"], "what was said about a claim")],
    },
];

static COLUMNS: &[(&str, Column)] = &[
    (
        "claim_submission",
        optional_text("record_state", "waiting, sent, refused or given-up: diagnoses that follow the claim, if any."),
    ),
    ("claim_submission", optional_text("record", "JSON: path and body of that message, attempts, what was said.")),
    (
        "insurance_session",
        optional_integer("told_at", "When it was told that the session is about to expire, microseconds since 1970."),
    ),
];

static INDEXES: &[Index] = &[
    index("claim_submission_by_change", &["changed_at", "claim"], "the worklist in its order"),
    index("claim_submission_by_record", &["record_state", "due_at"], "the worker's queue of what follows claims"),
    index("claim_submission_by_session", &["payer", "session"], "whether a session has a claim"),
];
