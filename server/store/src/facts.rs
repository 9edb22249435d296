//! What the database says of itself, for `tributary doctor`.

use sea_orm::sea_query::{Expr, Func, Query};

use crate::{Engine, Store, StoreError};

/// Settings of PostgreSQL that matter here, with the name they are shown under.
const POSTGRESQL: [(&str, &str); 3] = [
    ("server_version_num", "PostgreSQL version"),
    ("server_encoding", "PostgreSQL encoding"),
    ("synchronous_commit", "PostgreSQL synchronous_commit"),
];

impl Store {
    /// Name and value of each fact.
    pub async fn facts(&self) -> Result<Vec<(&'static str, String)>, StoreError> {
        let mut facts = Vec::new();
        match self.engine() {
            Engine::Sqlite => {
                let version = Query::select().expr(Func::cust("sqlite_version")).to_owned();
                facts.push(("SQLite version", self.fact(&version).await?));
            }
            Engine::Postgres => {
                for (setting, name) in POSTGRESQL {
                    let value = Func::cust("current_setting").arg(Expr::val(setting));
                    facts.push((name, self.fact(&Query::select().expr(value).to_owned()).await?));
                }
                let collation = Query::select()
                    .expr(Expr::cust("datcollate::text"))
                    .from("pg_database")
                    .and_where(Expr::cust("datname = current_database()"))
                    .to_owned();
                facts.push(("PostgreSQL collation", self.fact(&collation).await?));
            }
        }
        Ok(facts)
    }

    async fn fact(&self, statement: &sea_orm::sea_query::SelectStatement) -> Result<String, StoreError> {
        let rows = self.rows(statement).await?;
        rows.first().map_or_else(|| Ok(String::new()), |row| row.text(0))
    }
}
