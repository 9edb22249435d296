//! A parameter has one of some values: the values as numbers, and as conditions on index rows.
//! <https://hl7.org/fhir/R4/search.html#ptypes>

use fhir::decimal::Decimal;
use sea_orm::DbBackend;
use sea_orm::sea_query::{Cond, Expr, ExprTrait, Func, LikeExpr, Query as Sql, SelectStatement, UnionType, Value};
use search::query::{DateMatch, NumberMatch, Order, Param, ParamKind, Prefix, StringMode, UnitMatch};

use super::condition::Place;
use super::question::{finds_a_row, one_holds};
use crate::index::{STRING_PREFIX, Table};
use crate::keys;

/// From here on numbers stand in the statement as text: the engines bind no more than 32,766 values.
const BOUND: usize = 100;

/// A parameter has one of some values.
#[derive(Clone, Debug)]
pub(crate) struct Any {
    /// Name in URLs, for people.
    pub(crate) code: String,
    pub(crate) table: Table,
    pub(crate) param: i64,
    pub(crate) negated: bool,
    pub(crate) alternatives: Vec<Alternative>,
    /// The patients asked for, if every patient that the parameter points at holds the resource in its compartment; else
    /// None.
    pub(crate) patients: Option<Vec<i64>>,
    /// The other parameters by which a resource of the type can lie in a compartment; empty: there is no other; None: it
    /// may lie there by no parameter at all, as a Patient in its own.
    pub(crate) other_compartment_params: Option<Vec<i64>>,
}

/// One value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Alternative {
    Token(i64),
    TokenOfCode(i64),
    TokenInAnyCase(Cases),
    TokenOfSystem(i64),
    Target(i64),
    Text {
        mode: StringMode,
        text: String,
    },
    Date(DateMatch),
    /// Intervals in which all of this one lies.
    Period {
        low: i64,
        high: i64,
    },
    Number(NumberMatch),
    Quantity {
        number: NumberMatch,
        unit: Option<UnitMatch>,
    },
    Uri(String),
    /// URIs that begin like this; it ends with a slash.
    UriBelow(String),
    /// Any value but these.
    Other(Vec<Alternative>),
    /// One element has one of the values of each component.
    Composite(Vec<Vec<Alternative>>),
}

impl Any {
    pub(crate) fn of(param: &Param, alternatives: Vec<Alternative>, negated: bool) -> Self {
        let other_compartment_params =
            param.other_compartment_params.as_ref().map(|others| others.iter().map(|id| id.0).collect());
        let (code, table, param) = (param.code.clone(), table_of(param.kind), param.id.0);
        Any { code, table, param, negated, alternatives, patients: None, other_compartment_params }
    }

    /// That a row of the table, known as `alias`, has one of the values. The row is found by something else, or the values
    /// are keys.
    pub(crate) fn values(&self, alias: &'static str) -> Cond {
        one_of(&self.alternatives, &Columns { alias, component: None, is_scanned: false })
    }

    /// The same of the scanned row `d`, which is found by the values.
    pub(crate) fn scanned_values(&self) -> Cond {
        one_of(&self.alternatives, &Columns { alias: "d", component: None, is_scanned: true })
    }

    /// The condition on the resource of a place.
    pub(super) fn predicate(&self, place: &Place) -> Expr {
        let by_key = place.is_scanned && self.names_values();
        let mut rows =
            if by_key { neighbours(self.table, self.param, place) } else { rows_of(self.table, self.param, place) };
        let has = finds_a_row(rows.cond_where(self.values("x")).take());
        if self.negated { has.not() } else { has }
    }

