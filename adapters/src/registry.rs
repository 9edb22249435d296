//! The adapters that a process knows: those that are compiled in, and those of mapping files.

use crate::{ADAPTERS, Adapter};

/// Adapters by vendor and by path.
#[derive(Clone, Debug)]
pub struct Registry {
    adapters: Vec<&'static Adapter>,
}

/// A vendor that cannot join, because it would take what is another's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} belongs to the adapter of {owner}")]
pub struct Taken {
    /// Its name, or its path.
    pub what: String,
    /// The vendor that has it.
    pub owner: &'static str,
}

impl Default for Registry {
    /// The compiled adapters alone.
    fn default() -> Self {
        Registry { adapters: ADAPTERS.to_vec() }
    }
}

impl Registry {
    /// All of them, the compiled ones first.
    pub fn all(&self) -> &[&'static Adapter] {
        &self.adapters
    }

    /// Names of all vendors.
    pub fn vendors(&self) -> Vec<&'static str> {
        self.adapters.iter().map(|adapter| adapter.vendor).collect()
    }

    /// The adapter of a vendor.
    pub fn find(&self, vendor: &str) -> Option<&'static Adapter> {
        self.adapters.iter().copied().find(|adapter| adapter.vendor == vendor)
    }

    /// The adapter that a path belongs to.
    pub fn at(&self, path: &str) -> Option<&'static Adapter> {
        self.adapters.iter().copied().find(|adapter| adapter.routes().any(|route| route == path))
    }

    /// Lets an adapter in, unless its name or one of its paths is another's.
    pub fn add(&mut self, adapter: &'static Adapter) -> Result<(), Taken> {
        if let Some(owner) = self.owner_of(adapter.vendor) {
            return Err(Taken { what: format!("the name {}", adapter.vendor), owner });
        }
        for route in adapter.routes() {
            if let Some(owner) = self.at(route) {
                return Err(Taken { what: format!("the path {route}"), owner: owner.vendor });
            }
        }
        self.adapters.push(adapter);
        Ok(())
    }

    /// Whose a name is: names of vendors stand in paths, where phones name formats as well, and in identifiers.
    fn owner_of(&self, name: &str) -> Option<&'static str> {
        let same = |other: &str| other.replace('_', "-") == name.replace('_', "-");
        let is_its = |adapter: &&&'static Adapter| {
            same(adapter.vendor)
                || adapter.shapes.iter().any(|shape| same(shape.name))
                || adapter.routes().any(|route| route.split('/').any(same))
        };
        self.adapters.iter().find(is_its).map(|adapter| adapter.vendor)
    }
}
