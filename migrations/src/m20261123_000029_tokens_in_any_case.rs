//! The dictionary of tokens also knows codes without the case of their letters, for `_filter`.
//!
//! Only what has capital letters is noted: a code without any is found by the hash that is there.
//!
//! On PostgreSQL processes of an older release write meanwhile. So nothing is locked for longer than it takes to name the
//! column: tokens are filled in some at a time, each time in a transaction of its own, and the index is built beside the
//! writes. What older processes insert is filled in by a trigger; letters outside of ASCII only as far as the database's
//! locale knows their case. On SQLite no other process writes.
//!
//! Begun again after it was cut off, it does what is left.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;
use sha2::{Digest, Sha256};

use crate::table::{self, Column, Index, index, optional_integer};

/// The migration.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

/// Tokens looked at together.
const AT_ONCE: usize = 1_000;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if !manager.has_column("token", FOLDED.name).await? {
            let whole = manager.begin().await?;
            table::add_column(&whole, "token", &FOLDED).await?;
            if manager.get_database_backend() == DbBackend::Postgres {
                whole.get_connection().execute_unprepared(OF_OLDER_PROCESSES).await?;
            }
            whole.commit().await?;
        }
        fill(manager).await?;
        table::add_index_where(manager, "token", &BY_FOLDED, "folded_hash IS NOT NULL").await
    }
}

/// The same hash as [`hash`] has. No release that knows the column inserts what this is asked about: once no older one
/// runs, it may go.
const OF_OLDER_PROCESSES: &str = "
CREATE FUNCTION token_is_folded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.folded_hash := ('x' || encode(substring(sha256(convert_to(lower(NEW.code), 'UTF8')) FROM 1 FOR 8), 'hex'))
        ::bit(64)::bigint & 9223372036854775807;
    RETURN NEW;
END $$;
CREATE TRIGGER token_is_folded BEFORE INSERT ON token FOR EACH ROW
WHEN (NEW.folded_hash IS NULL AND NEW.code <> lower(NEW.code)) EXECUTE FUNCTION token_is_folded();
";

const FOLDED: Column = optional_integer(
    "folded_hash",
    "First 63 bits of SHA-256 over the code in small letters, if that is not the code itself.",
);

const BY_FOLDED: Index = index(
    "token_by_folded",
    &["folded_hash"],
    "search by code whatever its case; see code_hash for codes in small letters",
);

async fn fill(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let mut last = -1_i64;
    loop {
        let mut select = Query::select();
        select.columns(["token", "code"]).from("token").and_where(Expr::col("token").gt(last));
        let rows = connection.query_all(select.order_by("token", Order::Asc).limit(AT_ONCE as u64)).await?;
        let mut folded = Vec::new();
        for row in &rows {
            last = row.try_get_by_index(0)?;
            let code: String = row.try_get_by_index(1)?;
            let small = code.to_lowercase();
            if small != code {
                folded.push(format!("({last}, {})", hash(&small)));
            }
        }
        if !folded.is_empty() {
            let folded = folded.join(", ");
            let sql = format!(
                "UPDATE token SET folded_hash = found.column2 FROM (VALUES {folded}) AS found \
                 WHERE token.token = found.column1"
            );
            connection.execute_unprepared(&sql).await?;
        }
        if rows.len() < AT_ONCE {
            return Ok(());
        }
    }
}

fn hash(text: &str) -> i64 {
    let digest = Sha256::digest(text.as_bytes());
    digest[..8].iter().fold(0, |hash, byte| (hash << 8) | i64::from(*byte)) & i64::MAX
}
