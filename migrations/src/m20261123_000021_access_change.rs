//! Whether anything that access tokens stand on was changed since: on PostgreSQL one row says it for all processes.
//!
//! SQLite's WAL index says it of the whole database. Here triggers note it, so that no statement, not even one by hand,
//! takes rights away without it. They wait for the end of the transaction: the row is locked while it commits, no longer,
//! and nothing is locked after it.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::table::{self, Table, bytes, integer};

/// The migration.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        table::create(manager, &ACCESS_CHANGE).await?;
        let connection = manager.get_connection();
        connection.execute_unprepared(RULES).await?;
        // A new token or grant changes nothing about those that are known.
        let lasting = ["access_token", "app_grant"].map(|table| (table, "UPDATE OR DELETE"));
        let joined = ["client", "account"].map(|table| (table, "INSERT OR UPDATE OR DELETE"));
        for (watched, event) in lasting.into_iter().chain(joined) {
            connection
                .execute_unprepared(&format!(
                    "CREATE CONSTRAINT TRIGGER {watched}_is_watched AFTER {event} ON {watched}
                     DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION access_has_changed();
                     CREATE TRIGGER {watched}_is_not_emptied_unseen AFTER TRUNCATE ON {watched}
                     FOR EACH STATEMENT EXECUTE FUNCTION access_has_changed();"
                ))
                .await?;
        }
        Ok(())
    }
}

static ACCESS_CHANGE: Table = Table {
    name: "access_change",
    comment: "The last change of anything that access tokens stand on: what was known of a token before it is looked up anew.",
    columns: &[
        integer("one", "Always 1."),
        bytes(
            "change",
            "A random UUID: not a number, so that a database that was restored never says what it said before.",
        ),
        integer("by", "The transaction that made it: further changes in it are the same one."),
    ],
    primary_key: &["one"],
    clustered: false,
    indexes: &[],
};

const RULES: &str = "
INSERT INTO access_change VALUES (1, uuid_send(gen_random_uuid()), 0);
CREATE FUNCTION access_has_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE access_change SET change = uuid_send(gen_random_uuid()), by = pg_current_xact_id()::text::bigint
    WHERE by <> pg_current_xact_id()::text::bigint;
    RETURN NULL;
END $$;
";
