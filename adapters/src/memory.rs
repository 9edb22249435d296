//! A store of a few resources: what a message changes after those that came before it, without a server.

use fhir::json::Json;

use crate::{Publication, state};

/// Resources by the criteria that they were written under.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    stored: Vec<(String, Json)>,
}

impl Memory {
    /// Writes a publication as the server would; the resources that were created or changed.
    pub fn apply(&mut self, publication: &Publication) -> Vec<Json> {
        let mut changed = Vec::new();
        for entry in publication.bundle.list("entry") {
            changed.extend(self.write(entry));
        }
        for withdrawal in &publication.withdrawn {
            let of_record = |resource: &Json| {
                resource.str("resourceType") == Some("Observation")
                    && resource.list("identifier").iter().any(|it| {
                        it.str("system") == Some(&withdrawal.system) && it.str("value") == Some(&withdrawal.record)
                    })
            };
            for (_, stored) in self.stored.iter_mut().filter(|(_, stored)| of_record(stored)) {
                if let Some(next) = state::withdrawn(stored, withdrawal) {
                    *stored = next.clone();
                    changed.push(next);
                }
            }
        }
        changed
    }

    fn write(&mut self, entry: &Json) -> Option<Json> {
        let (request, resource) = (entry.get("request")?, entry.get("resource")?);
        let criteria = match request.str("ifNoneExist") {
            Some(criteria) => format!("{}?{criteria}", request.str("url")?),
            None => request.str("url")?.to_owned(),
        };
        let known = self.stored.iter_mut().find(|(under, _)| *under == criteria);
        let Some((_, stored)) = known else {
            self.stored.push((criteria, resource.clone()));
            return Some(resource.clone());
        };
        if request.str("method") == Some("POST") {
            return None;
        }
        let next = state::next(stored, resource)?;
        *stored = next.clone();
        Some(next)
    }
}
