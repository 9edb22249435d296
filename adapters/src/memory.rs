//! A store of a few resources: what a message changes after those that came before it, without a server.

use fhir::json::Json;

use crate::{Publication, Withdrawal, bundle, holder, state};

/// Resources by the criteria that they were written under.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    stored: Vec<(String, Json)>,
}

impl Memory {
    /// Writes a publication as the server would; the resources that were created or changed.
    pub fn apply(&mut self, publication: &Publication) -> Vec<Json> {
        let mut changed = Vec::new();
        let mut publication = publication.clone();
        state::without_overtaken(&mut publication, |withdrawal| {
            let mut stored = self.stored.iter().filter(|(_, stored)| is_of_record(stored, withdrawal));
            stored.any(|(_, stored)| state::is_overtaken(stored, withdrawal))
        });
        for entry in publication.bundle.list("entry") {
            changed.extend(self.write(entry));
        }
        for withdrawal in &publication.withdrawn {
            for (_, stored) in self.stored.iter_mut().filter(|(_, stored)| is_of_record(stored, withdrawal)) {
                if let Some(next) = state::withdrawn(stored, withdrawal) {
                    *stored = next.clone();
                    changed.push(next);
                }
            }
        }
        changed
    }

    /// A record that a publication takes back, and of which only somebody else's readings stand: the server keeps those,
    /// and the message waits.
    pub fn refused<'p>(&self, publication: &'p Publication) -> Option<&'p Withdrawal> {
        publication.withdrawn.iter().filter(|withdrawal| withdrawal.deleted).find(|withdrawal| {
            let stored = || self.stored.iter().map(|(_, stored)| stored);
            let others = stored().any(|it| has_record(it, withdrawal) && state::withdrawn(it, withdrawal).is_some());
            others && !stored().any(|it| is_of_record(it, withdrawal))
        })
    }

    /// The transaction of what a publication changed: its own entries, and updates of what was taken back.
    pub fn transaction(publication: &Publication, changed: &[Json]) -> Json {
        let identifier = |resource: &Json| resource.get("identifier").and_then(|it| it.items().first()).cloned();
        let entries = changed.iter().filter_map(|resource| {
            let first = identifier(resource)?;
            let mut told = publication.bundle.list("entry").iter();
            let entry = told.find(|entry| entry.get("resource").and_then(identifier).as_ref() == Some(&first));
            let Some(entry) = entry else {
                let resource_type = resource.str("resourceType")?;
                return Some(bundle::put(resource_type, first.str("system")?, first.str("value")?, resource.clone()));
            };
            let mut entry = entry.clone();
            entry.as_object_mut()?.insert("resource", resource.clone());
            Some(entry)
        });
        bundle::transaction(entries.collect())
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

/// Whether a withdrawal may take back a resource: it is of the record, and of whoever the record is.
fn is_of_record(resource: &Json, withdrawal: &Withdrawal) -> bool {
    let references: Vec<String> = withdrawal.holder.references().map(str::to_owned).collect();
    has_record(resource, withdrawal) && holder::is_of(resource, &references)
}

/// Whether a resource bears the id of a record.
fn has_record(resource: &Json, withdrawal: &Withdrawal) -> bool {
    let is_it = |it: &Json| it.str("system") == Some(&withdrawal.system) && it.str("value") == Some(&withdrawal.record);
    resource.str("resourceType") == Some("Observation") && resource.list("identifier").iter().any(is_it)
}
