//! A parsed search: what is asked, free of URL syntax and of SQL.

use fhir::decimal::Decimal;

use crate::entry::{ParamId, Target};

/// How many letters of a text count where resources are ordered by it: links to pages hold where a page begins. (IN-17)
pub const ORDERED_LETTERS: usize = 200;

/// A search on one resource type.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Type that is searched.
    pub resource_type: String,
    /// The path below the base URL at which several types or a compartment are searched, `Patient/1/*`; empty for a search of
    /// the type itself. Cursors of one are none of another.
    pub path: String,
    /// All must hold.
    pub filters: Vec<Filter>,
    /// Order of the answer; empty means newest first: descending chronology, then descending row id.
    pub sort: Vec<Sort>,
    /// `_include` and `_revinclude`.
    pub includes: Vec<Include>,
    /// Page size, `_count`; 0 asks for the total only.
    pub count: usize,
    /// Whether the number of matches was asked for (`_total=accurate`, `_summary=count`).
    pub total: bool,
    /// Opaque position before or after which the page lies, made by the store.
    pub cursor: Option<String>,
    /// Which elements of the resources are answered, `_summary` and `_elements`.
    pub elements: Elements,
    /// `_contained`: contained resources are asked for, too or alone.
    pub contained: Option<Box<Contained>>,
    /// `__explain`: how the query would run is asked instead of its answer.
    pub explain: bool,
    /// The parameters that took effect, as `name=value` in the order given: the self link is made of them.
    pub applied: Vec<(String, String)>,
}

impl Query {
    /// Everything of a type, a page of `count`.
    pub fn of(resource_type: &str, count: usize) -> Self {
        Query {
            resource_type: resource_type.to_owned(),
            path: String::new(),
            filters: Vec::new(),
            sort: Vec::new(),
            includes: Vec::new(),
            count,
            total: false,
            cursor: None,
            elements: Elements::All,
            contained: None,
            explain: false,
            applied: Vec::new(),
        }
    }
}

/// `_contained` and `_containedType`. <https://hl7.org/fhir/R4/search.html#contained>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contained {
    /// Resources that are not contained are matches too (`both`).
    pub both: bool,
    /// The contained resource is answered (`contained`), not its container.
    pub alone: bool,
    /// Types of containers that are looked into; empty as it is parsed, so that whoever asks says what may be searched.
    pub containers: Vec<String>,
}

/// Which elements of each match are answered. <https://hl7.org/fhir/R4/search.html#summary>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Elements {
    /// All (`_summary=false`).
    #[default]
    All,
    /// Those marked as summary (`_summary=true`).
    Summary,
    /// Narrative, id, meta and mandatory ones (`_summary=text`).
    Text,
    /// All but the narrative (`_summary=data`).
    Data,
    /// Those named (`_elements`), and the mandatory ones: names as written, `name` or `Type.name`.
    Named(Vec<String>),
}

/// One condition. Values of one parameter are alternatives.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// `_id`.
    Id(Vec<String>),
    /// `_lastUpdated`, compared with `meta.lastUpdated` in microseconds since 1970.
    LastUpdated(Vec<DateMatch>),
    /// A parameter selects (or, `:missing=true`, does not select) anything, be it a value that is compared or not.
    Missing {
        /// Which parameter.
        param: Param,
        /// True asks for resources of which it selects nothing.
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
    /// A composite parameter: one of its elements matches all components of an alternative.
    /// <https://hl7.org/fhir/R4/search.html#combining>
    Composite {
        /// Which parameter; its kind is [`ParamKind::Composite`].
        param: Param,
        /// Alternatives, each with one match a component, in the order of the definition.
        alternatives: Vec<Vec<Match>>,
    },
    /// A chain: by `param` the resource points at a resource of this type that the view shows and that satisfies all
    /// filters. Several target types are alternatives in [`Filter::Or`]. <https://hl7.org/fhir/R4/search.html#chaining>
    Chain {
        /// The reference parameter.
        param: Param,
        /// The type it points at.
        target_type: String,
        /// What holds of the target.
        filters: Vec<Filter>,
    },
    /// `_has`: a resource of this type that the view shows and that satisfies all filters points at the resource by
    /// `param`. <https://hl7.org/fhir/R4/search.html#has>
    Has {
        /// The type that points.
        source_type: String,
        /// Its reference parameter.
        param: Param,
        /// What holds of the source.
        filters: Vec<Filter>,
    },
    /// All hold (`_filter … and …`).
    All(Vec<Filter>),
    /// One holds; none holds of an empty list.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// It holds, and no index helps: the resources themselves are looked at. So are all conditions on parameters
    /// whose index is not complete, and those that have none. Never around [`Filter::Chain`] or [`Filter::Has`].
    Exact(Box<Filter>),
    /// `near`: within a distance of a point; only inside [`Filter::Exact`]. <https://hl7.org/fhir/R4/location.html#positional>
    Near {
        /// The special parameter of the type, for messages.
        param: String,
        /// The point and the distance.
        circle: Circle,
    },
    /// `_text`, `_content`: all words occur, folded; only inside [`Filter::Exact`].
    Words {
        /// Where.
        place: Words,
        /// Folded words.
        words: Vec<String>,
    },
}

