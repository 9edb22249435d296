//! Puts codes in place of the value sets and code systems that a search names: `:in`, `:not-in`, `:above`, `:below`.
//! <https://hl7.org/fhir/R4/search.html#token>
//!
//! A definition is looked for among the stored resources that the caller can see, then among HL7's own, which are
//! embedded: [`search::terminology`] says which are needed. Criteria are searches, too: what they ask is looked up before
//! the transaction in which they are.

use std::sync::Arc;

use actix_web::web;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use search::parse::{Options, literal, parse};
use search::query::{Match, Query};
use search::terminology::{Expansion, MAX_CODES, Need, Question, Sources, TerminologyError, answer, asked, expand};

use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;

mod embedded;

/// Most definitions that a search, or the searches of a transaction together, may need. (IN-17)
const MAX_DEFINITIONS: usize = 100;

/// Most codes that they may ask for: a value set counts wherever it is asked for. (IN-17)
const MAX_ASKED: usize = 50 * MAX_CODES;

/// What has been looked up for one search, or for several that are made together.
pub struct Lookup<'a> {
    app: &'a App,
    caller: &'a Caller,
    sources: Sources,
    answers: Vec<(Question, Vec<Match>)>,
    loaded: usize,
    asked: usize,
}

impl<'a> Lookup<'a> {
    /// Nothing yet, of what the caller can see.
    pub fn new(app: &'a App, caller: &'a Caller) -> Self {
        Lookup { app, caller, sources: Sources::default(), answers: Vec::new(), loaded: 0, asked: 0 }
    }

    /// Whether what has been looked up may be another thing once resources of the type change.
    pub fn depends_on(&self, resource_type: &str) -> bool {
        let definitions = [Need::ValueSet(String::new()), Need::CodeSystem(String::new())];
        !self.answers.is_empty() && definitions.iter().any(|it| it.resource_type() == resource_type)
    }

    /// Answers the questions that the query has.
    pub async fn resolve(&mut self, query: &mut Query) -> Result<(), Error> {
        for question in asked(query) {
            if !self.answers.iter().any(|(known, _)| *known == question) {
                let tokens = self.expanded(&question).await?;
                self.answers.push((question, tokens));
            }
        }
        self.asked += answer(query, &self.answers, MAX_ASKED - self.asked).ok_or_else(|| {
            let text = format!("value sets and code systems are asked for with more than {MAX_ASKED} codes in all");
            Error::bad_request(Issue::error(IssueCode::TooCostly, text))
        })?;
        Ok(())
    }

    async fn expanded(&mut self, question: &Question) -> Result<Vec<Match>, Error> {
        loop {
            match expand(question, &self.sources).map_err(|error| refused(&error))? {
                Expansion::Tokens(tokens) => return Ok(tokens),
                Expansion::Needs(needs) => {
                    self.loaded += needs.len();
                    if self.loaded > MAX_DEFINITIONS {
                        let text = format!("more than {MAX_DEFINITIONS} value sets and code systems are needed");
                        return Err(Error::bad_request(Issue::error(IssueCode::TooCostly, text)));
                    }
                    for need in needs {
                        let definition = load(self.app, self.caller, &need).await?;
                        self.sources.insert(need, definition);
                    }
                }
            }
        }
    }
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
    let (resource_type, name) = (need.resource_type(), need.name());
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
        TerminologyError::TooCostly(_) | TerminologyError::Slow(_) => IssueCode::TooCostly,
        TerminologyError::NotSupported(_) => IssueCode::NotSupported,
        TerminologyError::Invalid(_) => IssueCode::Invalid,
    };
    Error::bad_request(Issue::error(code, error.to_string()))
}
