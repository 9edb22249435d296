//! What one resource puts into the search index.

use fhir::decimal::Decimal;

/// Identity of a search parameter on a type *and of its definition*: rows made by an older definition have
/// another id and are never taken for current ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(pub i64);

impl ParamId {
    /// The identity under which the values of contained resources stand: a search that does not ask for contained
    /// resources names another one and cannot come upon them. (LK-24)
    #[must_use]
    pub fn of_contained(self) -> Self {
        ParamId(self.0 ^ 0x2c6f_17ab_53d9_0e81)
    }

    /// Of a reference parameter: the identity under which it stands which of its own contained resources a resource
    /// points at.
    #[must_use]
    pub fn into_contained(self) -> Self {
        ParamId(self.0 ^ 0x5b07_e4d2_19c8_736a)
    }
}

/// Chronology of a resource that does not say when it happened: sorts last, newest first.
pub const NO_CHRONOLOGY: i64 = i64::MIN;

/// All that indexing one resource yields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extracted {
    /// One entry per parameter and value, without repetitions.
    pub entries: Vec<IndexEntry>,
    /// The instant by which a type is naturally ordered, microseconds since 1970: start of the earliest value of
    /// its `date` parameter; [`NO_CHRONOLOGY`] for types or resources without one.
    pub chronology: i64,
    /// Logical ids of the patients in whose compartment the resource lies, sorted, without repetitions. May hold
    /// [`PATIENT_ELSEWHERE`](crate::compartment::PATIENT_ELSEWHERE), the empty id that no view has.
    pub patients: Vec<String>,
    /// What its contained resources say, of types that R4 knows.
    pub contained: Vec<Contained>,
    /// By which reference parameters ([`into_contained`](ParamId::into_contained)) it points at which of its contained
    /// resources, by their place.
    pub inward: Vec<(ParamId, usize)>,
}

/// What a contained resource says. <https://hl7.org/fhir/R4/search.html#contained>
#[derive(Clone, Debug, PartialEq)]
pub struct Contained {
    /// Its place in `contained`, from 0.
    pub place: usize,
    /// Its type.
    pub resource_type: String,
    /// Its values, each under [`of_contained`](ParamId::of_contained) of the parameter of its type.
    pub entries: Vec<IndexEntry>,
}

/// One value of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexEntry {
    /// Which parameter.
    pub param: ParamId,
    /// Its value, normalised as the search type asks.
    pub value: IndexValue,
}

/// A normalised value, by search parameter type.
#[derive(Clone, Debug, PartialEq)]
pub enum IndexValue {
    /// Coding, identifier, code, boolean: an empty system means that the element states none.
    Token {
        /// Code system or identifier namespace, may be empty.
        system: String,
        /// The code, case as written; empty if only a system is stated.
        code: String,
    },
    /// Text.
    String {
        /// Folded for case, accents and white space; what searches compare by default.
        folded: String,
        /// As written; what `:exact` compares.
        exact: String,
    },
    /// Instant, date or period as the closed interval of microseconds since 1970 that it may denote;
    /// open ends are `i64::MIN` and `i64::MAX`.
    Date {
        /// First microsecond.
        low: i64,
        /// Last microsecond.
        high: i64,
    },
    /// Number.
    Number(Decimal),
    /// Quantity; several units of one value give several entries.
    Quantity {
        /// The value as stated.
        value: Decimal,
        /// Unit system, may be empty.
        system: String,
        /// Coded unit, may be empty.
        code: String,
        /// Unit as written for people, may be empty.
        unit: String,
    },
    /// Reference.
    Reference(Target),
    /// uri, url, canonical, oid, uuid: as written.
    Uri(String),
    /// One element of a composite parameter.
    Composite {
        /// One value of each component, in the order of the definition; two or three.
        values: Vec<IndexValue>,
        /// Its quantity in canonical units of UCUM, as value and unit, if it has one with such a unit.
        canonical: Option<(Decimal, String)>,
    },
}

/// The system of a token of [`Aspect::OfType`](crate::query::Aspect::OfType): an identifier's type.
pub fn identifier_type(system: &str, code: &str) -> String {
    format!("{system}\u{1f}{code}")
}

/// What a reference points at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// A resource of this server.
    Local {
        /// Resource type.
        resource_type: String,
        /// Logical id.
        id: String,
    },
    /// Anything else, as written: absolute URL, canonical, `urn:`.
    Url(String),
}