impl Filter {
    /// The conditions that this one is made of.
    pub fn children(&self) -> &[Filter] {
        match self {
            Filter::Chain { filters, .. }
            | Filter::Has { filters, .. }
            | Filter::All(filters)
            | Filter::Or(filters) => filters,
            Filter::Not(inner) | Filter::Exact(inner) => std::slice::from_ref(inner),
            _ => &[],
        }
    }

    /// As [`children`](Self::children), to be changed.
    pub fn children_mut(&mut self) -> &mut [Filter] {
        match self {
            Filter::Chain { filters, .. }
            | Filter::Has { filters, .. }
            | Filter::All(filters)
            | Filter::Or(filters) => filters,
            Filter::Not(inner) | Filter::Exact(inner) => std::slice::from_mut(inner),
            _ => &mut [],
        }
    }

    /// How many conditions it is, itself included.
    pub fn size(&self) -> usize {
        1 + self.children().iter().map(Filter::size).sum::<usize>()
    }

    /// The types of other resources that it looks into: to ask about them is to search them.
    pub fn types_looked_into(&self) -> Vec<&str> {
        let mut types: Vec<&str> = self.children().iter().flat_map(Filter::types_looked_into).collect();
        match self {
            Filter::Chain { target_type: name, .. } | Filter::Has { source_type: name, .. } => types.push(name),
            _ => {}
        }
        types
    }
}

/// Where words are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// The narrative, without its markup.
    Narrative,
    /// Every text of the resource.
    Content,
}

/// A circle on the earth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circle {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// Metres.
    pub radius: f64,
}

/// A search parameter as a filter needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Identity in the index.
    pub id: ParamId,
    /// Name in URLs, `code` of the definition.
    pub code: String,
    /// Which index table holds it: that of the aspect.
    pub kind: ParamKind,
    /// What of the selected elements is looked at.
    pub aspect: Aspect,
    /// For reference parameters: whether every Patient it points at holds the resource in its compartment, so that
    /// the patient column of any index row narrows the filter. Not the converse: a resource can lie in a compartment
    /// by another parameter (`Observation.performer`), so the reference itself is to be checked still wherever a
    /// resource lies in more than one compartment or is a Patient, which lies in its own.
    pub compartment: bool,
    /// Of those: the other parameters by which a resource of the type lies in a compartment. What lies in a patient's
    /// compartment by none of them points at the patient by this one. None: it may lie there by no parameter at all, as
    /// a Patient in its own.
    pub other_compartment_params: Option<Vec<ParamId>>,
    /// For reference parameters: how its values lead to other resources.
    pub leads: Leads,
    /// Identities of the parameters whose rows are its rows too; empty if it has rows of its own.
    /// See [`crate::registry::Parameter::members`].
    pub members: Vec<ParamId>,
}

impl Param {
    /// The parameters under which its rows stand: itself, or its members.
    pub fn held_as(&self) -> Vec<Param> {
        if self.members.is_empty() {
            return vec![self.clone()];
        }
        self.members.iter().map(|id| Param { id: *id, members: Vec::new(), ..self.clone() }).collect()
    }
}

/// How the values of a reference parameter lead to other resources, as far as its expression tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leads {
    /// By `Reference.reference`.
    #[default]
    ByReference,
    /// By canonical URLs. <https://hl7.org/fhir/R4/references.html#canonical>
    ByCanonical,
    /// Some this way, some that.
    Both,
}

impl Leads {
    /// Whether references can.
    pub fn by_reference(self) -> bool {
        self != Leads::ByCanonical
    }

    /// Whether canonical URLs can.
    pub fn by_canonical(self) -> bool {
        self != Leads::ByReference
    }
}

