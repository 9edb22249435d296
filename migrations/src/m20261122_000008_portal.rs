//! Apps as their developers see them, second factors, recovery, usage figures and what happened to accounts.

use sea_orm_migration::prelude::*;

use crate::table::{self, Column, Kind, Table, bytes, index, integer, optional_integer, optional_text, text};

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

const fn serial(name: &'static str) -> Column {
    Column { name, kind: Kind::Serial, comment: "Order of writing." }
}

const CREATED: Column = integer("created_at", "When it was made, microseconds since 1970.");
const EXPIRES: Column = integer("expires_at", "When it ends, microseconds since 1970.");
const USED: Column = optional_integer("used_at", "When it was spent, microseconds since 1970; once.");

static TABLES: &[Table] = &[
    Table {
        name: "app",
        comment: "What a client is to its developer and to the administrators, where it was made in the portal.",
        columns: &[
            text("client_id", "The client."),
            text("account_id", "The developer; nobody else can see or change it."),
            text("purpose", "personal: for the developer's own record; work: for patients in somebody's care."),
            text("status", "requested, approved or refused; only an approved one works."),
            integer("is_on", "1: its developer wants it to work."),
            optional_integer("stopped_at", "When an administrator switched it off, microseconds since 1970."),
            text("description", "What it is for, in the developer's words."),
            optional_text("launch_uri", "Where an EHR starts it."),
            optional_text("reason", "Why an administrator refused it or switched it off."),
            optional_integer("decided_at", "When an administrator decided, microseconds since 1970."),
            CREATED,
        ],
        primary_key: &["client_id"],
        clustered: false,
        indexes: &[
            index("app_by_account", &["account_id"], "a developer's apps"),
            index("app_by_status", &["status"], "what waits for an administrator"),
        ],
    },
    Table {
        name: "app_usage",
        comment: "How much each client asked on each day.",
        columns: &[
            text("client_id", "Who asked."),
            integer("day", "Days since 1970, UTC."),
            integer("requests", "FHIR requests that it made."),
            integer("errors", "How many of them were answered with 4xx or 5xx."),
        ],
        primary_key: &["client_id", "day"],
        clustered: true,
        indexes: &[],
    },
    Table {
        name: "app_error",
        comment: "The latest errors of each client, without anything that tells about a patient.",
        columns: &[
            serial("error"),
            text("client_id", "Who got it."),
            integer("at", "When, microseconds since 1970."),
            text("request", "Method and pattern of the path, without ids and parameters."),
            integer("status", "HTTP status."),
            text("problem", "What kind of problem, from the table of errors; empty where there is none to tell."),
        ],
        primary_key: &["error"],
        clustered: false,
        indexes: &[index("app_error_by_client", &["client_id", "error"], "the latest of a client")],
    },
    Table {
        name: "grant_usage",
        comment: "When each grant was used last, written every few seconds at most.",
        columns: &[text("grant_id", "The grant."), integer("seen_at", "Microseconds since 1970.")],
        primary_key: &["grant_id"],
        clustered: true,
        indexes: &[],
    },
    Table {
        name: "second_factor",
        comment: "Secrets of time-based one-time passwords (RFC 6238), one an account.",
        columns: &[
            text("account_id", "Whose it is."),
            bytes("salt", "From this and a key that is not in the database the secret is derived."),
            optional_integer(
                "confirmed_at",
                "When a first code proved that the person has it; none: not asked for yet.",
            ),
            integer("last_step", "Step of the latest code that was accepted: none is accepted twice."),
            CREATED,
        ],
        primary_key: &["account_id"],
        clustered: false,
        indexes: &[],
    },
    Table {
        name: "recovery_code",
        comment: "Codes that stand in for a second factor that was lost, each good once.",
        columns: &[
            bytes("mac", "HMAC-SHA-256 of account and code with a key that is not in the database."),
            text("account_id", "Whose it is."),
            CREATED,
            USED,
        ],
        primary_key: &["mac"],
        clustered: false,
        indexes: &[index("recovery_code_by_account", &["account_id"], "how many are left; replacing them")],
    },
    Table {
        name: "recovery_link",
        comment: "Links with which a person sets a new password, each good once.",
        columns: &[
            bytes("hash", "SHA-256 of the secret in the link."),
            text("account_id", "Whose password it sets."),
            CREATED,
            EXPIRES,
            USED,
        ],
        primary_key: &["hash"],
        clustered: false,
        indexes: &[index("recovery_link_by_account", &["account_id"], "a new one ends the older ones")],
    },
    Table {
        name: "security_event",
        comment: "What happened to accounts and apps, for administrators; kept for 90 days.",
        columns: &[
            serial("event"),
            integer("at", "Microseconds since 1970."),
            text("kind", "What happened, see server/store/src/events.rs."),
            optional_text("account_id", "Who did it or to whom it happened."),
            optional_text("client_id", "The app that it was about."),
            optional_text("address", "From where, an IP address."),
        ],
        primary_key: &["event"],
        clustered: false,
        indexes: &[
            index("security_event_by_time", &["at"], "removing the old ones"),
            index("security_event_by_account", &["account_id"], "what happened to one account"),
        ],
    },
];
