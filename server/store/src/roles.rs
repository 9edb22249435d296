//! What accounts may do beyond their record and their apps.

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Query};

use crate::{Store, StoreError, Tx};

/// A role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Bills insurers: sees the claims of all patients, and what they are made of.
    Billing,
}

impl Role {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Billing => "billing",
        }
    }
}

/// Whether an account has a role.
pub async fn has(store: &Store, account_id: &str, role: Role) -> Result<bool, StoreError> {
    let statement = Query::select()
        .column("role")
        .from("account_role")
        .and_where(Expr::col("account_id").eq(account_id))
        .and_where(Expr::col("role").eq(role.as_str()))
        .to_owned();
    Ok(!store.rows(&statement).await?.is_empty())
}

/// Keys of the accounts that have a role.
pub async fn holders(store: &Store, role: Role) -> Result<Vec<String>, StoreError> {
    let own = Expr::col("role").eq(role.as_str());
    let statement = Query::select().column("account_id").from("account_role").and_where(own).to_owned();
    store.rows(&statement).await?.iter().map(|row| row.text(0)).collect()
}

/// Gives an account a role, or takes it away.
pub async fn set(tx: &mut Tx, account_id: &str, role: Role, has: bool) -> Result<(), StoreError> {
    if has {
        let statement = Query::insert()
            .into_table("account_role")
            .columns(["account_id", "role"])
            .values_panic([account_id.into(), role.as_str().into()])
            .on_conflict(OnConflict::new().do_nothing().to_owned())
            .to_owned();
        return tx.execute(&statement).await.map(drop);
    }
    let statement = Query::delete()
        .from_table("account_role")
        .and_where(Expr::col("account_id").eq(account_id))
        .and_where(Expr::col("role").eq(role.as_str()))
        .to_owned();
    tx.execute(&statement).await.map(drop)
}
