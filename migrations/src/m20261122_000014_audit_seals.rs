//! Seals of the audit trail: a chain of hashes over the events, in the order in which they were committed.
//!
//! On SQLite events are sealed in the transaction that writes them, in both files. On PostgreSQL, where many connections
//! write at once, a trigger notes what is not sealed yet, and one server after another seals it.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::table::{self, Table, bytes, integer};

/// The migration.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [&AUDIT_SEAL, &AUDIT_ANCHOR, &AUDIT_UNSEALED] {
            table::create(manager, table).await?;
        }
        let connection = manager.get_connection();
        // What was written before there were seals is sealed as it is now.
        connection.execute_unprepared("INSERT INTO audit_unsealed SELECT id FROM audit_event").await?;
        let rules = match manager.get_database_backend() {
            DbBackend::Postgres => POSTGRES_RULES,
            _ => SQLITE_RULES,
        };
        connection.execute_unprepared(rules).await.map(drop)
    }
}

static AUDIT_SEAL: Table = Table {
    name: "audit_seal",
    comment: "Some events that were committed together, and all before them: a link of the chain (CO-06).",
    columns: &[
        integer("number", "1 for the first, and so on without a gap."),
        bytes("hash", "SHA-256 over the hash of the seal before, the number and the events."),
        bytes("mac", "HMAC-SHA-256 over number and hash with a key that is not in the database."),
        bytes("events", "48 bytes each: the id of an event, SHA-256 over its row; zeros if it was gone by then."),
    ],
    primary_key: &["number"],
    clustered: false,
    indexes: &[],
};

static AUDIT_ANCHOR: Table = Table {
    name: "audit_anchor",
    comment: "What has been removed because it was old enough; one row once that happened.",
    columns: &[
        integer("one", "Always 1."),
        bytes("upto", "The first id of an event that is kept."),
        integer("seal", "The last seal that was removed; 0 if none was."),
        bytes("hash", "Its hash."),
        bytes("mac", "HMAC-SHA-256 over all of this with a key that is not in the database."),
    ],
    primary_key: &["one"],
    clustered: false,
    indexes: &[],
};

static AUDIT_UNSEALED: Table = Table {
    name: "audit_unsealed",
    comment: "Events that are committed and not sealed yet.",
    columns: &[bytes("id", "The event.")],
    primary_key: &["id"],
    clustered: true,
    indexes: &[],
};

/// Seals do not change, and go only where the retention has said before that they may.
const SQLITE_RULES: &str = "
CREATE TRIGGER audit_seal_stays BEFORE UPDATE ON audit_seal
BEGIN SELECT RAISE(ABORT, 'seals of audit events do not change'); END;
CREATE TRIGGER audit_seal_is_kept BEFORE DELETE ON audit_seal
WHEN NOT EXISTS (SELECT 1 FROM audit_anchor WHERE OLD.number <= seal)
BEGIN SELECT RAISE(ABORT, 'seals of audit events are kept'); END;
CREATE TRIGGER audit_seal_is_new BEFORE INSERT ON audit_seal
WHEN EXISTS (SELECT 1 FROM audit_seal WHERE number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'seals of audit events do not change'); END;
";

const POSTGRES_RULES: &str = "
CREATE FUNCTION audit_event_is_unsealed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_unsealed SELECT id FROM fresh;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_event_is_unsealed AFTER INSERT ON audit_event
REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION audit_event_is_unsealed();
CREATE FUNCTION audit_seal_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF EXISTS (SELECT 1 FROM audit_anchor WHERE OLD.number <= seal) THEN RETURN OLD; END IF;
    END IF;
    RAISE EXCEPTION 'seals of audit events do not change';
END $$;
CREATE TRIGGER audit_seal_is_kept BEFORE UPDATE OR DELETE ON audit_seal
FOR EACH ROW EXECUTE FUNCTION audit_seal_is_kept();
CREATE TRIGGER audit_seal_is_not_emptied BEFORE TRUNCATE ON audit_seal
FOR EACH STATEMENT EXECUTE FUNCTION audit_seal_is_kept();
";