    /// The same of a resource that is held by one of these patients; none: by anybody. Of a value that a resource must not
    /// have, such as a label, it is asked once whether any has it: where none has, no row is asked.
    pub(crate) fn predicate_among(&self, place: &Place, patients: Option<&[i64]>) -> Expr {
        let each = self.predicate(place);
        if !(self.negated && place.is_scanned && self.names_values()) {
            return each;
        }
        let mut rows = Sql::select();
        rows.expr(Expr::val(1)).from_as(self.table.name(), "l").and_where(Expr::col(("l", "param")).eq(self.param));
        rows.cond_where(self.values("l"));
        if let Some(patients) = patients {
            rows.and_where(is_one_of(Expr::col(("l", "patient")), patients));
        }
        Cond::any().add(finds_a_row(rows).not()).add(each).into()
    }

    /// Whether nothing can satisfy it.
    pub(crate) fn is_impossible(&self) -> bool {
        self.alternatives.is_empty() && !self.negated
    }

    /// Whether the values are keys of the table: then rows are found by them.
    pub(crate) fn names_values(&self) -> bool {
        self.alternatives.iter().all(Alternative::is_key)
    }

    /// Whether rows with one value of one patient stand newest first.
    pub(crate) fn is_ordered(&self) -> bool {
        matches!(self.table, Table::Token | Table::Reference | Table::Composite)
    }

    /// Whether a resource has at most one row with these values for each patient.
    pub(crate) fn is_single_value(&self) -> bool {
        matches!(self.alternatives.as_slice(), [Alternative::Token(_) | Alternative::Target(_) | Alternative::Uri(_)])
    }

    /// One for each of up to `most` values, if the rows of each stand newest first: several such ranges are merged
    /// faster than their rows are sorted.
    pub(crate) fn split(&self, most: usize) -> Vec<Any> {
        let count = self.alternatives.len();
        if !(2..=most).contains(&count) || !self.is_ordered() || !self.names_values() {
            return vec![self.clone()];
        }
        self.alternatives.iter().map(|it| Any { alternatives: vec![it.clone()], ..self.clone() }).collect()
    }
}

/// Where the value stands in a row.
struct Columns {
    alias: &'static str,
    /// Of a composite's row: which component.
    component: Option<usize>,
    /// Whether rows are found by the value, be it a key or not, and not by the resource.
    is_scanned: bool,
}

impl Columns {
    fn col(&self, name: &'static str) -> Expr {
        Expr::col((self.alias, name))
    }

    /// The integer that stands for the value; `ordinary` is its name in the table of the kind.
    fn key(&self, ordinary: &'static str) -> Expr {
        self.col(match self.component {
            None => ordinary,
            Some(0) => "first",
            Some(_) => "second",
        })
    }

    /// An end of the number, and the other one.
    fn number(&self) -> Ends {
        let columns = if self.component == Some(2) { ["third", "third_other"] } else { ["value", "other"] };
        Ends(columns.map(|name| self.col(name)))
    }

    /// The same in canonical units, and the unit.
    fn canonical(&self) -> (Ends, Expr) {
        match self.component {
            Some(_) => (Ends(["canonical", "canonical_other"].map(|name| self.col(name))), self.col("canonical_unit")),
            None => (self.number(), self.col("code")),
        }
    }

    /// A URI as written.
    fn uri(&self) -> Expr {
        self.col(if self.component.is_some() { "exact" } else { "value" })
    }
}

/// Columns of a number: the end by which its row is found, and the other one, which is empty for a single number. Each end
/// of a range has a row, see [`search::entry::Extent::rows`].
struct Ends([Expr; 2]);

/// That a row has one of the values.
fn one_of(alternatives: &[Alternative], columns: &Columns) -> Cond {
    let (mut tokens, mut targets, mut any) = (Vec::new(), Vec::new(), Vec::new());
    for alternative in alternatives {
        match alternative {
            Alternative::Token(token) => tokens.push(*token),
            Alternative::Target(target) => targets.push(*target),
            other => any.push(other.matches(columns)),
        }
    }
    for (numbers, name) in [(tokens, "token"), (targets, "target")] {
        if !numbers.is_empty() {
            any.push(Cond::all().add(is_one_of(columns.key(name), &numbers)));
        }
    }
    one_holds(any)
}

