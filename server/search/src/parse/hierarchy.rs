//! `:above` and `:below` of references, tokens and URIs. <https://hl7.org/fhir/R4/search.html#modifiers>
//!
//! References: "Some references are circular - that is, the reference points to another resource of the same type.
//! When the reference establishes a strict hierarchy, the modifiers :above and :below may be used to search
//! transitively through the hierarchy" (<https://hl7.org/fhir/R4/search.html#reference>). Such are the elements `partOf`
//! and `parent…` that point at their own type: Location, Organization, Encounter, Procedure, Task, Specimen and others.

use fhir::reference::Reference;

use super::escape::{alternatives, parts, unescape};
use super::refusal::Refusal;
use super::{MAX_ALTERNATIVES, Options};
use super::{chain, reference, uri};
use crate::entry::Target;
use crate::query::{Direction, Match, Param, Terminology};
use crate::registry::{Parameter, registry};

/// The direction that a modifier names.
pub(super) fn direction(modifier: &str) -> Direction {
    if modifier == "above" { Direction::Above } else { Direction::Below }
}

/// `system|code`: only a code system says what lies above or below.
pub(super) fn tokens(name: &str, value: &str, direction: Direction) -> Result<Vec<Match>, Refusal> {
    let tokens = alternatives(name, value)?.into_iter().map(|alternative| subsumed(name, alternative, direction));
    tokens.collect()
}

/// One `system|code`.
pub(super) fn subsumed(name: &str, value: &str, direction: Direction) -> Result<Match, Refusal> {
    match parts(value).as_slice() {
        [system, code] if !system.is_empty() && !code.is_empty() => {
            let (system, code) = (unescape(name, system)?, unescape(name, code)?);
            Ok(Match::Terminology(Terminology::Subsumed { system, code, direction }))
        }
        _ => Err(Refusal::invalid(format!(
            "{name}: {value:?}: write system|code, for the code system says what lies above and below"
        ))),
    }
}

/// Media types: `text/xml` is below itself with whatever parameters, `text` has all of that kind below it.
/// <https://hl7.org/fhir/R4/search.html#token>
pub(super) fn media_types(name: &str, value: &str) -> Result<Vec<Match>, Refusal> {
    let types = alternatives(name, value)?.into_iter().map(|alternative| {
        let parts = parts(alternative);
        let text = unescape(name, parts.last().copied().unwrap_or_default())?;
        if parts.len() > 2 || text.is_empty() || text.contains(';') {
            return Err(Refusal::invalid(format!("{name}: {text:?}: write a media type without parameters: text/xml")));
        }
        Ok(Match::MediaType(text.to_ascii_lowercase()))
    });
    types.collect()
}

/// Canonical URLs: any version. "The modifier :below is used with canonical references, to control whether the version is
/// considered in the search." <https://hl7.org/fhir/R4/search.html#reference>
pub(super) fn canonicals(parameter: &Parameter, value: &str, options: &Options) -> Result<Vec<Match>, Refusal> {
    let name = &parameter.code;
    if alternatives(name, value)?.into_iter().any(|alternative| parts(alternative).len() > 1) {
        return Err(versions_have_no_order(name, "below"));
    }
    reference::matches(parameter, None, value, options)
}

fn versions_have_no_order(name: &str, modifier: &str) -> Refusal {
    let text = format!("{name}:{modifier}: versions have no order here; write the URL alone, for all its versions");
    Refusal::not_supported(text).firm()
}

/// URLs by their path; URNs such as OIDs have none.
pub(super) fn uris(parameter: &Parameter, modifier: &str, value: &str) -> Result<Vec<Match>, Refusal> {
    let (name, direction) = (&parameter.code, direction(modifier));
    if uri::is_versioned(parameter, value)? {
        return Err(versions_have_no_order(name, modifier));
    }
    let uris = alternatives(name, value)?.into_iter().map(|alternative| {
        let uri = unescape(name, alternative)?;
        if uri.get(..4).is_some_and(|it| it.eq_ignore_ascii_case("urn:")) {
            return Err(Refusal::invalid(format!(
                "{name}: {uri:?} is a URN; only URLs lie above and below each other"
            )));
        }
        Ok(Match::UriHierarchy { uri, direction })
    });
    uris.collect()
}

/// A resource and what lies above or below it.
pub(super) fn references(
    parameter: &Parameter,
    value: &str,
    direction: Direction,
    options: &Options,
) -> Result<Vec<Match>, Refusal> {
    let name = &parameter.code;
    let hierarchies: Vec<(&str, Param)> =
        parameter.targets.iter().filter_map(|it| Some((it.as_str(), parent(it)?))).collect();
    if hierarchies.is_empty() {
        let targets = parameter.targets.join(", ");
        return Err(Refusal::not_supported(format!("{name} points at types without a hierarchy: {targets}")).firm());
    }
    let mut found = Vec::new();
    for alternative in alternatives(name, value)? {
        let text = unescape(name, alternative)?;
        let (only, id) = match Reference::parse(&text, &options.base) {
            Reference::Local { resource_type, id, version: None } => (Some(resource_type), id),
            Reference::Other(id) if fhir::id::is_valid(&id) => (None, id),
            _ => return Err(Refusal::invalid(format!("{name}: {text:?}: write Type/id or id"))),
        };
        let before = found.len();
        for (resource_type, parent) in &hierarchies {
            if only.as_ref().is_none_or(|it| it == resource_type) {
                let target = Target::Local { resource_type: (*resource_type).to_owned(), id: id.clone() };
                found.push(Match::Hierarchy { target, parent: Box::new(parent.clone()), direction });
            }
        }
        if found.len() == before {
            let types = hierarchies.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            let text = format!("{name}: {text:?}: of the types it may point at these have a hierarchy: {types}");
            return Err(Refusal::invalid(text));
        }
    }
    if found.len() > MAX_ALTERNATIVES {
        return Err(Refusal::too_costly(format!("{name}: more than {MAX_ALTERNATIVES} values; write Type/id")));
    }
    Ok(found)
}

/// Whether any type that the parameter may point at has a hierarchy.
pub(super) fn has_any(parameter: &Parameter) -> bool {
    parameter.targets.iter().any(|it| parent(it).is_some())
}

/// The parameter by which resources of a type point at the one above them.
fn parent(resource_type: &str) -> Option<Param> {
    let registry = registry();
    let upwards = |it: &&std::sync::Arc<Parameter>| {
        let prefix = format!("{resource_type}.");
        let element = it.expression.strip_prefix(&prefix).unwrap_or_default();
        (element == "partOf" || element.starts_with("parent")) && it.targets.iter().any(|it| it == resource_type)
    };
    registry
        .parameters(resource_type)
        .find(upwards)
        .and_then(|it| chain::reference(it).ok())
        .filter(|it| it.leads.by_reference())
}
