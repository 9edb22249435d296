//! What requests ask of PostgreSQL so often that they ask it together.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::sea_query::{ArrayType, Value};
use sea_orm::{DbBackend, Statement};

use super::lines::Lines;
use crate::error::StoreError;
use crate::gather::{Answers, Gather};
use crate::remembered::AsOf;
use crate::row::Row;
use crate::search::resolve::LISTED_TOKENS;

/// Questions by their kind.
#[derive(Debug)]
pub(crate) struct Asks {
    /// The last change of anything that access tokens depend on: while it is the same, what is remembered of them holds.
    pub(crate) access: Gather<(), AsOf>,
    /// Current versions of resources.
    pub(crate) current: Gather<Current, Option<Row>>,
    /// Versions of resources as a compartment holds them.
    pub(crate) held: Gather<Held, Option<Row>>,
    /// The first tokens of a code in any system, by the hash of the code.
    pub(crate) codes: Gather<i64, Arc<[i64]>>,
}

/// The current version of a resource: number of its type, logical id.
pub(crate) type Current = (i64, String);

/// One version of a resource, if a compartment holds it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) type_id: i64,
    pub(crate) id: String,
    /// Which; none: the current one.
    pub(crate) version: Option<i64>,
    /// How its patients are written if it is held; none: whosever it is.
    pub(crate) patients: Option<String>,
    /// Whether it may be nobody's.
    pub(crate) unassigned: bool,
}

impl Asks {
    pub(crate) fn new() -> Self {
        Asks {
            access: Gather::new(access),
            current: Gather::new(current),
            held: Gather::new(held),
            codes: Gather::new(codes),
        }
    }
}

fn access<'a>(lines: &'a Lines, questions: &'a [()]) -> Answers<'a, AsOf> {
    Box::pin(async move {
        let statement = Statement::from_string(DbBackend::Postgres, "SELECT change FROM access_change");
        let rows = lines.rows(statement).await?;
        let change = rows.first().ok_or_else(|| StoreError::Schema("access_change has no row".into()))?.bytes(0)?;
        let change = AsOf::Change(change.try_into().map_err(|_| StoreError::Column { column: 0 })?);
        Ok(vec![change; questions.len()])
    })
}

/// For each question in turn the rows of a statement that has a limit: it is found by the index that it names, however
/// many questions PostgreSQL expects there to be.
const CURRENT: &str = "SELECT r.id, r.version, r.last_updated, (SELECT text FROM body WHERE number = r.body), 2, q.at \
     FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS q (type_id, id, at) CROSS JOIN LATERAL \
     (SELECT o.id, o.version, o.last_updated, o.body FROM resource o WHERE o.type_id = q.type_id AND o.id = q.id \
     LIMIT 1 OFFSET 0) r";

fn current<'a>(lines: &'a Lines, questions: &'a [Current]) -> Answers<'a, Option<Row>> {
    let types = list(ArrayType::BigInt, questions.iter().map(|(type_id, _)| (*type_id).into()));
    let ids = list(ArrayType::String, questions.iter().map(|(_, id)| id.as_str().into()));
    answered(lines, CURRENT, vec![types, ids], questions.len())
}

/// A version is judged by the patients it had then. (LK-11)
const HELD: &str = "SELECT h.id, h.version, h.last_updated, (SELECT text FROM body WHERE number = h.body), h.method, q.at \
     FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[]) \
     WITH ORDINALITY AS q (type_id, id, version, patients, nobody, at) CROSS JOIN LATERAL \
     (SELECT r.id, v.version, v.last_updated, v.body, v.method FROM resource r \
     JOIN version v ON v.rid = r.rid AND v.version = coalesce(q.version, r.version) \
     WHERE r.type_id = q.type_id AND r.id = q.id \
     AND (q.patients IS NULL OR v.patients LIKE q.patients OR v.patients = q.nobody) LIMIT 1 OFFSET 0) h";

fn held<'a>(lines: &'a Lines, questions: &'a [Held]) -> Answers<'a, Option<Row>> {
    let nobody = |held: &Held| Value::String(held.unassigned.then(String::new));
    let lists = vec![
        list(ArrayType::BigInt, questions.iter().map(|held| held.type_id.into())),
        list(ArrayType::String, questions.iter().map(|held| held.id.as_str().into())),
        list(ArrayType::BigInt, questions.iter().map(|held| held.version.into())),
        list(ArrayType::String, questions.iter().map(|held| held.patients.clone().into())),
        list(ArrayType::String, questions.iter().map(nobody)),
    ];
    answered(lines, HELD, lists, questions.len())
}

/// Of each code no more than a statement would list.
const CODES: &str = "SELECT t.token, q.at FROM unnest($1::bigint[]) WITH ORDINALITY AS q (code, at) CROSS JOIN LATERAL \
     (SELECT token FROM token WHERE code_hash = q.code LIMIT $2 OFFSET 0) t";

fn codes<'a>(lines: &'a Lines, questions: &'a [i64]) -> Answers<'a, Arc<[i64]>> {
    let lists =
        vec![list(ArrayType::BigInt, questions.iter().map(|code| (*code).into())), (LISTED_TOKENS as i64).into()];
    Box::pin(async move {
        let mut tokens = vec![Vec::new(); questions.len()];
        for row in lines.rows(Statement::from_sql_and_values(DbBackend::Postgres, CODES, lists)).await? {
            let question = usize::try_from(row.i64(1)?).ok().and_then(|at| tokens.get_mut(at.checked_sub(1)?));
            question.ok_or(StoreError::Column { column: 1 })?.push(row.i64(0)?);
        }
        Ok(tokens.into_iter().map(Arc::from).collect())
    })
}

fn list(kind: ArrayType, values: impl Iterator<Item = Value>) -> Value {
    Value::Array(kind, Some(Box::new(values.collect())))
}

/// The column that says which question a row answers, from 1.
const AT: usize = 5;

/// The row of each question.
fn answered<'a>(lines: &'a Lines, sql: &'static str, lists: Vec<Value>, count: usize) -> Answers<'a, Option<Row>> {
    Box::pin(async move {
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, lists);
        let rows = lines.rows(statement).await?;
        let by_question = rows.into_iter().map(|row| Ok((usize::try_from(row.i64(AT)?).unwrap_or(0), row)));
        let mut by_question: HashMap<usize, Row> = by_question.collect::<Result<_, StoreError>>()?;
        Ok((1..=count).map(|at| by_question.remove(&at)).collect())
    })
}
