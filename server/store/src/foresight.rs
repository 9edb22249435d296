//! What a transaction of many writes will need, asked for all of them at once: on PostgreSQL each question of its own is
//! a message and an answer, on SQLite it is a statement to be built.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::sea_query::extension::postgres::PgFunc;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Func, OnConflict, Query, SelectStatement, Value};
use sea_orm::{DbBackend, JoinType};
use search::entry::Extracted;
use search::query::{Filter, Match, Param, ParamKind, Query as Asked};
use search::view::View;

use crate::Store;
use crate::change::tables_of;
use crate::error::StoreError;
use crate::keys::{self, ResourceKey};
use crate::resources::{AFTER_STORED, Stored, stored_columns, stored_of_numbers};
use crate::search::any::is_one_of;
use crate::session::Session;
use crate::together;
use crate::tx::Tx;
use crate::view::ResolvedView;

/// Different locks: as many rows as their table (`claim`) gets. Two keys that share one wait for each other, which costs
/// time and nothing else.
const LOCKS: i64 = 1 << 18;

/// Values that are asked for in one statement.
const AT_ONCE: usize = 500;

/// Queries of one statement of [`Store::standing_alone`], and rows that it gives at most.
const STANDING: usize = 64;
const STANDING_ROWS: usize = 4 * STANDING;

/// A resource that is probably brought into being.
#[derive(Clone, Copy, Debug)]
pub struct Birth<'a> {
    /// Resource type.
    pub resource_type: &'a str,
    /// Logical id.
    pub id: &'a str,
    /// Its index entries.
    pub extracted: &'a Extracted,
}

/// The row of a resource that is there before its first version is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Born {
    pub(crate) rid: i64,
    /// The number that its text will have.
    pub(crate) body: i64,
    pub(crate) tables: i64,
    pub(crate) last_updated: i64,
}

impl Tx {
    /// Makes this transaction the only one that has any of these keys until it ends. A key stands for what is not there
    /// yet and cannot be locked by itself: of several conditional creates with the same criteria each sees what the one
    /// before it made.
    pub async fn lock_keys(&mut self, keys: &[&str]) -> Result<(), StoreError> {
        if self.backend() == DbBackend::Sqlite {
            return Ok(()); // there is one writer
        }
        // One order for all transactions, so that two never wait for each other crosswise.
        let locks: BTreeSet<i64> = keys.iter().map(|key| keys::hash(key) % LOCKS).collect();
        let locks: Vec<i64> = locks.into_iter().collect();
        for locks in locks.chunks(AT_ONCE) {
            let rows = locks.iter().map(|lock| vec![Value::from(*lock), Value::from(1_i64)]).collect();
            let raised = Expr::col(("claim", "claims")).add(1);
            let raise = OnConflict::column("hash").value("claims", raised).to_owned();
            self.execute(&together::insert_lists("claim", &["hash", "claims"], rows, raise)).await?;
        }
        Ok(())
    }

    /// Which of these queries certainly find nothing, whoever asks: a value that they ask for stands in no row.
    pub async fn find_nothing(&mut self, queries: &[&Asked]) -> Result<Vec<bool>, StoreError> {
        if queries.len() < 2 && self.backend() == DbBackend::Postgres {
            return Ok(vec![false; queries.len()]); // a search is one question too
        }
        self.flush().await?;
        let wanted: Vec<Option<(i64, i64)>> = queries.iter().map(|query| token_of(query)).collect();
        let mut params: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
        for (param, token) in wanted.iter().flatten() {
            params.entry(*param).or_default().insert(*token);
        }
        let mut standing: BTreeSet<(i64, i64)> = BTreeSet::new();
        for (param, tokens) in params {
            let tokens: Vec<i64> = tokens.into_iter().collect();
            for tokens in tokens.chunks(AT_ONCE) {
                let held = self.held_tokens(param, tokens).await?;
                standing.extend(held.into_iter().map(|token| (param, token)));
            }
        }
        Ok(wanted.iter().map(|wanted| wanted.is_some_and(|wanted| !standing.contains(&wanted))).collect())
    }

