//! Search parameters that the database defines: which there are, and how far the index is with each.
//!
//! ```text
//! waiting ──► indexing ──► indexed ──► leaving ──► gone ──► (no row)
//! ```
//!
//! Each change of the set raises its generation, which every process looks at often; see
//! `docs/src/decisions/0009-search-parameters-of-a-database.md` for why the steps are those.

use sea_orm::sea_query::{Expr, ExprTrait as _, Func, OnConflict, Query, SelectStatement};

use crate::index::{TABLES, Table};
use crate::{Engine, Row, Store, StoreError, Tx, keys};

/// How far a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Until all processes index what they write by it.
    Waiting,
    /// What stood before is being indexed.
    Indexing,
    /// All resources are indexed by it.
    Indexed,
    /// Gone for searches; what is written is indexed until all processes know that it is gone.
    Leaving,
    /// Its index rows are being deleted.
    Gone,
}

/// A definition that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Logical id of the SearchParameter.
    pub id: String,
    /// Hash of the definition: one resource may have several on their way.
    pub hash: i64,
    /// Text of the definition.
    pub definition: String,
    /// How far it is.
    pub state: State,
    /// Resources up to this row are indexed.
    pub done_rid: i64,
    /// Up to this row there is something to do.
    pub last_rid: i64,
    /// When it came into this state, microseconds since 1970.
    pub changed_at: i64,
}

/// All that is kept, as it stands in one generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// 0 while nothing ever was kept.
    pub generation: i64,
    /// By id.
    pub kept: Vec<Kept>,
}

impl State {
    const ALL: [State; 5] = [State::Waiting, State::Indexing, State::Indexed, State::Leaving, State::Gone];

    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Indexing => "indexing",
            State::Indexed => "indexed",
            State::Leaving => "leaving",
            State::Gone => "gone",
        }
    }

    fn number(self) -> i64 {
        self as i64 + 1
    }

    fn of(number: i64) -> Result<State, StoreError> {
        let state = State::ALL.into_iter().find(|state| state.number() == number);
        state.ok_or_else(|| StoreError::Schema(format!("unknown state {number} of a search parameter")))
    }
}

impl Store {
    /// The whole set.
    pub async fn search_parameters(&self) -> Result<Set, StoreError> {
        read(&self.rows(&select()).await?)
    }

    /// The generation of the set.
    pub async fn search_parameter_generation(&self) -> Result<i64, StoreError> {
        self.rows(&select_generation()).await?.first().map_or(Ok(0), |row| row.i64(0))
    }

    /// A number above those of all transactions that have begun to write: once [`oldest_transaction`] is not below
    /// it, all of them have ended. Nothing to wait for on SQLite, where one writes at a time.
    ///
    /// [`oldest_transaction`]: Self::oldest_transaction
    pub async fn next_transaction(&self) -> Result<i64, StoreError> {
        self.transaction("pg_snapshot_xmax").await
    }

    /// The number of the oldest transaction that has not ended, or of the next one to come.
    pub async fn oldest_transaction(&self) -> Result<i64, StoreError> {
        self.transaction("pg_snapshot_xmin").await
    }

    async fn transaction(&self, bound: &'static str) -> Result<i64, StoreError> {
        if self.engine() == Engine::Sqlite {
            return Ok(0);
        }
        let statement =
            Query::select().expr(Expr::cust(format!("{bound}(pg_current_snapshot())::text::bigint"))).take();
        self.rows(&statement).await?.first().map_or(Ok(0), |row| row.i64(0))
    }
}

/// The whole set, in a transaction.
pub async fn all(tx: &mut Tx) -> Result<Set, StoreError> {
    read(&tx.rows(&select()).await?)
}

/// The generation, in a transaction.
pub async fn generation(tx: &mut Tx) -> Result<i64, StoreError> {
    tx.rows(&select_generation()).await?.first().map_or(Ok(0), |row| row.i64(0))
}

/// Raises the generation and returns it. Other transactions that change the set wait until this one has ended, so it
/// comes before the set is read that the change depends on.
pub async fn change(tx: &mut Tx) -> Result<i64, StoreError> {
    let mut insert = Query::insert();
    insert.into_table("search_parameter_set").columns(["one", "generation", "holder", "lease"]);
    insert.values_panic([1_i64.into(), 1_i64.into(), "".into(), 0_i64.into()]);
    let raised = Expr::col(("search_parameter_set", "generation")).add(1);
    insert.on_conflict(OnConflict::column("one").value("generation", raised).to_owned());
    insert.returning_col("generation");
    tx.rows(&insert).await?.first().ok_or(StoreError::Conflict)?.i64(0)
}

/// Keeps a definition of the SearchParameter `id`, from the beginning of its way unless it is on it already; others
/// that it had leave. Definitions of the same `identity` select the same.
pub async fn arrive(tx: &mut Tx, id: &str, identity: &str, definition: &str, now: i64) -> Result<(), StoreError> {
    let hash = keys::hash(identity);
    leave_but(tx, id, Some(hash), now).await?;
    let mut update = Query::update();
    update.table("search_parameter").value("definition", definition).and_where(Expr::col("id").eq(id));
    update.and_where(Expr::col("hash").eq(hash)).and_where(Expr::col("state").lt(State::Leaving.number()));
    if tx.execute(&update).await? == 1 {
        return Ok(());
    }
    let columns = ["id", "hash", "definition", "state", "done_rid", "last_rid", "changed_at"];
    let mut insert = Query::insert();
    insert.into_table("search_parameter").columns(columns).values_panic([
        id.into(),
        hash.into(),
        definition.into(),
        State::Waiting.number().into(),
        0_i64.into(),
        0_i64.into(),
        now.into(),
    ]);
    insert.on_conflict(OnConflict::columns(["id", "hash"]).update_columns(columns).to_owned());
    tx.execute(&insert).await.map(drop)
}

