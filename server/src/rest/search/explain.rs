//! `__explain=true`: how a search would run, as a Parameters resource. Nothing of what is stored is in it, but it tells
//! how many rows an index has for a value, whoever they belong to: only who may see everything may ask. (LK-17)

use fhir::json::Json;
use fhir::object;
use search::query::Query;

use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::response::Answer;

/// Most types that are explained: a search of all is run the same way for each.
const MAX_TYPES: usize = 10;

/// One parameter `step` for each thing there is to say.
pub(super) async fn answer(app: &App, caller: &Caller, queries: &[Query]) -> Result<Answer, Error> {
    if !caller.view.is_unrestricted() {
        return Err(Error::forbidden("__explain counts rows of everybody: it needs a token that may read everything"));
    }
    let mut steps = Vec::new();
    for query in queries.iter().take(MAX_TYPES) {
        for step in app.store.explain(&caller.view, query).await? {
            let part = vec![
                object! { "name": "type", "valueCode": query.resource_type.as_str() },
                object! { "name": "about", "valueCode": step.about },
                object! { "name": "text", "valueString": step.text.as_str() },
            ];
            steps.push(object! { "name": "step", "part": Json::Array(part) });
        }
    }
    let parameters = object! { "resourceType": "Parameters", "parameter": Json::Array(steps) };
    Ok(Answer::resource(parameters.to_string()))
}
