//! The dictionary of tokens also knows codes without the case of their letters, for `_filter`.
//!
//! Only what has capital letters is noted: a code without any is found by the hash that is there. What an older release
//! writes meanwhile is found as it is written.

use sea_orm_migration::prelude::*;
use sha2::{Digest, Sha256};

use crate::table::{self, Column, Index, index, optional_integer};

/// The migration.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

/// Tokens looked at together.
const AT_ONCE: usize = 1_000;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        table::add_column(manager, "token", &FOLDED).await?;
        fill(manager).await?;
        table::add_index_of_stated(manager, "token", &BY_FOLDED).await
    }
}

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
