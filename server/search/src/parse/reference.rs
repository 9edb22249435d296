//! Reference values: `id`, `Type/id`, URL, `parameter:Type=id`. <https://hl7.org/fhir/R4/search.html#reference>

use fhir::definitions::is_resource_type;
use fhir::id;
use fhir::reference::Reference;

use super::escape::{alternatives, unescape};
use super::refusal::Refusal;
use super::{MAX_ALTERNATIVES, Options};
use crate::entry::Target;
use crate::query::Match;
use crate::registry::Parameter;

/// The alternatives of a reference parameter; `only` is the type of `parameter:Type`.
pub(super) fn matches(
    parameter: &Parameter,
    only: Option<&str>,
    value: &str,
    options: &Options,
) -> Result<Vec<Match>, Refusal> {
    let name = &parameter.code;
    let mut found = Vec::new();
    for alternative in alternatives(name, value)? {
        let text = unescape(name, alternative)?;
        let targets = targets(name, &parameter.targets, only, &text, options)?;
        found.extend(targets.into_iter().map(Match::Reference));
    }
    if found.len() > MAX_ALTERNATIVES {
        return Err(Refusal::too_costly(format!(
            "{name} may point at {} types, so that its values mean {} references; at most {MAX_ALTERNATIVES} are \
             allowed: write Type/id",
            parameter.targets.len(),
            found.len()
        )));
    }
    Ok(found)
}

/// What one value may mean: a bare id one reference for each of `types`.
pub(super) fn targets(
    name: &str,
    types: &[String],
    only: Option<&str>,
    text: &str,
    options: &Options,
) -> Result<Vec<Target>, Refusal> {
    match Reference::parse(text, &options.base) {
        Reference::Local { version: Some(_), .. } => Err(Refusal::invalid(format!(
            "{name}: R4 has no search for references to one version ({text:?}); leave /_history/… out"
        ))),
        Reference::Local { resource_type, .. } if !is_resource_type(&resource_type) => {
            Err(Refusal::invalid(format!("{name}: {resource_type} in {text:?} is not a resource type")))
        }
        Reference::Local { resource_type, .. } if only.is_some_and(|it| it != resource_type) => {
            Err(Refusal::invalid(format!("{name}:{} asks for another type than {text:?}", only.unwrap_or_default())))
        }
        Reference::Local { resource_type, id, .. } => Ok(vec![Target::Local { resource_type, id }]),
        Reference::Absolute(url) | Reference::Urn(url) if only.is_none() => Ok(vec![Target::Url(url)]),
        Reference::Other(id) if id::is_valid(&id) => Ok(match only {
            Some(resource_type) => vec![Target::Local { resource_type: resource_type.to_owned(), id }],
            None if types.is_empty() => vec![Target::Url(id)],
            None => types
                .iter()
                .map(|resource_type| Target::Local { resource_type: resource_type.clone(), id: id.clone() })
                .collect(),
        }),
        _ => Err(Refusal::invalid(format!("{name}: {text:?} is not a reference: write Type/id, id or a URL"))),
    }
}
