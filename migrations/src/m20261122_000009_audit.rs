//! The audit trail: one row for each access and each authentication event. Append-only.
//!
//! On SQLite the same tables stand twice: in the database, where the event of a write is written with it, and in a file
//! beside it for all other events, so that no read waits for the writes.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::table::{self, Table, bytes, integer, optional_text, text};

/// The migration.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [&AUDIT_EVENT, &AUDIT_PATIENT, &AUDIT_RETENTION] {
            table::create(manager, table).await?;
        }
        let rules = match manager.get_database_backend() {
            DbBackend::Postgres => POSTGRES_RULES,
            _ => SQLITE_RULES,
        };
        manager.get_connection().execute_unprepared(rules).await.map(drop)
    }
}

static AUDIT_EVENT: Table = Table {
    name: "audit_event",
    comment: "What was done, by whom, from where, to what, and how it ended. References only, never content (CO-08).",
    columns: &[
        bytes("id", "UUID of version 7: the instant to the microsecond, and 62 random bits. The order of the trail."),
        integer("kind", "0 FHIR interaction, 1 authentication and authorization, 2 administration."),
        text("subtype", "Code of the interaction, or what happened: login, token, consent …; empty: no such path."),
        text("action", "C, R, U, D or E, as AuditEvent.action."),
        integer("status", "HTTP status of the answer."),
        optional_text("client", "client_id of the app, or the part of the server that acted."),
        optional_text("account", "Key of the person's account."),
        optional_text("fhir_user", "The record that the person is, as Type/ID."),
        optional_text("address", "IP address that the request came from."),
        optional_text("request", "Id of the request, as the answer has it in X-Request-Id."),
        text("patients", "Logical ids of the patients whose data it was about, separated by spaces."),
        text("entities", "What was touched, a line each: action, status, reference."),
        optional_text("query", "What was searched, as it was sent."),
    ],
    primary_key: &["id"],
    clustered: true,
    indexes: &[],
};

static AUDIT_PATIENT: Table = Table {
    name: "audit_patient",
    comment: "Finds the events about a patient.",
    columns: &[text("patient", "Logical id."), bytes("id", "The event.")],
    primary_key: &["patient", "id"],
    clustered: true,
    indexes: &[],
};

static AUDIT_RETENTION: Table = Table {
    name: "audit_retention",
    comment: "Up to where events have been removed because they were old enough; one row once that happened.",
    columns: &[integer("one", "Always 1."), bytes("upto", "The first id that is kept.")],
    primary_key: &["one"],
    clustered: false,
    indexes: &[],
};

/// Events do not change, and go only where the retention has said before that they may.
const SQLITE_RULES: &str = "
CREATE TRIGGER audit_event_stays BEFORE UPDATE ON audit_event
BEGIN SELECT RAISE(ABORT, 'audit events do not change'); END;
CREATE TRIGGER audit_event_is_kept BEFORE DELETE ON audit_event
WHEN NOT EXISTS (SELECT 1 FROM audit_retention WHERE OLD.id < upto)
BEGIN SELECT RAISE(ABORT, 'audit events are kept'); END;
CREATE TRIGGER audit_event_is_new BEFORE INSERT ON audit_event
WHEN EXISTS (SELECT 1 FROM audit_event WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'audit events do not change'); END;
";

const POSTGRES_RULES: &str = "
CREATE FUNCTION audit_event_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF EXISTS (SELECT 1 FROM audit_retention WHERE OLD.id < upto) THEN RETURN OLD; END IF;
    END IF;
    RAISE EXCEPTION 'audit events do not change';
END $$;
CREATE TRIGGER audit_event_is_kept BEFORE UPDATE OR DELETE ON audit_event
FOR EACH ROW EXECUTE FUNCTION audit_event_is_kept();
CREATE TRIGGER audit_event_is_not_emptied BEFORE TRUNCATE ON audit_event
FOR EACH STATEMENT EXECUTE FUNCTION audit_event_is_kept();
";