/// That a number is one of some.
pub(crate) fn is_one_of(column: Expr, numbers: &[i64]) -> Expr {
    match numbers {
        [] => Expr::val(1).eq(0),
        [only] => column.eq(*only),
        // Few different lengths are few different statements: the last is said again.
        few @ [.., last] if few.len() <= BOUND => {
            let again = few.len().next_power_of_two().min(BOUND) - few.len();
            column.is_in(few.iter().copied().chain(std::iter::repeat_n(*last, again)))
        }
        many => column.is_in(many.iter().map(|number| Expr::Constant(Value::BigInt(Some(*number))))),
    }
}

/// The same for row ids of which there may be many. On PostgreSQL a list is one value, so that the statement is known
/// however many there are.
pub(crate) fn is_listed(backend: DbBackend, column: Expr, numbers: &[i64]) -> Expr {
    match numbers {
        [_, _, ..] if backend == DbBackend::Postgres => column.eq(Func::cust("ANY").arg(Expr::val(numbers.to_vec()))),
        few => is_one_of(column, few),
    }
}

/// That a column is 1. Not bound: only a condition that stands in the statement leads to an index of such rows alone.
pub(super) fn is_set(column: Expr) -> Expr {
    column.eq(Expr::Constant(Value::BigInt(Some(1))))
}

impl Alternative {
    /// Whether rows are found by it as by a key.
    fn is_key(&self) -> bool {
        match self {
            Alternative::Token(_) | Alternative::Target(_) => true,
            Alternative::Composite(components) => {
                components.first().is_some_and(|first| matches!(first.as_slice(), [one] if one.is_key()))
            }
            _ => false,
        }
    }

