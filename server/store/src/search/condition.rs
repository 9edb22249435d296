//! A filter with its texts resolved to numbers, as a predicate on a row id.

use fhir::decimal::Decimal;
use sea_orm::sea_query::{Cond, Expr, ExprTrait, LikeExpr, Query as Sql, SelectStatement};
use search::entry::Target;
use search::query::{DateMatch, Filter, Match, NumberMatch, Param, ParamKind, Prefix, StringMode, UnitMatch};

use crate::error::StoreError;
use crate::index::{STRING_PREFIX, Table};
use crate::keys;
use crate::session::Session;
use crate::view::target;

/// Up to this many tokens of a code are listed in the statement, more are left to a subquery.
const LISTED_TOKENS: u64 = 50;

/// One condition of a search.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// Logical ids.
    Id {
        type_id: i64,
        ids: Vec<String>,
    },
    LastUpdated(Vec<DateMatch>),
    Missing {
        table: Table,
        param: i64,
        missing: bool,
    },
    Any(Any),
}

/// A parameter has one of some values.
#[derive(Clone, Debug)]
pub(crate) struct Any {
    pub(crate) table: Table,
    pub(crate) param: i64,
    pub(crate) negated: bool,
    pub(crate) alternatives: Vec<Alternative>,
    /// The patients asked for, if the parameter is one by which a patient holds the resource.
    pub(crate) patients: Option<Vec<i64>>,
}

/// One value of a parameter.
#[derive(Clone, Debug)]
pub(crate) enum Alternative {
    Token(i64),
    TokenOfCode(i64),
    TokenOfSystem(i64),
    Target(i64),
    Text { mode: StringMode, text: String },
    Date(DateMatch),
    Number(NumberMatch),
    Quantity { number: NumberMatch, unit: Option<UnitMatch> },
    Uri(String),
}

impl Condition {
    pub(crate) async fn resolve<S: Session>(
        session: &mut S,
        resource_type: &str,
        filter: &Filter,
    ) -> Result<Self, StoreError> {
        Ok(match filter {
            Filter::Id(ids) => Condition::Id { type_id: session.known().types.id(resource_type), ids: ids.clone() },
            Filter::LastUpdated(dates) => Condition::LastUpdated(dates.clone()),
            Filter::Missing { param, missing } => {
                Condition::Missing { table: table_of(param.kind), param: param.id.0, missing: *missing }
            }
            Filter::Any { param, matches, negated } => {
                Condition::Any(Any::resolve(session, param, matches, *negated).await?)
            }
            other => return Err(StoreError::TooCostly(format!("not yet: {other:?}"))),
        })
    }

    /// The condition on the resource whose row id is `rid`.
    pub(crate) fn predicate(&self, rid: &Expr) -> Expr {
        match self {
            Condition::Id { type_id, ids } => {
                let mut select = Sql::select();
                select.column("rid").from("resource").and_where(Expr::col("type_id").eq(*type_id));
                select.and_where(Expr::col("id").is_in(ids.iter().map(String::as_str)));
                rid.clone().in_subquery(select)
            }
            Condition::LastUpdated(dates) => {
                let at = || Expr::col(("changed", "last_updated"));
                let any = dates.iter().fold(Cond::any(), |any, date| any.add(date_matches(at(), at(), *date)));
                let mut select = Sql::select();
                select
                    .expr(Expr::val(1))
                    .from_as("resource", "changed")
                    .and_where(Expr::col(("changed", "rid")).eq(rid.clone()))
                    .cond_where(any);
                Expr::exists(select)
            }
            Condition::Missing { table, param, missing } => {
                let has = Expr::exists(rows_of(*table, *param, rid));
                if *missing { has.not() } else { has }
            }
            Condition::Any(any) => any.exists(rows_of(any.table, any.param, rid)),
        }
    }

    /// The condition on the resource of the scanned row `d`, which has the columns that every index row has.
    ///
    /// All rows of a resource have the same chronology, and the same patients: with them the row that is asked for
    /// stands where the patient's other rows of that value stand, so a page asks a few neighbours and not a leaf of
    /// the tree for each of its resources.
    pub(crate) fn predicate_beside_scanned(&self) -> Expr {
        let rid = Expr::col(("d", "rid"));
        match self {
            Condition::Any(any) if any.names_values() => {
                let mut select = rows_of(any.table, any.param, &rid);
                for column in ["patient", "chronology"] {
                    select.and_where(Expr::col(("x", column)).equals(("d", column)));
                }
                any.exists(select)
            }
            other => other.predicate(&rid),
        }
    }
}

