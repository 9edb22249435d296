//! Puts codes in place of the value sets and code systems that a search names: `:in`, `:not-in`, `:above`, `:below`.
//! <https://hl7.org/fhir/R4/search.html#token>
//!
//! A definition is looked for among the stored resources that the caller can see, then among HL7's own, which are
//! embedded: [`search::terminology`] says which are needed.

use std::sync::Arc;

use actix_web::web;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use search::parse::{Options, literal, parse};
use search::query::{Match, Query};
use search::terminology::{Expansion, Need, Question, Sources, TerminologyError, answer, asked, expand};

use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;

mod embedded;

/// Most definitions that one search may need. (IN-17)
const MAX_DEFINITIONS: usize = 100;

/// Answers the questions that the query has.
pub async fn resolve(app: &App, caller: &Caller, query: &mut Query) -> Result<(), Error> {
    let questions = asked(query);
    if questions.is_empty() {
        return Ok(());
    }
    let mut sources = Sources::default();
    let (mut answers, mut loaded) = (Vec::new(), 0);
    for question in questions {
        let tokens = loop {
            match expand(&question, &sources).map_err(|error| refused(&error))? {
                Expansion::Tokens(tokens) => break tokens,
                Expansion::Needs(needs) => {
                    loaded += needs.len();
                    if loaded > MAX_DEFINITIONS {
                        let text = format!("the search needs more than {MAX_DEFINITIONS} value sets and code systems");
                        return Err(Error::bad_request(Issue::error(IssueCode::TooCostly, text)));
                    }
                    for need in needs {
                        let definition = load(app, caller, &need).await?;
                        sources.insert(need, definition);
                    }
                }
            }
        };
        let answered: (Question, Vec<Match>) = (question, tokens);
        answers.push(answered);
    }
    answer(query, &answers);
    Ok(())
}

/// The definition, or 400: the search cannot be answered without it.
async fn load(app: &App, caller: &Caller, need: &Need) -> Result<Arc<Json>, Error> {
    if let Some(stored) = stored(app, caller, need).await? {
        return Ok(Arc::new(stored));
    }
    let wanted = need.clone();
    let found = web::block(move || embedded::find(&wanted)).await.map_err(Error::internal)?;
    found.ok_or_else(|| {
        let kind = if matches!(need, Need::ValueSet(_)) { "value set" } else { "code system" };
        let text = format!("the {kind} {} is not known here; store it to search by it", need.name());
        Error::bad_request(Issue::error(IssueCode::NotFound, text))
    })
}

/// The newest of the stored resources that the caller can see.
async fn stored(app: &App, caller: &Caller, need: &Need) -> Result<Option<Json>, Error> {
    let (resource_type, name) = match need {
        Need::ValueSet(name) => ("ValueSet", name),
        Need::CodeSystem(name) => ("CodeSystem", name),
    };
    let pair = |name: &str, value: &str| (name.to_owned(), literal(value));
    let pairs = match (name.strip_prefix("ValueSet/"), name.split_once('|')) {
        (Some(id), _) => vec![pair("_id", id)],
        (None, Some((url, version))) => vec![pair("url", url), pair("version", version)],
        (None, None) => vec![pair("url", name)],
    };
    let options = Options::at_most(1, app.config.fhir_base(), app.clock.now());
    let query = parse(resource_type, &pairs, &options).map_err(Error::bad_request)?.query;
    let found = app.store.search(&caller.view, &query).await?.matches.into_iter().next();
    found.map(|stored| Json::parse(stored.body.as_bytes()).map_err(Error::internal)).transpose()
}

fn refused(error: &TerminologyError) -> Error {
    let code = match &error {
        TerminologyError::TooCostly(_) => IssueCode::TooCostly,
        TerminologyError::NotSupported(_) => IssueCode::NotSupported,
        TerminologyError::Invalid(_) => IssueCode::Invalid,
    };
    Error::bad_request(Issue::error(code, error.to_string()))
}
