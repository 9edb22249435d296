//! Codes that value sets and code systems list, as tokens to search by. <https://hl7.org/fhir/R4/valueset.html>,
//! <https://hl7.org/fhir/R4/codesystem.html>
//!
//! Nothing is loaded here: [`expand`] says what it needs, the caller loads that into [`Sources`] and asks again.
//!
//! ```text
//! Query ── asked ──▶ Question ── expand(sources) ──▶ Needs(urls) ─▶ load, again
//!                                               └──▶ Tokens ── answer ──▶ Query
//! ```
//!
//! Decided here: a complete expansion is taken as it is where the definition has filters or imports; versions of
//! systems and sets are those that the caller loads; abstract concepts are codes like others, abstract entries of an
//! expansion are not; a code without a system (an element of type `code`) is of the system that the definition binds.

use std::collections::BTreeMap;
use std::sync::Arc;

use fhir::json::Json;

use crate::query::{Filter, Match, Param, Query, Terminology};
use crate::registry::{elements, registry};

mod codes;
mod hierarchy;
mod value_set;

/// Most codes of one value set or hierarchy. (IN-17)
pub const MAX_CODES: usize = 10_000;

/// Most imports of value sets by value sets, one behind the other. (IN-17)
const MAX_IMPORTS: usize = 20;

/// What a search wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which codes.
    pub terminology: Terminology,
    /// The parameter holds elements of type `code`, which name no system.
    pub bare: bool,
}

/// A definition by its canonical URL, or `ValueSet/id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A ValueSet.
    ValueSet(String),
    /// A CodeSystem.
    CodeSystem(String),
}

/// Definitions that have been loaded.
#[derive(Debug, Default)]
pub struct Sources {
    loaded: BTreeMap<Need, Arc<Json>>,
}

/// What can be said with the definitions at hand.
#[derive(Debug, PartialEq)]
pub enum Expansion {
    /// The codes, as matches of a token parameter.
    Tokens(Vec<Match>),
    /// These definitions are needed first.
    Needs(Vec<Need>),
}

/// Why codes cannot be listed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TerminologyError {
    /// Too many codes.
    #[error("{0} has more than {MAX_CODES} codes, too many to search by")]
    TooCostly(String),
    /// Too much work.
    #[error("{0}")]
    Slow(String),
    /// The definition uses what is not done here.
    #[error("{0}")]
    NotSupported(String),
    /// The definition contradicts itself, or has not what is asked.
    #[error("{0}")]
    Invalid(String),
}

/// Why a step has no codes yet.
enum Halt {
    Needs(Need),
    Error(TerminologyError),
}

impl From<TerminologyError> for Halt {
    fn from(error: TerminologyError) -> Self {
        Halt::Error(error)
    }
}

impl Sources {
    /// Adds a definition that was needed.
    pub fn insert(&mut self, need: Need, definition: Arc<Json>) {
        self.loaded.insert(need, definition);
    }

    fn get(&self, need: Need) -> Result<&Json, Halt> {
        self.loaded.get(&need).map(Arc::as_ref).ok_or(Halt::Needs(need))
    }
}

impl Need {
    /// The type of the definition.
    pub fn resource_type(&self) -> &'static str {
        match self {
            Need::ValueSet(_) => "ValueSet",
            Need::CodeSystem(_) => "CodeSystem",
        }
    }

    /// How it is named to people.
    pub fn name(&self) -> &str {
        match self {
            Need::ValueSet(url) | Need::CodeSystem(url) => url,
        }
    }
}

/// What the query wants to know, each once.
pub fn asked(query: &Query) -> Vec<Question> {
    let mut questions = Vec::new();
    for filter in &query.filters {
        collect(&query.resource_type, filter, &mut questions);
    }
    questions
}

/// Puts the tokens in place of the questions, and says how many; nothing is put where there are more than `most`.
pub fn answer(query: &mut Query, answers: &[(Question, Vec<Match>)], most: usize) -> Option<usize> {
    let Query { resource_type, filters, .. } = query;
    let count = filters.iter().map(|filter| count(resource_type, filter, answers)).fold(0, usize::saturating_add);
    if count > most {
        return None;
    }
    for filter in filters {
        replace(resource_type, filter, answers);
    }
    Some(count)
}

/// The codes, or what is needed to list them.
pub fn expand(question: &Question, sources: &Sources) -> Result<Expansion, TerminologyError> {
    let codes = match &question.terminology {
        Terminology::ValueSet(url) => value_set::codes(url, sources, question.bare),
        Terminology::Subsumed { system, code, direction } => hierarchy::subsumed(system, code, *direction, sources),
    };
    match codes {
        Ok(codes) => Ok(Expansion::Tokens(codes.into_tokens(question.bare))),
        Err(Halt::Needs(need)) => Ok(Expansion::Needs(vec![need])),
        Err(Halt::Error(error)) => Err(error),
    }
}

fn collect(resource_type: &str, filter: &Filter, questions: &mut Vec<Question>) {
    if let Filter::Any { param, matches, .. } = filter {
        for wanted in matches {
            if let Match::Terminology(terminology) = wanted {
                let question = question(resource_type, param, terminology);
                if !questions.contains(&question) {
                    questions.push(question);
                }
            }
        }
    }
    let below = type_below(resource_type, filter).to_owned();
    filter.children().iter().for_each(|child| collect(&below, child, questions));
}

/// How many tokens answer the questions of the filter.
fn count(resource_type: &str, filter: &Filter, answers: &[(Question, Vec<Match>)]) -> usize {
    let tokens = |param: &Param, wanted: &Match| match wanted {
        Match::Terminology(terminology) => {
            let question = question(resource_type, param, terminology);
            answers.iter().find(|(asked, _)| *asked == question).map_or(0, |(_, tokens)| tokens.len())
        }
        _ => 0,
    };
    let own = match filter {
        Filter::Any { param, matches, .. } => {
            matches.iter().map(|wanted| tokens(param, wanted)).fold(0, usize::saturating_add)
        }
        _ => 0,
    };
    let below = type_below(resource_type, filter);
    filter.children().iter().map(|child| count(below, child, answers)).fold(own, usize::saturating_add)
}

fn replace(resource_type: &str, filter: &mut Filter, answers: &[(Question, Vec<Match>)]) {
    if let Filter::Any { param, matches, .. } = filter {
        let tokens = matches.drain(..).flat_map(|wanted| match &wanted {
            Match::Terminology(terminology) => {
                let question = question(resource_type, param, terminology);
                let found = answers.iter().find(|(asked, _)| *asked == question);
                found.map_or_else(|| vec![wanted.clone()], |(_, tokens)| tokens.clone())
            }
            _ => vec![wanted],
        });
        *matches = tokens.collect();
    }
    let below = type_below(resource_type, filter).to_owned();
    filter.children_mut().iter_mut().for_each(|child| replace(&below, child, answers));
}

fn question(resource_type: &str, param: &Param, terminology: &Terminology) -> Question {
    let registry = registry();
    let bare = registry.find(resource_type, &param.code).is_some_and(|it| elements::can_select(it, &["code"]));
    Question { terminology: terminology.clone(), bare }
}

/// The type that the conditions inside of a condition are about.
fn type_below<'a>(resource_type: &'a str, filter: &'a Filter) -> &'a str {
    match filter {
        Filter::Chain { target_type: name, .. } | Filter::Has { source_type: name, .. } => name,
        _ => resource_type,
    }
}

#[cfg(test)]
mod tests;
