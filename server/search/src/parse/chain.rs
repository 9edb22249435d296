//! Conditions on other resources: chains and `_has`. <https://hl7.org/fhir/R4/search.html#chaining>,
//! <https://hl7.org/fhir/R4/search.html#has>
//!
//! `subject.name=x` without a type means every type that the reference may point at and that has the parameter.

use fhir::definitions::is_resource_type;

use super::place::Place;
use super::refusal::Refusal;
use super::{condition, find};
use crate::query::{Filter, Param, ParamKind};
use crate::registry::{Parameter, elements, registry};

/// What is asked behind a reference.
pub(super) struct Behind<'a> {
    /// The type that is named, as in `subject:Patient.name`.
    pub(super) only: Option<&'a str>,
    /// The name that comes next: only types that have it count.
    pub(super) next: &'a str,
    /// Reads the conditions, on a type.
    pub(super) filters: &'a dyn Fn(Place<'_>) -> Result<Vec<Filter>, Refusal>,
}

/// Resources that point by `code` at one which satisfies what is `behind`.
pub(super) fn forward(place: Place<'_>, code: &str, behind: &Behind<'_>) -> Result<Filter, Refusal> {
    let parameter = find(place.resource_type, code)?;
    let param = reference(&parameter)?;
    let targets: Vec<&str> = match behind.only {
        Some(only) => vec![target(&parameter, only)?],
        None => parameter.targets.iter().map(String::as_str).filter(|it| has_parameter(it, behind.next)).collect(),
    };
    let (mut found, mut refused) = (Vec::new(), None);
    for target in targets {
        match place.behind(target).and_then(|place| (behind.filters)(place)) {
            Ok(filters) => {
                found.push(Filter::Chain { param: param.clone(), target_type: target.to_owned(), filters });
            }
            Err(refusal) if behind.only.is_none() && refusal.is_of_type() => refused = refused.or(Some(refusal)),
            Err(refusal) => return Err(refusal),
        }
    }
    match (found.len(), refused) {
        (0, Some(refusal)) => Err(refusal),
        (0, None) => Err(Refusal::unknown(format!(
            "{code}.{}: none of the types that {code} may point at ({}) has it",
            behind.next,
            listed(&parameter.targets)
        ))),
        (1, _) => Ok(found.remove(0)),
        _ => Ok(Filter::Or(found)),
    }
}

/// `_has:Type:parameter:name=value`: `written` is what follows the first colon.
pub(super) fn has(place: Place<'_>, written: &str, value: &str) -> Result<Filter, Refusal> {
    pointed_at(place, written, &|place, name| condition::filter(place, name, value))
}

/// Resources at which one of another type points: `written` is `Type:parameter:name`; `behind` reads the condition with that
/// name on that type.
pub(super) fn pointed_at(
    place: Place<'_>,
    written: &str,
    behind: &dyn Fn(Place<'_>, &str) -> Result<Filter, Refusal>,
) -> Result<Filter, Refusal> {
    let parts: Vec<&str> = written.splitn(3, ':').collect();
    let [source, code, name] = parts.as_slice() else {
        return Err(Refusal::invalid(format!("_has:{written}: write _has:Type:reference:parameter=value")));
    };
    if !is_resource_type(source) {
        return Err(Refusal::unknown(format!("_has:{written}: {source:?} is not a resource type")));
    }
    let parameter = find(source, code)?;
    let param = reference(&parameter)?;
    if !points_at(&parameter, place.resource_type) {
        let (searched, targets) = (place.resource_type, listed(&parameter.targets));
        return Err(Refusal::unknown(format!(
            "_has:{written}: {code} of {source} cannot point at {searched}, only at {targets}"
        )));
    }
    let filters = vec![behind(place.behind(source)?, name)?];
    Ok(Filter::Has { source_type: (*source).to_owned(), param, filters })
}

/// Whether resources of the type can be asked that: `rest` is a name, perhaps with modifier, chain or `_has`.
pub(super) fn has_parameter(resource_type: &str, rest: &str) -> bool {
    let registry = registry();
    if let Some(has) = rest.strip_prefix("_has:") {
        let mut parts = has.split(':');
        let found = parts.next().zip(parts.next()).and_then(|(source, code)| registry.find(source, code));
        return found.is_some_and(|it| points_at(it, resource_type));
    }
    let code = rest.split([':', '.']).next().unwrap_or(rest);
    condition::SPECIAL.contains(&code) || registry.find(resource_type, code).is_some()
}

/// The parameter, which must be a reference to lead to other resources.
pub(super) fn reference(parameter: &Parameter) -> Result<Param, Refusal> {
    let (code, resource_type) = (&parameter.code, &parameter.resource_type);
    let Some(param) = parameter.param().filter(|it| it.kind == ParamKind::Reference) else {
        let kind = parameter.kind.as_str();
        let text = format!("{code} of {resource_type} is a {kind} parameter; only references lead to other resources");
        return Err(Refusal::unknown(text));
    };
    if !parameter.is_indexed {
        let text = format!("{code} of {resource_type} is being indexed; until then it leads to no other resources");
        return Err(Refusal::not_supported(text));
    }
    if elements::are_all(parameter, "Resource") {
        let text = format!(
            "{code} of {resource_type} is the resource that stands inside, not a reference: it leads to none of this server"
        );
        return Err(Refusal::not_supported(text));
    }
    Ok(param)
}

/// Whether the parameter may point at the type; without stated targets at any.
pub(super) fn points_at(parameter: &Parameter, resource_type: &str) -> bool {
    parameter.targets.is_empty() || parameter.targets.iter().any(|it| it == resource_type)
}

/// Checks the type that is named after a reference.
pub(super) fn target<'a>(parameter: &Parameter, only: &'a str) -> Result<&'a str, Refusal> {
    let code = &parameter.code;
    if !is_resource_type(only) {
        let nearest = super::refusal::nearest(only, parameter.targets.iter().map(String::as_str));
        let text = format!("{code}:{only}: {only:?} is not a resource type; the nearest are {nearest}");
        return Err(Refusal::unknown(text).firm());
    }
    if !points_at(parameter, only) {
        return Err(Refusal::invalid(format!("{code} cannot point at {only}, only at {}", listed(&parameter.targets))));
    }
    Ok(only)
}

fn listed(types: &[String]) -> String {
    if types.len() > 20 { format!("{} types", types.len()) } else { types.join(", ") }
}