/// What of a parameter's elements is indexed and compared. Each aspect has an identity of its own in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Aspect {
    /// The value, as the parameter type says.
    Value,
    /// `:text` of a token (string kind): `CodeableConcept.text`, `Coding.display`, `Identifier.type.text`; of a
    /// reference `Reference.display`.
    Text,
    /// `:of-type` of an Identifier (token kind): the system is [`crate::entry::identifier_type`] of a coding of its type,
    /// the code is its value.
    OfType,
    /// `:identifier` of a reference (token kind): `Reference.identifier`.
    Identifier,
    /// Quantities in canonical units of UCUM (quantity or composite kind): those whose unit is of UCUM and valid.
    Canonical,
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
    /// composite
    Composite,
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
    /// As [`Match::Token`], whatever the case of letters in system and code: tokens of `_filter`.
    AnyCase {
        /// None: any system. Some(""): stated without a system.
        system: Option<String>,
        /// As written.
        code: String,
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
    /// `_filter … co`: an interval of microseconds that all of this one lies in.
    Period {
        /// First microsecond.
        low: i64,
        /// Last microsecond.
        high: i64,
    },
    /// Number with prefix.
    Number(NumberMatch),
    /// `_filter … co`: a number whose written precision may denote this one; only inside [`Filter::Exact`].
    Imprecise(Decimal),
    /// Quantity with prefix and unit.
    Quantity {
        /// The number.
        number: NumberMatch,
        /// None: any unit.
        unit: Option<UnitMatch>,
    },
    /// Reference: what it points at. A logical id without a type is one alternative per target type.
    Reference(Target),
    /// `:above`, `:below` of a reference to a type that points at itself (`Location.partOf`): the target or what lies
    /// above or below it.
    Hierarchy {
        /// Where it begins; itself included.
        target: Target,
        /// The parameter of the target's type that points upwards.
        parent: Box<Param>,
        /// Towards the root, or away from it.
        direction: Direction,
    },
    /// Exactly this URI.
    Uri(String),
    /// `:above`, `:below` of a URI: the URI itself, and those whose path is a beginning of its path (above) or begins with
    /// it (below).
    UriHierarchy {
        /// As written.
        uri: String,
        /// Above: shorter ones; below: longer ones.
        direction: Direction,
    },
    /// `:below` of a media type, in small letters: it with any parameters, or all of that kind; only inside
    /// [`Filter::Exact`].
    MediaType(String),
    /// `:in`, `:above`, `:below` of a token before [`crate::terminology`] has replaced it by tokens; the store refuses it.
    Terminology(Terminology),
    /// `_filter … ne`: any value that does not match this. Prefixed kinds have [`Prefix::Ne`] instead.
    Other(Box<Match>),
}

/// Towards the general or the particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The more general.
    Above,
    /// The more particular.
    Below,
}

/// Codes that only a code system or value set can list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Terminology {
    /// `:in`, `:not-in`: canonical URL of a ValueSet, or `ValueSet/id`.
    ValueSet(String),
    /// `:above`, `:below`: the code and those that subsume it or that it subsumes.
    Subsumed {
        /// Code system.
        system: String,
        /// Code.
        code: String,
        /// Which way.
        direction: Direction,
    },
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
    /// `_filter … eq`: folded value equals the text.
    Equals,
    /// `_filter … ew`: folded value ends with the text.
    EndsWith,
    /// `_filter … gt`, `ge`, `lt`, `le`: where the first letter of the folded value stands beside that of the text.
    Initial(Order),
}

/// How letters stand beside each other, by their numbers in Unicode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Behind it.
    After,
    /// Behind it, or the same.
    From,
    /// Before it.
    Before,
    /// Before it, or the same.
    UpTo,
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
    /// `value|system|`: any unit of this system; only inside [`Filter::Exact`].
    OfSystem(String),
    /// `value||code`, `value|code`: the coded unit or the written unit is this.
    Named(String),
    /// Of a parameter's [`Aspect::Canonical`]: this canonical UCUM unit, in which the number is given.
    Canonical(String),
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

/// `_include` (forward) or `_revinclude` (reverse).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// Direction.
    pub reverse: bool,
    /// The type that has the parameters: the including type when reverse.
    pub source_type: String,
    /// The reference parameters: one, or with a wildcard all of the type.
    pub params: Vec<Param>,
    /// Only targets of this type, if given.
    pub target_type: Option<String>,
    /// `:iterate`: applied to what was included too, until nothing is added.
    pub iterate: bool,
    /// One of those that `*` stands for: whoever asks leaves it out where the type may not be searched.
    pub wildcard: bool,
}

impl Include {
    /// Whether it leads to, or back from, resources of the type, as far as it names one.
    pub fn may_end_at(&self, resource_type: &str) -> bool {
        self.target_type.as_deref().is_none_or(|it| it == resource_type)
    }
}