impl Any {
    async fn resolve<S: Session>(
        session: &mut S,
        param: &Param,
        matches: &[Match],
        negated: bool,
    ) -> Result<Self, StoreError> {
        let mut alternatives = Vec::new();
        let mut patients = Some(Vec::new()).filter(|_| param.compartment && !negated);
        for wanted in matches {
            if !matches!(wanted, Match::Reference(Target::Local { resource_type, .. }) if resource_type == "Patient") {
                patients = None;
            }
            let before = alternatives.len();
            resolve_match(session, wanted, &mut alternatives).await?;
            if let (Some(patients), Some(Alternative::Target(target))) = (&mut patients, alternatives.get(before)) {
                patients.push(*target);
            }
        }
        Ok(Any { table: table_of(param.kind), param: param.id.0, negated, alternatives, patients })
    }

    /// That a row of the table, known as `alias`, has one of the values.
    pub(crate) fn values(&self, alias: &'static str) -> Cond {
        // An empty disjunction is true in SQL builders, but nothing matches no value.
        let none = Cond::any().add(Expr::val(1).eq(0));
        if self.alternatives.is_empty() {
            return none;
        }
        self.alternatives.iter().fold(Cond::any(), |any, alternative| any.add(alternative.matches(alias)))
    }

    fn exists(&self, mut rows: SelectStatement) -> Expr {
        let has = Expr::exists(rows.cond_where(self.values("x")).take());
        if self.negated { has.not() } else { has }
    }

    /// Whether the values are keys of the table: then rows are found by them.
    fn names_values(&self) -> bool {
        let is_key = |alternative: &Alternative| matches!(alternative, Alternative::Token(_) | Alternative::Target(_));
        self.alternatives.iter().all(is_key)
    }

    /// Whether a resource has at most one row with these values for each patient.
    pub(crate) fn is_single_value(&self) -> bool {
        matches!(self.alternatives.as_slice(), [Alternative::Token(_) | Alternative::Target(_) | Alternative::Uri(_)])
    }
}

impl Alternative {
    fn matches(&self, alias: &'static str) -> Cond {
        let col = |name: &'static str| Expr::col((alias, name));
        let all = |expr: Expr| Cond::all().add(expr);
        match self {
            Alternative::Token(token) => all(col("token").eq(*token)),
            Alternative::TokenOfCode(hash) => all(col("token").in_subquery(tokens_where("code_hash", *hash))),
            Alternative::TokenOfSystem(hash) => all(col("token").in_subquery(tokens_where("system_hash", *hash))),
            Alternative::Target(target) => all(col("target").eq(*target)),
            Alternative::Text { mode, text } => text_matches(alias, *mode, text),
            Alternative::Date(date) => date_matches(col("low"), col("high"), *date),
            Alternative::Number(number) => number_matches(&col("value"), number),
            Alternative::Quantity { number, unit } => {
                // Of its own, so that a negated comparison does not negate the unit with it.
                let value = Cond::all().add(number_matches(&col("value"), number));
                match unit {
                    None => value,
                    Some(UnitMatch::Coded { system, code }) => value.add(col("unit").eq(keys::token(system, code))),
                    Some(UnitMatch::Named(name)) => {
                        let hash = keys::hash(name);
                        value.add(Cond::any().add(col("code").eq(hash)).add(col("name").eq(hash)))
                    }
                    Some(UnitMatch::Canonical(code)) => value.add(col("code").eq(keys::hash(code))),
                }
            }
            Alternative::Uri(text) => all(col("hash").eq(keys::hash(text))).add(col("value").eq(text.clone())),
        }
    }
}

async fn resolve_match<S: Session>(
    session: &mut S,
    wanted: &Match,
    out: &mut Vec<Alternative>,
) -> Result<(), StoreError> {
    match wanted {
        Match::Token { system: Some(system), code: Some(code) } => {
            out.push(Alternative::Token(keys::token(system, code)));
        }
        Match::Token { system: None, code: Some(code) } => {
            let mut select = tokens_where("code_hash", keys::hash(code));
            select.limit(LISTED_TOKENS);
            let rows = session.rows(&select).await?;
            if rows.len() as u64 == LISTED_TOKENS {
                out.push(Alternative::TokenOfCode(keys::hash(code)));
            } else {
                for row in rows {
                    out.push(Alternative::Token(row.i64(0)?));
                }
            }
        }
        Match::Token { system, code: None } => {
            out.push(Alternative::TokenOfSystem(keys::hash(system.as_deref().unwrap_or_default())));
        }
        Match::Reference(Target::Local { resource_type, id }) => {
            out.extend(target(session, resource_type, id).await?.map(Alternative::Target));
        }
        Match::Reference(Target::Url(text)) => out.push(Alternative::Target(keys::url(text))),
        Match::String { mode, text } => out.push(Alternative::Text { mode: *mode, text: text.clone() }),
        Match::Date(date) => out.push(Alternative::Date(*date)),
        Match::Number(number) => out.push(Alternative::Number(number.clone())),
        Match::Quantity { number, unit } => {
            out.push(Alternative::Quantity { number: number.clone(), unit: unit.clone() });
        }
        Match::Uri(text) => out.push(Alternative::Uri(text.clone())),
        other => return Err(StoreError::TooCostly(format!("not yet: {other:?}"))),
    }
    Ok(())
}

