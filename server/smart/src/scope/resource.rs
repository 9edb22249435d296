//! Scopes on resources: `level/Type.rights?constraint`.

use std::fmt;

use percent_encoding::percent_decode_str;

/// `patient/Observation.rs?category=laboratory`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceScope {
    /// Whose data.
    pub level: Level,
    /// Which types.
    pub types: ResourceTypes,
    /// What may be done.
    pub rights: Rights,
    /// Which resources of the type; empty: all.
    pub constraint: Constraint,
    /// How the rights were written, and are written back (SM-23).
    pub spelling: Spelling,
}

/// Whose data a scope speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// `patient/`: one patient's.
    Patient,
    /// `user/`: what the signed-in user may see.
    User,
    /// `system/`: everyone's, for clients without a user.
    System,
}

/// Which types a scope speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceTypes {
    /// `*`, also types that are added later (SM-27).
    All,
    /// One R4 resource type.
    Named(String),
}

/// One letter of `cruds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Right {
    /// `c`: create.
    Create,
    /// `r`: read, vread, history of an instance.
    Read,
    /// `u`: update and patch, also update as create.
    Update,
    /// `d`: delete.
    Delete,
    /// `s`: search, history of a type or of the system.
    Search,
}

/// Letters of `cruds`, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rights(u8);

/// Spelling of the rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Spelling {
    /// `.read`, `.write`, `.*`
    V1,
    /// `.cruds`
    V2,
}

/// `?name=value&…`: all must hold. Kept as written, so that printing is exact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Constraint(Vec<(String, String)>);

impl ResourceScope {
    /// Reads one resource scope; none if any part of it is not exactly defined.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (level, rest) = text.split_once('/')?;
        let level = Level::parse(level)?;
        let (head, query) = rest.split_once('?').map_or((rest, None), |(head, query)| (head, Some(query)));
        let (types, rights) = head.split_once('.')?;
        let types = ResourceTypes::parse(types)?;
        let constraint = query.map_or(Some(Constraint::default()), Constraint::parse)?;
        let (rights, spelling) = Rights::parse_v1(rights)
            .map(|rights| (rights, Spelling::V1))
            .or_else(|| Rights::parse(rights).map(|rights| (rights, Spelling::V2)))?;
        if spelling == Spelling::V1 && !constraint.is_empty() {
            return None; // granular scopes were born with v2
        }
        Some(ResourceScope { level, types, rights, constraint, spelling })
    }

    /// What both give; none if that is nothing.
    pub fn intersect(&self, other: &ResourceScope) -> Option<ResourceScope> {
        if self.level != other.level {
            return None;
        }
        let types = match (&self.types, &other.types) {
            (ResourceTypes::All, types) | (types, ResourceTypes::All) => types.clone(),
            (mine, theirs) if mine == theirs => mine.clone(),
            _ => return None,
        };
        let rights = self.rights.intersect(other.rights)?;
        let constraint = self.constraint.and(&other.constraint);
        let expressible = rights.v1_spelling().is_some() && constraint.is_empty();
        let spelling = if expressible { self.spelling } else { Spelling::V2 };
        Some(ResourceScope { level: self.level, types, rights, constraint, spelling })
    }

    /// Whether all data that `narrow` speaks of is spoken of here, whatever the rights.
    pub(super) fn covers_data_of(&self, narrow: &ResourceScope) -> bool {
        self.level == narrow.level
            && (self.types == ResourceTypes::All || self.types == narrow.types)
            && self.constraint.0.iter().all(|pair| narrow.constraint.0.contains(pair))
    }
}

impl fmt::Display for ResourceScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.", self.level.as_str(), self.types.as_str())?;
        match (self.spelling, self.rights.v1_spelling()) {
            (Spelling::V1, Some(word)) => f.write_str(word)?,
            _ => self.rights.iter().try_for_each(|right| write!(f, "{}", right.letter()))?,
        }
        self.constraint.fmt(f)
    }
}

impl Level {
    /// `patient`, `user`, `system`.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Patient => "patient",
            Level::User => "user",
            Level::System => "system",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Level::Patient, Level::User, Level::System].into_iter().find(|level| level.as_str() == text)
    }
}

impl ResourceTypes {
    /// Whether the type is spoken of.
    pub fn contains(&self, resource_type: &str) -> bool {
        match self {
            ResourceTypes::All => true,
            ResourceTypes::Named(name) => name == resource_type,
        }
    }

