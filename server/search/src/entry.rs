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

    /// The identity under which it stands that a resource has the element, but nothing in it that the parameter compares:
    /// a code that is text alone, a reference to what is contained. It is not missing. (IN-30)
    #[must_use]
    pub fn without_value(self) -> Self {
        ParamId(self.0 ^ 0x1d94_63a8_f02b_5ec7)
    }

    /// Of a reference parameter: the identity under which canonical URLs stand exactly as they are stated.
    #[must_use]
    pub fn as_stated(self) -> Self {
        ParamId(self.0 ^ 0x63b9_2f05_c71d_4ea8)
    }

    /// Of the parameter `url` of a type with canonical URLs: the identity under which resources have theirs with the version.
    #[must_use]
    pub fn named_with_version(self) -> Self {
        ParamId(self.0 ^ 0x3f52_90c6_7be1_d814)
    }

    /// The same for the URL alone.
    #[must_use]
    pub fn named_alone(self) -> Self {
        ParamId(self.0 ^ 0x4a0d_e87b_15f6_932c)
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
    /// By which of its reference parameters it points at which contained resources of the same container, by their place.
    pub inward: Vec<(ParamId, usize)>,
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
        /// Folded for case, accents, white space and punctuation; what searches compare by default.
        folded: String,
        /// As written; what `:exact` compares.
        exact: String,
    },
    /// What a family name is from one of its further words on, folded: the parts of a family name are searched
    /// independently. Found by its begin, and nothing else: it is no value of its own.
    Part(String),
    /// Instant, date or period as the closed interval of microseconds since 1970 that it may denote;
    /// open ends are `i64::MIN` and `i64::MAX`.
    Date {
        /// First microsecond.
        low: i64,
        /// Last microsecond.
        high: i64,
    },
    /// Number.
    Number(Extent),
    /// Quantity; several units of one value give several entries.
    Quantity {
        /// The value as stated.
        value: Extent,
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
        canonical: Option<(Extent, String)>,
    },
}

/// A number, or all that lie between two. <https://hl7.org/fhir/R4/search.html#prefix>
#[derive(Clone, Debug, PartialEq)]
pub enum Extent {
    /// One number.
    Point(Decimal),
    /// All from one end to the other, both included. An end that is not stated lies beyond all numbers.
    Range {
        /// The lower end.
        low: Option<Decimal>,
        /// The upper end.
        high: Option<Decimal>,
    },
}

impl Extent {
    /// All between two ends, in whichever order they are; None if neither is known. What begins where it ends is one
    /// number.
    pub fn between(low: Option<Decimal>, high: Option<Decimal>) -> Option<Self> {
        Some(match (low, high) {
            (None, None) => return None,
            (Some(low), Some(high)) if low == high => Extent::Point(low),
            (Some(low), Some(high)) if low > high => Extent::Range { low: Some(high), high: Some(low) },
            (low, high) => Extent::Range { low, high },
        })
    }

    /// Sort keys of its lower and its upper end.
    pub fn ends(&self) -> [String; 2] {
        let key = |end: &Option<Decimal>, open: &str| end.as_ref().map_or_else(|| open.to_owned(), Decimal::sort_key);
        match self {
            Extent::Point(number) => [number.sort_key(), number.sort_key()],
            Extent::Range { low, high } => [key(low, Decimal::LEAST_KEY), key(high, Decimal::GREATEST_KEY)],
        }
    }

    /// The index rows that say it, each an end by which it is found and the other end. A range has two, so that what
    /// reaches above or below a number is found in the order of one column; a single number has one, and no other end.
    pub fn rows(&self) -> Vec<[String; 2]> {
        match self {
            Extent::Point(number) => vec![[number.sort_key(), String::new()]],
            Extent::Range { .. } => {
                let [low, high] = self.ends();
                vec![[low.clone(), high.clone()], [high, low]]
            }
        }
    }
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