pub(crate) fn table_of(kind: ParamKind) -> Table {
    match kind {
        ParamKind::Number => Table::Number,
        ParamKind::Date => Table::Date,
        ParamKind::String => Table::String,
        ParamKind::Token => Table::Token,
        ParamKind::Reference => Table::Reference,
        ParamKind::Quantity => Table::Quantity,
        ParamKind::Uri => Table::Uri,
        ParamKind::Composite => Table::Composite,
    }
}

fn rows_of(table: Table, param: i64, rid: &Expr) -> SelectStatement {
    let mut select = Sql::select();
    select.expr(Expr::val(1)).from_as(table.name(), "x").and_where(Expr::col(("x", "rid")).eq(rid.clone()));
    select.and_where(Expr::col(("x", "param")).eq(param));
    select
}

fn tokens_where(column: &'static str, hash: i64) -> SelectStatement {
    let mut select = Sql::select();
    select.column("token").from("token").and_where(Expr::col(column).eq(hash));
    select
}

fn text_matches(alias: &'static str, mode: StringMode, text: &str) -> Cond {
    let col = |name: &'static str| Expr::col((alias, name));
    let like = |pattern: String| LikeExpr::new(pattern).escape('\\');
    let starts = |folded: &str| {
        let prefix: String = folded.chars().take(STRING_PREFIX).collect();
        let end = format!("{prefix}\u{10ffff}");
        let whole = folded.chars().count() <= STRING_PREFIX;
        let range = Cond::all().add(col("prefix").gte(prefix)).add(col("prefix").lt(end));
        if whole { range } else { range.add(col("folded").like(like(format!("{}%", escaped(folded))))) }
    };
    match mode {
        StringMode::StartsWith => starts(text),
        StringMode::Contains => Cond::all().add(col("folded").like(like(format!("%{}%", escaped(text))))),
        StringMode::Exact => {
            starts(&search::fold::fold(text)).add(col("value").eq(keys::hash(text))).add(col("exact").eq(text))
        }
    }
}

/// `%`, `_` and `\` are letters like any other. (IN-15)
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

fn date_matches(low: Expr, high: Expr, date: DateMatch) -> Cond {
    let contained = Cond::all().add(low.clone().gte(date.low)).add(high.clone().lte(date.high));
    let all = |expr: Expr| Cond::all().add(expr);
    match date.prefix {
        Prefix::Eq => contained,
        Prefix::Ne => contained.not(),
        Prefix::Gt => all(high.gt(date.high)),
        Prefix::Lt => all(low.lt(date.low)),
        Prefix::Ge => all(high.gte(date.low)),
        Prefix::Le => all(low.lte(date.high)),
        Prefix::Sa => all(low.gt(date.high)),
        Prefix::Eb => all(high.lt(date.low)),
        Prefix::Ap => all(low.lte(date.high)).add(high.gte(date.low)),
    }
}

fn number_matches(column: &Expr, number: &NumberMatch) -> Cond {
    let key = Decimal::sort_key;
    let (low, high, value) = (key(&number.low), key(&number.high), key(&number.value));
    let column = || column.clone();
    let within = Cond::all().add(column().gte(low.clone())).add(column().lt(high.clone()));
    let all = |expr: Expr| Cond::all().add(expr);
    match number.prefix {
        Prefix::Eq => within,
        Prefix::Ne => within.not(),
        Prefix::Gt | Prefix::Sa => all(column().gt(value)),
        Prefix::Lt | Prefix::Eb => all(column().lt(value)),
        Prefix::Ge => all(column().gte(value)),
        Prefix::Le => all(column().lte(value)),
        Prefix::Ap => all(column().gte(low)).add(column().lte(high)),
    }
}
