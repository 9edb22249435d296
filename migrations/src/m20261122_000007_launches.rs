//! EHR launches: what was open when somebody started an app, until the app asks for it.

use sea_orm_migration::prelude::*;

use crate::table::{self, Column, Index, Kind, Table};

/// The migration.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        table::create(manager, &LAUNCH).await
    }
}

static LAUNCH: Table = Table {
    name: "launch",
    comment: "Launch handles of EHR launches, taken once (SM-35).",
    columns: &[
        Column { name: "hash", kind: Kind::Bytes, comment: "SHA-256 of the handle." },
        Column { name: "client_id", kind: Kind::Text, comment: "The app that is launched; no other may take it." },
        Column { name: "account_id", kind: Kind::Text, comment: "Who launches it; nobody else can answer." },
        Column {
            name: "session_hash",
            kind: Kind::OptionalBytes,
            comment: "The browser it was launched in; none: in an EHR of its own, whose browser is not known here.",
        },
        Column { name: "patient", kind: Kind::OptionalText, comment: "Logical id of the patient who was open." },
        Column {
            name: "encounter",
            kind: Kind::OptionalText,
            comment: "Logical id of the encounter, of that patient.",
        },
        Column {
            name: "context",
            kind: Kind::Text,
            comment: "All that was open, a JSON object of members of the token answer.",
        },
        Column { name: "created_at", kind: Kind::Integer, comment: "When it was made, microseconds since 1970." },
        Column { name: "expires_at", kind: Kind::Integer, comment: "When it ends, microseconds since 1970." },
        Column {
            name: "used_at",
            kind: Kind::OptionalInteger,
            comment: "When it was taken, microseconds since 1970; once.",
        },
    ],
    primary_key: &["hash"],
    clustered: false,
    indexes: &[Index {
        name: "launch_by_expiry",
        columns: &["expires_at"],
        unique: false,
        only_where: None,
        comment: "removing the old ones",
    }],
};
