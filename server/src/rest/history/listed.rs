//! `_list`: the versions of what a List names. <https://hl7.org/fhir/R4/http.html#history>

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use fhir::reference::Reference;
use store::{HistoryOf, Listed};

use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::request;

/// The type of what names others.
const LIST: &str = "List";

/// What a List names, as far as it is here; nothing where the caller sees no such List.
pub(super) async fn named(app: &App, caller: &Caller, list: &str) -> Result<Vec<Listed>, Error> {
    if !fhir::id::is_valid(list) {
        let text = format!("_list={list}: must be the logical id of a List");
        return Err(Error::bad_request(Issue::error(IssueCode::Value, text)));
    }
    access::decide(caller, Interaction::Read, LIST)?;
    let stored = app.store.read(&caller.view, LIST, list).await?.filter(|stored| !stored.deleted);
    caller.saw_one(stored.as_ref());
    let Some(stored) = stored else { return Ok(Vec::new()) };
    let resource = Json::parse(stored.body.as_bytes()).map_err(Error::internal)?;
    let base = app.config.fhir_base();
    let one = |entry: &Json| match Reference::parse(entry.at(&["item", "reference"])?.as_str()?, &base) {
        Reference::Local { resource_type, id, version: None } => Some(Listed { resource_type, id, version: None }),
        Reference::Local { resource_type, id, version: Some(version) } => {
            Some(Listed { resource_type, id, version: Some(request::version(&version)?) })
        }
        _ => None,
    };
    Ok(resource.list("entry").iter().filter_map(one).collect())
}

/// Of what is named that which may be asked for.
pub(super) fn among(whose: &HistoryOf, mut listed: Vec<Listed>) -> HistoryOf {
    listed.retain(|one| match whose {
        HistoryOf::Instance { resource_type, id } => one.resource_type == *resource_type && one.id == *id,
        HistoryOf::Types(types) => types.contains(&one.resource_type),
        HistoryOf::Listed(_) => true,
    });
    HistoryOf::Listed(listed)
}