    fn matches(&self, columns: &Columns) -> Cond {
        let all = |expr: Expr| Cond::all().add(expr);
        match self {
            Alternative::Token(token) => all(columns.key("token").eq(*token)),
            Alternative::TokenOfCode(hash) => {
                all(columns.key("token").in_subquery(tokens_where("code_hash", &[*hash])))
            }
            Alternative::TokenInAnyCase(cases) => all(columns.key("token").in_subquery(cases.tokens(&["token"]))),
            Alternative::TokenOfSystem(hash) => {
                all(columns.key("token").in_subquery(tokens_where("system_hash", &[*hash])))
            }
            Alternative::Target(target) => all(columns.key("target").eq(*target)),
            Alternative::Text { mode, text } => text_matches(columns, *mode, text),
            Alternative::Date(date) => date_matches(columns.col("low"), columns.col("high"), *date),
            Alternative::Period { low, high } => all(columns.col("low").lte(*low)).add(columns.col("high").gte(*high)),
            Alternative::Number(number) => number_matches(&columns.number(), number),
            Alternative::Quantity { number, unit: Some(UnitMatch::Canonical(code)) } => {
                let (value, unit) = columns.canonical();
                Cond::all().add(number_matches(&value, number)).add(unit.eq(keys::hash(code)))
            }
            Alternative::Quantity { number, unit } => {
                // Of its own, so that a negated comparison does not negate the unit with it.
                let value = Cond::all().add(number_matches(&columns.number(), number));
                match unit {
                    // Refused before: the rows do not say of which system their units are.
                    Some(UnitMatch::OfSystem(_)) => value.add(Expr::val(1).eq(0)),
                    None | Some(UnitMatch::Canonical(_)) => value,
                    Some(UnitMatch::Coded { system, code }) => {
                        value.add(columns.col("unit").eq(keys::token(system, code)))
                    }
                    Some(UnitMatch::Named(name)) => {
                        let hash = keys::hash(name);
                        value.add(Cond::any().add(columns.col("code").eq(hash)).add(columns.col("name").eq(hash)))
                    }
                }
            }
            Alternative::Uri(text) => all(columns.key("hash").eq(keys::hash(text))).add(columns.uri().eq(text.clone())),
            Alternative::UriBelow(begin) => {
                // The slash at its end and the character after it enclose all that begin like this.
                let end = format!("{}0", begin.strip_suffix('/').unwrap_or(begin));
                all(columns.uri().gte(begin.clone())).add(columns.uri().lt(end))
            }
            Alternative::Other(values) => {
                let others = Cond::all().add(one_of(values, columns).not());
                let are_texts = values.iter().any(|it| matches!(it, Alternative::Text { .. }));
                if are_texts { others.add(is_whole(columns)) } else { others }
            }
            Alternative::Composite(components) => {
                components.iter().enumerate().fold(Cond::all(), |all, (position, values)| {
                    all.add(one_of(values, &Columns { component: Some(position), ..*columns }))
                })
            }
        }
    }
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

/// Rows `x` of a parameter of the resource at a place.
pub(super) fn rows_of(table: Table, param: i64, place: &Place) -> SelectStatement {
    let mut select = Sql::select();
    select.expr(Expr::val(1)).from_as(table.name(), "x").and_where(Expr::col(("x", "rid")).eq(place.rid.clone()));
    select.and_where(is_of("x", table, &[param])).take()
}

/// Rows `x` of a parameter of the resource of the scanned row `d`, sought by their value.
///
/// All rows of a resource have the same chronology, and the same patients: with them the row that is asked for stands
/// where the patient's other rows of that value stand, so a page asks a few neighbours and not a leaf of the tree for
/// each of its resources. The resource is a range of one: by an equation SQLite would look in the tree that begins with
/// the resource.
fn neighbours(table: Table, param: i64, place: &Place) -> SelectStatement {
    let mut select = Sql::select();
    select.expr(Expr::val(1)).from_as(table.name(), "x").and_where(Expr::col(("x", "param")).eq(param));
    for column in ["patient", "chronology"] {
        select.and_where(Expr::col(("x", column)).equals(("d", column)));
    }
    select.and_where(Expr::col(("x", "rid")).between(place.rid.clone(), place.rid.clone()));
    select
}

/// That a row, which is sought by its resource, is of one of some parameters.
///
/// Where a table's index by resource does not hold all columns that are asked for, SQLite would rather take its tree of
/// values, which begins with the parameter, and read all rows of the parameter for each resource: a sum is no column.
pub(super) fn is_of(alias: &'static str, table: Table, params: &[i64]) -> Expr {
    let param = Expr::col((alias, "param"));
    let holds_all = matches!(table, Table::Token | Table::Reference | Table::Date | Table::Number);
    is_one_of(if holds_all { param } else { param.add(0_i64) }, params)
}

pub(super) fn tokens_where(column: &'static str, hashes: &[i64]) -> SelectStatement {
    let mut select = Sql::select();
    select.column("token").from("token").and_where(is_one_of(Expr::col(column), hashes));
    select
}

/// A code whatever the case of its letters, as the dictionary of tokens knows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cases {
    /// Hashes of it as written, and in small letters.
    hashes: [i64; 2],
}

impl Cases {
    pub(crate) fn of(code: &str) -> Self {
        Cases { hashes: [keys::hash(code), keys::hash(&code.to_lowercase())] }
    }

    /// Columns of its tokens: those that have no capital letters stand under their code alone.
    pub(crate) fn tokens(&self, columns: &[&'static str]) -> SelectStatement {
        let of = |hash: &'static str, hashes: &[i64]| {
            let mut select = Sql::select();
            select.columns(columns.iter().copied()).from("token").and_where(is_one_of(Expr::col(hash), hashes)).take()
        };
        of("code_hash", &self.hashes).union(UnionType::Distinct, of("folded_hash", &self.hashes[1..])).take()
    }
}