    /// Gives what is probably brought into being its rows, at the instant `at`, and what it refers to its numbers; each
    /// has to be put before the transaction ends, see [`Tx::all_are_put`]. What is there already stays as it is.
    pub async fn foresee(&mut self, births: &[Birth<'_>], at: i64) -> Result<(), StoreError> {
        if self.backend() == DbBackend::Sqlite {
            return Ok(()); // nothing is saved where there are no messages
        }
        self.number_targets(births).await?;
        let types = self.known().types.clone();
        let mut wanted: BTreeMap<ResourceKey, Born> = BTreeMap::new();
        for birth in births {
            let key = (types.id(birth.resource_type), birth.id.to_owned());
            let body = self.next_body().await?;
            let tables = tables_of(birth.extracted);
            wanted.insert(key, Born { rid: 0, body, tables, last_updated: at });
        }
        let row = |(key, born): (&ResourceKey, &Born)| {
            let numbers = [1, 1, born.last_updated, born.tables, born.body].map(Value::from);
            [Value::from(key.0), Value::from(key.1.clone())].into_iter().chain(numbers).collect()
        };
        let rows: Vec<Vec<Value>> = wanted.iter().map(row).collect();
        for rows in rows.chunks(AT_ONCE) {
            let columns = &["type_id", "id", "version", "live", "last_updated", "tables", "body"];
            let known = OnConflict::columns(["type_id", "id"]).do_nothing().to_owned();
            let mut insert = together::insert_lists("resource", columns, rows.to_vec(), known);
            insert.returning(Query::returning().columns(["type_id", "id", "rid"]));
            for row in self.rows(&insert).await? {
                let key = (row.i64(0)?, row.text(1)?);
                if let Some(born) = wanted.remove(&key) {
                    self.born.insert(key, Born { rid: row.i64(2)?, ..born });
                }
            }
        }
        Ok(())
    }

    /// An error if something was foreseen that was not put: it must not be committed.
    pub fn all_are_put(&self) -> Result<(), StoreError> {
        match self.born.keys().next() {
            None => Ok(()),
            Some((_, id)) => Err(StoreError::Schema(format!("{id} was foreseen and not written"))),
        }
    }

    /// Numbers what is referred to: what is brought into being, which has no number yet, and of the rest what is neither
    /// remembered nor found. What another transaction numbers meanwhile is found by [`Tx::mention`].
    async fn number_targets(&mut self, births: &[Birth<'_>]) -> Result<(), StoreError> {
        let all: BTreeSet<ResourceKey> = births.iter().flat_map(|birth| self.mentioned(birth.extracted)).collect();
        let mut unknown: BTreeSet<ResourceKey> =
            all.into_iter().filter(|key| key.0 != 0 && self.recent_target(key).is_none()).collect();
        let types = &self.known().types;
        let born: BTreeSet<(i64, &str)> =
            births.iter().map(|birth| (types.id(birth.resource_type), birth.id)).collect();
        let mut by_type: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for (type_id, id) in unknown.iter().filter(|(type_id, id)| !born.contains(&(*type_id, id.as_str()))) {
            by_type.entry(*type_id).or_default().push(id.clone());
        }
        for (type_id, ids) in by_type {
            for ids in ids.chunks(AT_ONCE) {
                let mut select = Query::select();
                select.columns(["type_id", "id", "target"]).from("target").and_where(Expr::col("type_id").eq(type_id));
                select.and_where(Expr::col("id").eq(PgFunc::any(Expr::val(ids.to_vec()))));
                self.learn(&select, &mut unknown).await?;
            }
        }
        let rows: Vec<Vec<Value>> =
            unknown.iter().map(|(type_id, id)| vec![Value::from(*type_id), Value::from(id.clone())]).collect();
        for rows in rows.chunks(AT_ONCE) {
            let known = OnConflict::columns(["type_id", "id"]).do_nothing().to_owned();
            let mut insert = together::insert_lists("target", &["type_id", "id"], rows.to_vec(), known);
            insert.returning(Query::returning().columns(["type_id", "id", "target"]));
            self.learn(&insert, &mut unknown).await?;
        }
        Ok(())
    }

    /// Remembers the targets that a statement gives.
    async fn learn(
        &mut self,
        statement: &impl sea_orm::StatementBuilder,
        unknown: &mut BTreeSet<ResourceKey>,
    ) -> Result<(), StoreError> {
        for row in self.rows(statement).await? {
            let key = (row.i64(0)?, row.text(1)?);
            unknown.remove(&key);
            self.found.insert(key, row.i64(2)?);
        }
        Ok(())
    }

    /// Which of these tokens a parameter has anywhere; of each one row is looked at.
    async fn held_tokens(&mut self, param: i64, tokens: &[i64]) -> Result<Vec<i64>, StoreError> {
        if let Some(connection) = self.sqlite_connection() {
            let mut select =
                connection.prepare_cached("SELECT 1 FROM index_token WHERE param = ? AND token = ? LIMIT 1")?;
            let mut held = Vec::new();
            for token in tokens {
                if select.exists([param, *token])? {
                    held.push(*token);
                }
            }
            return Ok(held);
        }
        let mut wanted = Query::select();
        wanted.expr_as(Func::cust("unnest").arg(Expr::val(tokens.to_vec())), Alias::new("token"));
        let mut row = Query::select();
        row.expr(Expr::val(1)).from_as("index_token", "i").and_where(Expr::col(("i", "param")).eq(param));
        row.and_where(Expr::col(("i", "token")).equals(("w", "token")));
        let mut select = Query::select();
        select.column(("w", "token")).from_subquery(wanted, "w").and_where(Expr::exists(row));
        self.rows(&select).await?.iter().map(|row| row.i64(0)).collect()
    }
}

impl Store {
    /// What each of these queries finds, where that is one resource; nothing where it is none or several, or where it
    /// cannot be asked together with others: for a view that hides something, or another condition than a token.
    pub async fn standing_alone(&self, view: &View, queries: &[Asked]) -> Result<Vec<Option<Stored>>, StoreError> {
        let (view, queries) = (view.clone(), queries.to_vec());
        with_long_session!(self, session => standing_alone(session, &view, &queries).await)
    }
}

async fn standing_alone<S: Session>(
    session: &mut S,
    view: &View,
    queries: &[Asked],
) -> Result<Vec<Option<Stored>>, StoreError> {
    let mut all = vec![None; queries.len()];
    for (chunk, some) in queries.chunks(STANDING).enumerate() {
        let query = &some[0];
        let alike = |other: &Asked| other.resource_type == query.resource_type && other.filters.len() == 1;
        let tokens: Vec<_> = some.iter().map(|query| token_of(query).filter(|_| alike(query))).collect();
        let resolved = ResolvedView::new(session, view, &query.resource_type).await?;
        let Some(&(param, _)) = tokens.iter().flatten().next() else { continue };
        if !resolved.is_some_and(|view| view.is_unrestricted()) {
            continue;
        }
        let wanted: Vec<i64> = tokens.iter().flatten().filter(|it| it.0 == param).map(|it| it.1).collect();
        let rows = session.rows(&with_tokens(param, &wanted)).await?;
        if rows.len() == STANDING_ROWS {
            continue; // there may be more
        }
        let held = rows.iter().map(|row| row.i64(AFTER_STORED)).collect::<Result<Vec<_>, _>>()?;
        let mut found: BTreeMap<i64, Vec<Stored>> = BTreeMap::new();
        for (token, stored) in held.into_iter().zip(stored_of_numbers(session, rows, &query.resource_type).await?) {
            found.entry(token).or_default().push(stored);
        }
        for (offset, token) in tokens.into_iter().enumerate() {
            let stored = token.filter(|it| it.0 == param).and_then(|it| found.get(&it.1));
            all[chunk * STANDING + offset] =
                stored.and_then(|it| if let [only] = it.as_slice() { Some(only.clone()) } else { None });
        }
    }
    Ok(all)
}

/// Resources that have one of these tokens, each with the token.
fn with_tokens(param: i64, tokens: &[i64]) -> SelectStatement {
    let mut select = Query::select();
    stored_columns(&mut select, "r");
    select.column(("i", "token")).from_as("index_token", "i");
    select.join_as(JoinType::InnerJoin, "resource", "r", Expr::col(("r", "rid")).equals(("i", "rid")));
    select.and_where(Expr::col(("i", "param")).eq(param)).and_where(is_one_of(Expr::col(("i", "token")), tokens));
    select.and_where(Expr::col(("i", "lead")).eq(1)).limit(STANDING_ROWS as u64).to_owned()
}

/// Parameter and token of a query, if it asks for a token that stands in the index as it is.
fn token_of(query: &Asked) -> Option<(i64, i64)> {
    if query.contained.is_some() {
        return None;
    }
    query.filters.iter().find_map(|filter| match filter {
        Filter::Any { param, matches, negated: false } if is_held(param) => match matches.as_slice() {
            [Match::Token { system: Some(system), code: Some(code) }] => Some((param.id.0, keys::token(system, code))),
            _ => None,
        },
        _ => None,
    })
}

/// Whether the tokens of a parameter stand as rows of its own.
fn is_held(param: &Param) -> bool {
    param.kind == ParamKind::Token && param.members.is_empty()
}