    /// The type's name or `*`.
    pub fn as_str(&self) -> &str {
        match self {
            ResourceTypes::All => "*",
            ResourceTypes::Named(name) => name,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "*" => Some(ResourceTypes::All),
            name if fhir::definitions::is_resource_type(name) => Some(ResourceTypes::Named(name.to_owned())),
            _ => None,
        }
    }
}

impl Right {
    /// In the only order that the grammar allows.
    pub const ALL: [Right; 5] = [Right::Create, Right::Read, Right::Update, Right::Delete, Right::Search];

    /// The letter of `cruds`.
    pub fn letter(self) -> char {
        match self {
            Right::Create => 'c',
            Right::Read => 'r',
            Right::Update => 'u',
            Right::Delete => 'd',
            Right::Search => 's',
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Rights {
    /// v1 `read`.
    pub const READ: Rights = Rights(1 << Right::Read as u8 | 1 << Right::Search as u8);
    /// v1 `write`.
    pub const WRITE: Rights = Rights(1 << Right::Create as u8 | 1 << Right::Update as u8 | 1 << Right::Delete as u8);
    /// v1 `*`.
    pub const ALL: Rights = Rights(0b1_1111);

    /// These letters; none if there is no letter.
    pub fn of(rights: impl IntoIterator<Item = Right>) -> Option<Rights> {
        let bits = rights.into_iter().fold(0, |bits, right| bits | right.bit());
        (bits != 0).then_some(Rights(bits))
    }

    /// Whether the letter is among them.
    pub fn contains(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }

    /// Letters in the order of `cruds`.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |right| self.contains(*right))
    }

    /// Letters of both; none if there is no such letter.
    pub fn intersect(self, other: Rights) -> Option<Rights> {
        let bits = self.0 & other.0;
        (bits != 0).then_some(Rights(bits))
    }

    fn parse(text: &str) -> Option<Rights> {
        let mut letters = text.chars().peekable();
        let rights = Rights::of(Right::ALL.into_iter().filter(|right| letters.next_if_eq(&right.letter()).is_some()));
        letters.next().is_none().then_some(rights).flatten()
    }

    fn parse_v1(text: &str) -> Option<Rights> {
        [Rights::READ, Rights::WRITE, Rights::ALL].into_iter().find(|rights| rights.v1_spelling() == Some(text))
    }

    fn v1_spelling(self) -> Option<&'static str> {
        match self {
            Rights::READ => Some("read"),
            Rights::WRITE => Some("write"),
            Rights::ALL => Some("*"),
            _ => None,
        }
    }
}

impl Constraint {
    /// Whether nothing is constrained.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Name and value of each condition, percent decoding done.
    pub fn pairs(&self) -> Vec<(String, String)> {
        self.0
            .iter()
            .map(|(name, value)| (name.clone(), percent_decode_str(value).decode_utf8_lossy().into_owned()))
            .collect()
    }

    /// Conditions of both.
    fn and(&self, other: &Constraint) -> Constraint {
        let mut pairs = self.0.clone();
        pairs.extend(other.0.iter().filter(|pair| !self.0.contains(pair)).cloned());
        Constraint(pairs)
    }

    fn parse(query: &str) -> Option<Self> {
        query
            .split('&')
            .map(|pair| {
                let (name, value) = pair.split_once('=')?;
                (is_parameter_name(name) && is_value(value)).then(|| (name.to_owned(), value.to_owned()))
            })
            .collect::<Option<Vec<_>>>()
            .map(Constraint)
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (name, value)) in self.0.iter().enumerate() {
            write!(f, "{}{name}={value}", if position == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

/// A plain search parameter: no modifier, no chain, and of the parameters with an underscore only those that
/// describe the resource itself (SM-25).
fn is_parameter_name(name: &str) -> bool {
    match name.strip_prefix('_') {
        Some(special) => ["id", "tag", "security", "profile", "source"].contains(&special),
        None => {
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        }
    }
}

/// Characters of a scope (RFC 6749 §3.3) without those that would need guessing: `?`, `=` and a `+` that is a space
/// in forms only.
fn is_value(value: &str) -> bool {
    !value.is_empty()
        && value.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '?' | '=' | '+'))
        && escapes_are_whole(value)
        && percent_decode_str(value).decode_utf8().is_ok_and(|text| !text.contains(char::is_control))
}

fn escapes_are_whole(value: &str) -> bool {
    value.split('%').skip(1).all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}
