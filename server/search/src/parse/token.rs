//! Token values: `code`, `system|code`, `|code`, `system|`. <https://hl7.org/fhir/R4/search.html#token>

use fhir::id;
use fhir::reference::Reference;

use super::Options;
use super::escape::{alternatives, parts, unescape};
use super::refusal::Refusal;
use crate::entry::identifier_type;
use crate::query::{Filter, Match, Terminology};
use crate::registry::{Component, Parameter, elements, implied};

/// The alternatives of a token parameter.
pub(super) fn matches(name: &str, value: &str) -> Result<Vec<Match>, Refusal> {
    alternatives(name, value)?.into_iter().map(|alternative| one(name, alternative)).collect()
}

/// As [`matches()`], for a parameter: elements of type `code` state no system, theirs is implied by the value set that they
/// are bound to; "if the underlying data type is string then the search is not case sensitive".
/// <https://hl7.org/fhir/R4/search.html#token>
pub(super) fn of(parameter: &Parameter, value: &str) -> Result<Vec<Match>, Refusal> {
    let mut found = matches(&parameter.code, value)?;
    let are_strings = elements::are_all(parameter, "string");
    leave_out_implied(&mut found, |system| implied::may_be_of(parameter, system));
    for wanted in &mut found {
        if let Match::Token { code: Some(code), .. } = wanted
            && are_strings
        {
            *code = code.to_lowercase();
        }
    }
    Ok(found)
}

/// As [`matches()`], for a component of a composite.
pub(super) fn of_component(
    parameter: &Parameter,
    component: &Component,
    name: &str,
    value: &str,
) -> Result<Vec<Match>, Refusal> {
    let mut found = matches(name, value)?;
    leave_out_implied(&mut found, |system| implied::may_be_of_component(parameter, component, system));
    Ok(found)
}

/// Tokens stand in the index without a system that their elements imply.
fn leave_out_implied(tokens: &mut [Match], is_implied: impl Fn(&str) -> bool) {
    for wanted in tokens {
        if let Match::Token { system: Some(system), .. } = wanted
            && !system.is_empty()
            && is_implied(system)
        {
            system.clear();
        }
    }
}

/// `_id`: logical ids.
pub(super) fn ids(value: &str) -> Result<Filter, Refusal> {
    let ids = alternatives("_id", value)?.into_iter().map(|alternative| {
        let id = unescape("_id", alternative)?;
        if id::is_valid(&id) {
            Ok(id)
        } else {
            Err(Refusal::invalid(format!("_id: {id:?} is not a logical id: 1 to 64 of A-Z, a-z, 0-9, - and .")))
        }
    });
    Ok(Filter::Id(ids.collect::<Result<_, _>>()?))
}

/// `:of-type`: `system|code|value`, the type of an identifier and its value; "all 3 parts must be present".
/// <https://hl7.org/fhir/R4/search.html#token>
pub(super) fn of_type(name: &str, value: &str) -> Result<Vec<Match>, Refusal> {
    let tokens = alternatives(name, value)?.into_iter().map(|alternative| match parts(alternative).as_slice() {
        [system, code, value] if [system, code, value].iter().all(|it| !it.is_empty()) => {
            let system = identifier_type(&unescape(name, system)?, &unescape(name, code)?);
            Ok(Match::Token { system: Some(system), code: Some(unescape(name, value)?) })
        }
        _ => Err(Refusal::invalid(format!("{name}:of-type: {alternative:?}: write system|code|value, all three"))),
    });
    tokens.collect()
}

/// `:in`, `:not-in`: canonical URLs of value sets, or `ValueSet/id`.
pub(super) fn value_sets(name: &str, value: &str, options: &Options) -> Result<Vec<Match>, Refusal> {
    let sets = alternatives(name, value)?.into_iter().map(|alternative| {
        let text = unescape(name, alternative)?;
        let set = match Reference::parse(&text, &options.base) {
            Reference::Local { resource_type, id, version: None } if resource_type == "ValueSet" => {
                format!("ValueSet/{id}")
            }
            Reference::Absolute(url) | Reference::Urn(url) => url,
            _ => {
                let text = format!("{name}: {text:?} is no value set: write its canonical URL or ValueSet/id");
                return Err(Refusal::invalid(text));
            }
        };
        Ok(Match::Terminology(Terminology::ValueSet(set)))
    });
    sets.collect()
}

fn one(name: &str, value: &str) -> Result<Match, Refusal> {
    let filled = |text: String| Some(text).filter(|it| !it.is_empty());
    match parts(value).as_slice() {
        [code] => Ok(Match::Token { system: None, code: Some(unescape(name, code)?) }),
        [system, code] if !(system.is_empty() && code.is_empty()) => {
            Ok(Match::Token { system: Some(unescape(name, system)?), code: filled(unescape(name, code)?) })
        }
        _ => Err(Refusal::invalid(format!(
            "{name}: {value:?} is not a token: write code, system|code, |code or system|, and \\| for | itself"
        ))),
    }
}
