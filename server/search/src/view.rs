//! What a token may see: the predicate that stands inside every query. (Invariant 2; LK-00, LK-01)
//!
//! A view is made at one place, from a caller's grant, and the store answers nothing without one. Where no rule
//! allows a type, the type is empty.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::query::Filter;

/// The part of the database that a caller can see.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    compartment: Compartment,
    types: Types,
}

/// Whose patients' data is inside the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compartment {
    /// Every patient's, and data of no patient.
    Everyone,
    /// Only what lies in the compartment of one of these patients (logical ids, sorted), and data of no patient
    /// where its type is [shared](crate::compartment::is_shared).
    Patients(Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
enum Types {
    All,
    Listed(Arc<BTreeMap<String, TypeRule>>),
}

/// What is visible of one type.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeRule {
    /// Nothing.
    Denied,
    /// All of it that the compartment holds.
    Whole,
    /// What satisfies all filters of at least one alternative (granular scopes, SM-24).
    Granular(Vec<Vec<Filter>>),
}

impl View {
    /// Everything: for the server's own work and `system/*.cruds`.
    pub fn system() -> Self {
        View { compartment: Compartment::Everyone, types: Types::All }
    }

    /// The listed types only, within a compartment; whatever is not listed is denied.
    pub fn listed(compartment: Compartment, types: impl Into<Arc<BTreeMap<String, TypeRule>>>) -> Self {
        View { compartment, types: Types::Listed(types.into()) }
    }

    /// The part of this view that lies in the compartments of these patients (logical ids).
    #[must_use]
    pub fn within(mut self, patients: &[String]) -> Self {
        let mut both: Vec<String> = match &self.compartment {
            Compartment::Everyone => patients.to_vec(),
            Compartment::Patients(own) => own.iter().filter(|id| patients.contains(id)).cloned().collect(),
        };
        both.sort_unstable();
        both.dedup();
        self.compartment = Compartment::Patients(both);
        self
    }

    /// What is visible of `resource_type`.
    pub fn rule(&self, resource_type: &str) -> &TypeRule {
        match &self.types {
            Types::All => &TypeRule::Whole,
            Types::Listed(types) => types.get(resource_type).unwrap_or(&TypeRule::Denied),
        }
    }

    /// Whose data is visible.
    pub fn compartment(&self) -> &Compartment {
        &self.compartment
    }

    /// Whether nothing is hidden.
    pub fn is_unrestricted(&self) -> bool {
        self.compartment == Compartment::Everyone && self.types == Types::All
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lk_40_a_list_of_patients_only_ever_narrows() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let within = |compartment: Compartment, list: &[&str]| {
            View { compartment, types: Types::All }.within(&ids(list)).compartment
        };
        let own = Compartment::Patients(ids(&["a", "b"]));
        assert_eq!(within(own.clone(), &["c", "b"]), Compartment::Patients(ids(&["b"])));
        assert_eq!(within(own, &[]), Compartment::Patients(Vec::new()));
        assert_eq!(within(Compartment::Everyone, &["b", "a", "b"]), Compartment::Patients(ids(&["a", "b"])));
        assert!(!View::system().within(&ids(&["a"])).is_unrestricted());
    }
}
