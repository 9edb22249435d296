//! Scopes: one total parser for SMART v1, v2 and granular scopes, and the algebra that only ever narrows.
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html>
//!
//! | requirement | held by |
//! |---|---|
//! | SM-20 grammar, print and parse are inverse | [`Scope::parse`], `Display` |
//! | SM-21 undefined spellings are never read as something near | [`Scope::parse`] refuses them |
//! | SM-22 right by letter | [`Right`] |
//! | SM-23 v1 asked is v1 returned | [`Spelling`] |
//! | SM-24 granular constraints | [`Constraint`] |
//! | SM-25 constraints that cannot be honoured are not granted | [`Constraint`] refuses modifiers, chains, result parameters |
//! | SM-26 parts that can be given instead of the whole | [`parts`] |
//! | SM-28 granted ⊆ requested ⊆ registered | [`ScopeSet::narrowed_to`] |

use std::collections::BTreeSet;
use std::fmt;

pub mod parts;
pub mod resource;
pub mod words;

pub use resource::{Constraint, Level, ResourceScope, ResourceTypes, Right, Rights, Spelling};

/// Longest scope text that is looked at (OA-33).
pub const MAX_SCOPE_TEXT: usize = 4096;

/// Most scopes in one text (OA-33).
pub const MAX_SCOPES: usize = 100;

/// One scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// `openid`: an `id_token` is wanted.
    OpenId,
    /// `fhirUser`: the `id_token` names the user's FHIR resource.
    FhirUser,
    /// `launch`: the context of an EHR launch is wanted.
    Launch,
    /// `launch/patient`: a patient is to be chosen.
    LaunchPatient,
    /// `launch/encounter`: an encounter is to be chosen.
    LaunchEncounter,
    /// `offline_access`: a refresh token that survives the session.
    OfflineAccess,
    /// `online_access`: a refresh token that dies with the session.
    OnlineAccess,
    /// Rights on resources.
    Resource(ResourceScope),
}

/// Why a text is not a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// No such scope is defined.
    #[error("'{0}' is not a scope")]
    Unknown(String),
    /// The text is longer than [`MAX_SCOPE_TEXT`] or holds more than [`MAX_SCOPES`].
    #[error("the scope text is longer than {MAX_SCOPE_TEXT} characters or has more than {MAX_SCOPES} scopes")]
    TooMany,
}

impl Scope {
    /// Reads one scope; total: whatever is not exactly defined is an error.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        Ok(match text {
            "openid" => Scope::OpenId,
            "fhirUser" => Scope::FhirUser,
            "launch" => Scope::Launch,
            "launch/patient" => Scope::LaunchPatient,
            "launch/encounter" => Scope::LaunchEncounter,
            "offline_access" => Scope::OfflineAccess,
            "online_access" => Scope::OnlineAccess,
            _ => Scope::Resource(ResourceScope::parse(text).ok_or_else(|| ScopeError::Unknown(text.to_owned()))?),
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::OpenId => f.write_str("openid"),
            Scope::FhirUser => f.write_str("fhirUser"),
            Scope::Launch => f.write_str("launch"),
            Scope::LaunchPatient => f.write_str("launch/patient"),
            Scope::LaunchEncounter => f.write_str("launch/encounter"),
            Scope::OfflineAccess => f.write_str("offline_access"),
            Scope::OnlineAccess => f.write_str("online_access"),
            Scope::Resource(scope) => scope.fmt(f),
        }
    }
}

/// Scopes in the order written, without repetitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeSet(Vec<Scope>);

impl ScopeSet {
    /// Reads a space separated text; one undefined scope makes all of it an error.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let (known, mut unknown) = Self::parse_known(text)?;
        unknown.drain(..).next().map_or(Ok(known), |text| Err(ScopeError::Unknown(text)))
    }

    /// Reads a space separated text; undefined scopes are handed back beside the defined ones, and are never granted.
    pub fn parse_known(text: &str) -> Result<(Self, Vec<String>), ScopeError> {
        let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        if text.len() > MAX_SCOPE_TEXT || words.len() > MAX_SCOPES {
            return Err(ScopeError::TooMany);
        }
        let mut unknown = Vec::new();
        let mut known = Vec::new();
        for word in words {
            match Scope::parse(word) {
                Ok(scope) => known.push(scope),
                Err(_) => unknown.push(word.to_owned()),
            }
        }
        Ok((known.into_iter().collect(), unknown))
    }

    /// All scopes in the order written.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// The scopes that give rights on resources.
    pub fn resources(&self) -> impl Iterator<Item = &ResourceScope> {
        self.0.iter().filter_map(|scope| match scope {
            Scope::Resource(resource) => Some(resource),
            _ => None,
        })
    }

    /// Whether exactly this scope is in the set.
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    /// Whether any scope speaks at this level.
    pub fn has_level(&self, level: Level) -> bool {
        self.resources().any(|scope| scope.level == level)
    }

    /// Whether there is no scope.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether granting these gives anything: rights, an identity or a context; staying connected alone is nothing.
    pub fn gives_anything(&self) -> bool {
        self.iter().any(|scope| !matches!(scope, Scope::OfflineAccess | Scope::OnlineAccess | Scope::FhirUser))
    }

    /// Whether a right on a type is given by any scope, granular or not.
    pub fn allows(&self, right: Right, resource_type: &str) -> bool {
        self.resources().any(|scope| scope.rights.contains(right) && scope.types.contains(resource_type))
    }

    /// What remains of these scopes under a ceiling: the part of each that some scope of the ceiling covers. The
    /// result never gives a right that either side does not give. (SM-28)
    #[must_use]
    pub fn narrowed_to(&self, ceiling: &ScopeSet) -> ScopeSet {
        let mut narrowed = Vec::new();
        for scope in self.iter() {
            match scope {
                Scope::Resource(scope) if !ceiling.0.contains(&Scope::Resource(scope.clone())) => {
                    narrowed
                        .extend(ceiling.resources().filter_map(|other| scope.intersect(other)).map(Scope::Resource));
                }
                other if ceiling.contains(other) => narrowed.push(other.clone()),
                _ => {}
            }
        }
        narrowed.into_iter().collect()
    }

    /// The same scopes without those that `keep` refuses.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&Scope) -> bool) -> ScopeSet {
        ScopeSet(self.0.iter().filter(|scope| keep(scope)).cloned().collect())
    }

    /// Whether every right in this set is also given by `other`.
    pub fn is_covered_by(&self, other: &ScopeSet) -> bool {
        self.iter().all(|scope| match scope {
            Scope::Resource(scope) => scope
                .rights
                .iter()
                .all(|right| other.resources().any(|wide| wide.rights.contains(right) && wide.covers_data_of(scope))),
            plain => other.contains(plain),
        })
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        let mut seen = BTreeSet::new();
        ScopeSet(scopes.into_iter().filter(|scope| seen.insert(scope.clone())).collect())
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, scope) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(" ")?;
            }
            scope.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