fn text_matches(columns: &Columns, mode: StringMode, text: &str) -> Cond {
    let col = |name: &'static str| columns.col(name);
    let like = |pattern: String| LikeExpr::new(pattern).escape('\\');
    let starts = |folded: &str| {
        let prefix: String = folded.chars().take(STRING_PREFIX).collect();
        let end = format!("{prefix}\u{10ffff}");
        let whole = folded.chars().count() <= STRING_PREFIX;
        let exactly = || col("folded").like(like(format!("{}%", escaped(folded))));
        if !columns.is_scanned {
            // A range would tempt the engine to scan all that begin so, for each of its rows.
            return Cond::all().add(exactly());
        }
        let range = Cond::all().add(col("prefix").gte(prefix)).add(col("prefix").lt(end));
        if whole { range } else { range.add(exactly()) }
    };
    match mode {
        StringMode::StartsWith => starts(text),
        StringMode::Equals => starts(text).add(col("folded").eq(text)).add(is_whole(columns)),
        StringMode::EndsWith => Cond::all().add(col("folded").like(like(format!("%{}", escaped(text))))),
        StringMode::Contains => Cond::all().add(col("folded").like(like(format!("%{}%", escaped(text))))),
        StringMode::Exact => {
            starts(&search::fold::fold(text)).add(columns.key("value").eq(keys::hash(text))).add(col("exact").eq(text))
        }
        StringMode::Initial(order) => initials(columns, order, text).add(is_whole(columns)),
    }
}

/// Both engines compare the bytes of texts, and so the numbers of their letters.
fn initials(columns: &Columns, order: Order, text: &str) -> Cond {
    // As for what begins with a text: a range of the column that the tree of values begins with is for scans alone.
    let has = || columns.col(if columns.is_scanned { "prefix" } else { "folded" });
    let letter = text.chars().next().unwrap_or_default();
    let (this, next) = (letter.to_string(), (letter..=char::MAX).nth(1).map(String::from));
    // A text of nothing but signs that do not count has no first letter.
    let filled = Cond::all().add(has().gt(""));
    match (order, next) {
        (Order::After, None) => Cond::all().add(Expr::val(1).eq(0)),
        (Order::After, Some(next)) => filled.add(has().gte(next)),
        (Order::From, _) => filled.add(has().gte(this)),
        (Order::Before, _) => filled.add(has().lt(this)),
        (Order::UpTo, Some(next)) => filled.add(has().lt(next)),
        (Order::UpTo, None) => filled,
    }
}

/// That a text is a value, and not a part of one by which it is found.
fn is_whole(columns: &Columns) -> Expr {
    columns.col("exact").ne("")
}

/// `%`, `_` and `\` are letters like any other. (IN-15)
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

pub(super) fn date_matches(low: Expr, high: Expr, date: DateMatch) -> Cond {
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

/// What reaches above or below a number is found by an end alone, for it has a row of each. An open end lies beyond all
/// numbers, and that there is no other end is said by a text that lies below all.
fn number_matches(Ends([end, other]): &Ends, number: &NumberMatch) -> Cond {
    let key = Decimal::sort_key;
    let (low, high, value) = (key(&number.low), key(&number.high), key(&number.value));
    let (end, other) = (|| end.clone(), || other.clone());
    let all = |expr: Expr| Cond::all().add(expr);
    let is_single_or = |expr: Expr| Cond::any().add(other().eq("")).add(expr);
    let within = || {
        let end_is = all(end().gte(low.clone())).add(end().lt(high.clone()));
        end_is.add(other().lt(high.clone())).add(is_single_or(other().gte(low.clone())))
    };
    match number.prefix {
        Prefix::Eq => within(),
        Prefix::Ne => within().not(),
        Prefix::Gt => all(end().gt(value)),
        Prefix::Lt => all(end().lt(value)),
        Prefix::Ge => all(end().gte(value)),
        Prefix::Le => all(end().lte(value)),
        Prefix::Sa => all(end().gt(value.clone())).add(is_single_or(other().gt(value))),
        Prefix::Eb => all(end().lt(value.clone())).add(other().lt(value)),
        Prefix::Ap => {
            let overlaps = Cond::any().add(end().gte(low)).add(other().gt(high.clone()));
            all(end().lte(high)).add(overlaps)
        }
    }
}
