//! A parsed search: what is asked, free of URL syntax and of SQL.

use fhir::decimal::Decimal;

use crate::entry::{ParamId, Target};

/// A search on one resource type.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Type that is searched.
    pub resource_type: String,
    /// All must hold.
    pub filters: Vec<Filter>,
    /// Order of the answer; empty means newest first: descending chronology, then descending row id.
    pub sort: Vec<Sort>,
    /// `_include` and `_revinclude`, not iterated.
    pub includes: Vec<Include>,
    /// Page size, `_count`; 0 asks for the total only.
    pub count: usize,
    /// Whether the number of matches was asked for (`_total=accurate`, `_summary=count`).
    pub total: bool,
    /// Opaque position after the last row of the page before, made by the store.
    pub cursor: Option<String>,
    /// The parameters that took effect, as `name=value` in the order given: the self link is made of them.
    pub applied: Vec<(String, String)>,
}

/// One condition. Values of one parameter are alternatives.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// `_id`.
    Id(Vec<String>),
    /// `_lastUpdated`, compared with `meta.lastUpdated` in microseconds since 1970.
    LastUpdated(Vec<DateMatch>),
    /// A parameter has (or, `:missing=true`, has not) any value.
    Missing {
        /// Which parameter.
        param: Param,
        /// True asks for resources without a value.
        missing: bool,
    },
    /// A parameter has a value that matches one of these.
    Any {
        /// Which parameter.
        param: Param,
        /// Alternatives.
        matches: Vec<Match>,
        /// `:not`: no value matches any of them (so also: there is no value).
        negated: bool,
    },
}

/// A search parameter as a filter needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Identity in the index.
    pub id: ParamId,
    /// Name in URLs, `code` of the definition.
    pub code: String,
    /// Which index table holds it.
    pub kind: ParamKind,
    /// For reference parameters: whether every Patient it points at holds the resource in its compartment, so that
    /// the patient column of any index row narrows the filter. Not the converse: a resource can lie in a compartment
    /// by another parameter (`Observation.performer`), so the reference itself is to be checked still wherever a
    /// resource lies in more than one compartment or is a Patient, which lies in its own.
    pub compartment: bool,
}

/// Search parameter types that are indexed by value. <https://hl7.org/fhir/R4/search.html#ptypes>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ParamKind {
    /// number
    Number,
    /// date
    Date,
    /// string
    String,
    /// token
    Token,
    /// reference
    Reference,
    /// quantity
    Quantity,
    /// uri
    Uri,
}

/// One alternative value.
#[derive(Clone, Debug, PartialEq)]
pub enum Match {
    /// `code`, `system|code`, `|code`, `system|`.
    Token {
        /// None: any system. Some(""): stated without a system.
        system: Option<String>,
        /// None: any code of that system.
        code: Option<String>,
    },
    /// Text, folded unless exact.
    String {
        /// How to compare.
        mode: StringMode,
        /// Folded for `StartsWith` and `Contains`, as written for `Exact`.
        text: String,
    },
    /// Date with prefix.
    Date(DateMatch),
    /// Number with prefix.
    Number(NumberMatch),
    /// Quantity with prefix and unit.
    Quantity {
        /// The number.
        number: NumberMatch,
        /// None: any unit.
        unit: Option<UnitMatch>,
    },
    /// Reference: what it points at. A logical id without a type is one alternative per target type.
    Reference(Target),
    /// Exactly this URI.
    Uri(String),
}

/// How strings compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringMode {
    /// Default: folded value starts with the text.
    StartsWith,
    /// `:contains`: folded value contains the text.
    Contains,
    /// `:exact`: value as written equals the text.
    Exact,
}

/// Comparison prefixes. <https://hl7.org/fhir/R4/search.html#prefix>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// equal: the search interval contains the value's interval.
    Eq,
    /// not equal: negation of `Eq`.
    Ne,
    /// greater: the interval above the search value intersects the value's.
    Gt,
    /// less.
    Lt,
    /// greater or equal.
    Ge,
    /// less or equal.
    Le,
    /// starts after: the value's interval begins after the search interval ends.
    Sa,
    /// ends before.
    Eb,
    /// approximately; the widened interval, already computed, overlaps the value's.
    Ap,
}

/// A date to compare with: closed interval of microseconds since 1970, widened already for `Ap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateMatch {
    /// Comparison.
    pub prefix: Prefix,
    /// First microsecond that the written precision may denote.
    pub low: i64,
    /// Last microsecond.
    pub high: i64,
}

/// A number to compare with. `low..high` is what the written precision denotes (`100` is 99.5..100.5, low inclusive,
/// high exclusive), widened already for `Ap`; `value` is the number itself, which gt, lt, ge, le, sa, eb compare.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberMatch {
    /// Comparison.
    pub prefix: Prefix,
    /// As written.
    pub value: Decimal,
    /// Inclusive lower end of the implicit range.
    pub low: Decimal,
    /// Exclusive upper end (inclusive for `Ap`).
    pub high: Decimal,
}

/// Which units match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitMatch {
    /// `value|system|code`.
    Coded {
        /// Unit system.
        system: String,
        /// Coded unit.
        code: String,
    },
    /// `value||code`: the coded unit or the written unit is this.
    Named(String),
}

/// One `_sort` key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub by: SortBy,
    /// `-name`.
    pub descending: bool,
}

/// What can be sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// `_lastUpdated`.
    LastUpdated,
    /// `_id`.
    Id,
    /// The type's `date` parameter: the chronology that stands in every index row. Resources without it come last
    /// in both directions.
    Chronology(Param),
    /// Any other parameter: smallest value ascending, largest descending; resources without it come last.
    Param(Param),
}

/// `_include` (forward) or `_revinclude` (reverse) of one reference parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// Direction.
    pub reverse: bool,
    /// The type that has the parameter: the searched type, or the including type when reverse.
    pub source_type: String,
    /// The reference parameter.
    pub param: Param,
    /// Only targets of this type (forward), if given.
    pub target_type: Option<String>,
}