/// What the SearchParameter `id` defined leaves.
pub async fn leave(tx: &mut Tx, id: &str, now: i64) -> Result<(), StoreError> {
    leave_but(tx, id, None, now).await
}

async fn leave_but(tx: &mut Tx, id: &str, hash: Option<i64>, now: i64) -> Result<(), StoreError> {
    let mut update = Query::update();
    update.table("search_parameter").value("state", State::Leaving.number()).value("changed_at", now);
    update.and_where(Expr::col("id").eq(id)).and_where(Expr::col("state").lt(State::Leaving.number()));
    if let Some(hash) = hash {
        update.and_where(Expr::col("hash").ne(hash));
    }
    tx.execute(&update).await.map(drop)
}

/// Makes `holder` the one process that moves parameters on until `until`; whether it is. Another one's lease must
/// have ended before `now`.
pub async fn lease(tx: &mut Tx, holder: &str, now: i64, until: i64) -> Result<bool, StoreError> {
    let mut update = Query::update();
    update.table("search_parameter_set").value("holder", holder).value("lease", until);
    update.and_where(Expr::col("one").eq(1_i64));
    update.and_where(Expr::col("holder").eq(holder).or(Expr::col("lease").lt(now)));
    Ok(tx.execute(&update).await? == 1)
}

/// Moves a definition from one state to another; whether it was in it.
pub async fn proceed(tx: &mut Tx, kept: &Kept, to: State, now: i64) -> Result<bool, StoreError> {
    let mut update = Query::update();
    update.table("search_parameter").value("state", to.number()).value("changed_at", now);
    if to == State::Indexing {
        let last = Query::select()
            .expr(Func::coalesce([Func::max(Expr::col("rid")).into(), Expr::val(0_i64)]))
            .from("resource")
            .take();
        update.value("done_rid", 0_i64).value("last_rid", last);
    }
    update.and_where(Expr::col("id").eq(&kept.id)).and_where(Expr::col("hash").eq(kept.hash));
    update.and_where(Expr::col("state").eq(kept.state.number()));
    Ok(tx.execute(&update).await? == 1)
}

/// Keeps that resources up to `rid` are indexed.
pub async fn progress(tx: &mut Tx, kept: &Kept, rid: i64) -> Result<(), StoreError> {
    let mut update = Query::update();
    update.table("search_parameter").value("done_rid", rid);
    update.and_where(Expr::col("id").eq(&kept.id)).and_where(Expr::col("hash").eq(kept.hash));
    update.and_where(Expr::col("state").eq(State::Indexing.number()));
    tx.execute(&update).await.map(drop)
}

/// Deletes index rows of `params`, those of at most `most` resources a table; how many there were. Nothing unless the
/// definition is still gone.
pub async fn purge(tx: &mut Tx, kept: &Kept, params: &[i64], most: u64) -> Result<u64, StoreError> {
    if !proceed(tx, kept, State::Gone, kept.changed_at).await? {
        return Ok(0);
    }
    let mut count = 0;
    for table in TABLES.into_iter().filter(|table| *table != Table::Listing) {
        let of_params = || Expr::col("param").is_in(params.iter().copied());
        let some = Query::select().column("rid").from(table.name()).and_where(of_params()).limit(most).take();
        let mut delete = Query::delete();
        delete.from_table(table.name()).and_where(of_params()).and_where(Expr::col("rid").in_subquery(some));
        count += tx.execute(&delete).await?;
    }
    Ok(count)
}

/// Forgets a definition that is gone.
pub async fn forget(tx: &mut Tx, kept: &Kept) -> Result<(), StoreError> {
    let mut delete = Query::delete();
    delete.from_table("search_parameter").and_where(Expr::col("id").eq(&kept.id));
    delete.and_where(Expr::col("hash").eq(kept.hash)).and_where(Expr::col("state").eq(State::Gone.number()));
    tx.execute(&delete).await.map(drop)
}

fn select_generation() -> SelectStatement {
    Query::select().column("generation").from("search_parameter_set").take()
}

/// Generation and definitions in one statement, so that they belong together.
fn select() -> SelectStatement {
    let mut select = Query::select();
    select.column(("search_parameter_set", "generation"));
    for column in ["id", "hash", "definition", "state", "done_rid", "last_rid", "changed_at"] {
        select.column(("search_parameter", column));
    }
    select.from("search_parameter_set").left_join("search_parameter", Expr::val(1_i64).eq(1_i64));
    select.order_by(("search_parameter", "id"), sea_orm::Order::Asc);
    select.order_by(("search_parameter", "hash"), sea_orm::Order::Asc);
    select
}

fn read(rows: &[Row]) -> Result<Set, StoreError> {
    let generation = rows.first().map_or(Ok(0), |row| row.i64(0))?;
    let mut kept = Vec::new();
    for row in rows {
        let Some(id) = row.opt_text(1)? else { continue };
        kept.push(Kept {
            id,
            hash: row.i64(2)?,
            definition: row.text(3)?,
            state: State::of(row.i64(4)?)?,
            done_rid: row.i64(5)?,
            last_rid: row.i64(6)?,
            changed_at: row.i64(7)?,
        });
    }
    Ok(Set { generation, kept })
}
