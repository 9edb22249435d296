//! A claim with what it refers to, as its sender can see it: a Bundle for the adapter.

use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};
use fhir::reference::Reference;

use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::read::{self, Read};

/// Most resources that a claim may refer to.
const MOST: usize = 200;

/// The resource, and after it those that it refers to.
pub(super) async fn gather(app: &App, caller: &Caller, resource: &Json) -> Result<Json, Error> {
    let mut found = vec![resource.clone()];
    let mut named: Vec<(String, String)> = Vec::new();
    references(resource, &app.config.fhir_base(), &mut named);
    if named.len() > MOST {
        let text = format!("the Claim refers to more than {MOST} resources");
        return Err(Error::unprocessable(Issue::error(IssueCode::TooCostly, text).at("Claim")));
    }
    for (resource_type, id) in named {
        let read = Read { resource_type: &resource_type, id: &id, if_none_match: None, if_modified_since: None };
        let answer = read::execute(app, caller, read).await?;
        found.push(Json::parse(answer.body.unwrap_or_default().as_bytes()).map_err(Error::internal)?);
    }
    let entries: Vec<Json> = found.into_iter().map(|resource| fhir::object! { "resource": resource }).collect();
    Ok(fhir::object! { "resourceType": "Bundle", "type": "collection", "entry": entries })
}

/// References to resources of this server, each once.
fn references(json: &Json, base: &str, named: &mut Vec<(String, String)>) {
    match json {
        Json::Object(members) => {
            if let Some(Reference::Local { resource_type, id, .. }) =
                json.str("reference").map(|text| Reference::parse(text, base))
            {
                let name = (resource_type, id);
                if !named.contains(&name) {
                    named.push(name);
                }
            }
            members.iter().map(|(_, member)| member).for_each(|member| references(member, base, named));
        }
        Json::Array(items) => items.iter().for_each(|item| references(item, base, named)),
        _ => {}
    }
}

/// A resource with a member set.
pub(super) fn with(resource: &Json, name: &str, value: impl Into<Json>) -> Json {
    let mut members = resource.as_object().cloned().unwrap_or_else(Object::new);
    members.insert(name, value);
    members.into()
}
