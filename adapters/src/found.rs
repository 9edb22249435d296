//! What the records of one message come to, while they are read one after the other.

use std::collections::BTreeSet;

use fhir::json::Json;
use fhir::outcome::Issue;

use crate::{Mapping, Publication, Withdrawal, bundle};

/// What a message comes to, while it is read.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What is to be written.
    pub(crate) entries: Vec<Json>,
    urls: BTreeSet<String>,
    /// What is wrong, or worth knowing.
    pub(crate) issues: Vec<Issue>,
    /// What is no longer true.
    pub(crate) withdrawn: Vec<Withdrawal>,
    /// Whether something was kept back.
    pub(crate) waits: bool,
}

impl Found {
    /// Takes an entry unless the same resource is there already: records repeat their device. What one of them says of the
    /// device's properties joins what is there.
    pub(crate) fn push(&mut self, entry: Json) {
        let Some(url) = entry.str("fullUrl") else { return };
        if self.urls.insert(url.to_owned()) {
            self.entries.push(entry);
            return;
        }
        let property = entry.get("resource").and_then(|resource| resource.get("property")).cloned();
        let known = self.entries.iter_mut().find(|known| known.str("fullUrl") == Some(url));
        let resource = known.and_then(|known| known.as_object_mut()?.get_mut("resource")?.as_object_mut());
        if let Some((resource, property)) = resource.zip(property) {
            resource.insert("property", property);
        }
    }

    /// Keeps a record back, with the reason.
    pub(crate) fn keep_back(&mut self, issue: Issue) {
        self.issues.push(issue);
        self.waits = true;
    }

    /// What becomes of the message as a whole.
    pub(crate) fn mapping(self) -> Mapping {
        if self.entries.is_empty() && self.withdrawn.is_empty() && !self.issues.is_empty() {
            return Mapping::Quarantine { issues: self.issues };
        }
        Mapping::Publish(Publication {
            bundle: bundle::transaction(self.entries),
            issues: self.issues,
            withdrawn: self.withdrawn,
            waits: self.waits,
        })
    }
}
