//! Conditions of a search of the trail on other resources: chains, `_has`, `_list`, and `:above` and `:below` of
//! references. The trail knows nothing of resources, so these are asked first, through the caller's view, and what is
//! found is put in their place. <https://hl7.org/fhir/R4/search.html#chaining>

use std::collections::BTreeSet;

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use futures::future::BoxFuture;
use search::entry::Target;
use search::extract::local_references;
use search::query::{Direction, Filter, Match, Param, Query};

use super::serve::TYPE;
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;

/// Most resources behind one condition. (IN-17)
const MOST: usize = 1_000;

/// Type and logical id.
type Name = (String, String);

/// Puts what they name in the place of conditions on other resources.
pub(super) async fn resolve(app: &App, caller: &Caller, query: &mut Query) -> Result<(), Error> {
    let asker = Asker { app, caller };
    for filter in &mut query.filters {
        asker.replace(filter).await?;
    }
    Ok(())
}

struct Asker<'a> {
    app: &'a App,
    caller: &'a Caller,
}

impl Asker<'_> {
    fn replace<'f>(&'f self, filter: &'f mut Filter) -> BoxFuture<'f, Result<(), Error>> {
        Box::pin(async move {
            match filter {
                Filter::Chain { param, target_type, filters } => {
                    let found = self.find(target_type, std::mem::take(filters)).await?;
                    let matches =
                        found.iter().filter_map(|it| Some(local((target_type.clone(), it.str("id")?.to_owned()))));
                    let matches = matches.map(Match::Reference).collect();
                    *filter = Filter::Any { param: param.clone(), matches, negated: false };
                }
                Filter::Has { source_type, param, filters } => {
                    let found = self.find(source_type, std::mem::take(filters)).await?;
                    let pointed_at = found.iter().flat_map(|it| self.targets(it, param));
                    let ids: BTreeSet<String> = pointed_at.filter(|(name, _)| name == TYPE).map(|(_, id)| id).collect();
                    *filter = Filter::Id(ids.into_iter().collect());
                }
                Filter::Any { matches, .. } => {
                    for wanted in std::mem::take(matches) {
                        match wanted {
                            Match::Hierarchy { target, parent, direction } => {
                                let line = self.line(target, &parent, direction).await?;
                                matches.extend(line.into_iter().map(Match::Reference));
                            }
                            other => matches.push(other),
                        }
                    }
                }
                other => {
                    for child in other.children_mut() {
                        self.replace(child).await?;
                    }
                }
            }
            Ok(())
        })
    }

    /// All resources of a type that the caller sees and that satisfy the conditions.
    async fn find(&self, resource_type: &str, filters: Vec<Filter>) -> Result<Vec<Json>, Error> {
        let query = Query { filters, ..Query::of(resource_type, MOST) };
        let page = self.app.store.search(&self.caller.view, &query).await?;
        if page.next.is_some() {
            return Err(too_many(resource_type));
        }
        page.matches.iter().map(|it| Json::parse(it.body.as_bytes()).map_err(Error::internal)).collect()
    }

    /// What a resource points at by a parameter.
    fn targets(&self, resource: &Json, param: &Param) -> Vec<Name> {
        let references = local_references(param, resource, &self.app.config.fhir_base());
        references.into_iter().map(|(resource_type, id, _)| (resource_type, id)).collect()
    }

    /// A resource and all that lies above or below it.
    async fn line(&self, from: Target, parent: &Param, direction: Direction) -> Result<Vec<Target>, Error> {
        let Target::Local { resource_type, id } = from else { return Ok(vec![from]) };
        let mut line = BTreeSet::from([(resource_type.clone(), id.clone())]);
        if direction == Direction::Below {
            let target = Target::Local { resource_type: resource_type.clone(), id };
            let matches = vec![Match::Hierarchy { target, parent: Box::new(parent.clone()), direction }];
            let below = Filter::Any { param: parent.clone(), matches, negated: false };
            let found = self.find(&resource_type, vec![below]).await?;
            line.extend(found.iter().filter_map(|it| Some((resource_type.clone(), it.str("id")?.to_owned()))));
            return Ok(line.into_iter().map(local).collect());
        }
        let mut frontier = vec![id];
        while !frontier.is_empty() {
            let found = self.find(&resource_type, vec![Filter::Id(frontier)]).await?;
            let above = found.iter().flat_map(|it| self.targets(it, parent));
            let above: BTreeSet<Name> = above.filter(|(name, _)| *name == resource_type).collect();
            frontier = above.into_iter().filter(|it| line.insert(it.clone())).map(|(_, id)| id).collect();
            if line.len() > MOST {
                return Err(too_many(&resource_type));
            }
        }
        Ok(line.into_iter().map(local).collect())
    }
}

fn local((resource_type, id): Name) -> Target {
    Target::Local { resource_type, id }
}

fn too_many(resource_type: &str) -> Error {
    let text = format!(
        "more than {MOST} resources of type {resource_type} stand behind a condition on {TYPE}; add one that narrows them"
    );
    Error::bad_request(Issue::error(IssueCode::TooCostly, text))
}
