//! Modifiers, by parameter type. <https://hl7.org/fhir/R4/search.html#modifiers>

use fhir::definitions::is_resource_type;

use super::condition::exact_unless_indexed;
use super::place::Place;
use super::refusal::{Refusal, nearest};
use super::{chain, composite, date, hierarchy, number, quantity, reference, string, token, uri};
use crate::query::{Aspect, Filter, Match, Param, ParamKind, StringMode};
use crate::registry::{Kind, Parameter, elements};

/// Refuses a modifier on a parameter that has none.
pub(super) fn none(code: &str, modifier: Option<&str>) -> Result<(), Refusal> {
    match modifier {
        None => Ok(()),
        Some(modifier) => Err(Refusal::unknown(format!("{code} has no modifier {modifier:?}")).firm()),
    }
}

/// The value of `:missing`.
pub(super) fn missing(code: &str, value: &str) -> Result<bool, Refusal> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Refusal::invalid(format!("{code}:missing is true or false, not {value:?}"))),
    }
}

/// The condition that `parameter` with `modifier` and `value` states.
pub(super) fn filter(
    place: Place<'_>,
    parameter: &Parameter,
    modifier: Option<&str>,
    value: &str,
) -> Result<Filter, Refusal> {
    let (Some(param), Kind::Indexed(kind)) = (parameter.param(), parameter.kind) else {
        let kind = parameter.kind.as_str();
        return Err(Refusal::not_supported(format!("{} is a {kind} parameter without expression", parameter.code)));
    };
    let filter = match (kind, modifier) {
        (ParamKind::Composite, None) => composite::filter(place, parameter, value)?,
        (ParamKind::Composite, Some(modifier)) => return Err(refuse(parameter, kind, modifier)),
        (_, Some("missing")) => Filter::Missing { missing: missing(&param.code, value)?, param },
        (ParamKind::Quantity, None) => quantity::filter(parameter, value)?,
        (ParamKind::Token, Some("below")) if elements::are_media_types(parameter) => {
            return Ok(Filter::Exact(Box::new(Filter::Any {
                matches: hierarchy::media_types(&param.code, value)?,
                param,
                negated: false,
            })));
        }
        (ParamKind::Uri, None) => match uri::versioned(parameter, value)? {
            Some(filter) => filter,
            None => Filter::Any { matches: uri::matches(&param.code, value)?, param, negated: false },
        },
        _ => {
            let (param, matches) = matches(place, parameter, param, (kind, modifier), value)?;
            Filter::Any { param, matches, negated: matches!(modifier, Some("not" | "not-in")) }
        }
    };
    Ok(exact_unless_indexed(parameter, filter))
}

/// The alternatives, and the aspect of the parameter that they are compared with.
fn matches(
    place: Place<'_>,
    parameter: &Parameter,
    param: Param,
    (kind, modifier): (ParamKind, Option<&str>),
    value: &str,
) -> Result<(Param, Vec<Match>), Refusal> {
    let (name, options) = (parameter.code.as_str(), place.options);
    let aspect =
        |aspect: Aspect| parameter.aspect(aspect).ok_or_else(|| refuse(parameter, kind, modifier.unwrap_or("")));
    let matches = match (kind, modifier) {
        (ParamKind::Token, None | Some("not")) => token::of(parameter, value)?,
        (ParamKind::Token, Some("in" | "not-in")) => token::value_sets(name, value, options)?,
        (ParamKind::Token, Some(way @ ("above" | "below"))) => {
            hierarchy::tokens(name, value, hierarchy::direction(way))?
        }
        (ParamKind::Token, Some("of-type")) if !elements::can_select(parameter, &["Identifier"]) => {
            let text = format!("{name}:of-type: {name} holds no identifiers, which alone have types");
            return Err(Refusal::unknown(text).firm());
        }
        (ParamKind::Token, Some("of-type")) => return Ok((aspect(Aspect::OfType)?, token::of_type(name, value)?)),
        (ParamKind::Token | ParamKind::Reference, Some("text")) => {
            return Ok((aspect(Aspect::Text)?, string::matches(name, value, StringMode::StartsWith)?));
        }
        (ParamKind::String, None) => string::matches(name, value, StringMode::StartsWith)?,
        (ParamKind::String, Some("contains")) => string::matches(name, value, StringMode::Contains)?,
        (ParamKind::String, Some("exact")) => string::matches(name, value, StringMode::Exact)?,
        (ParamKind::Date, None) => date::matches(name, value, options.now)?.into_iter().map(Match::Date).collect(),
        (ParamKind::Number, None) => number::matches(name, value)?,
        (ParamKind::Uri, Some(way @ ("above" | "below"))) => hierarchy::uris(parameter, way, value)?,
        (ParamKind::Reference, None) => reference::matches(parameter, None, value, options)?,
        (ParamKind::Reference, Some("identifier")) => {
            return Ok((aspect(Aspect::Identifier)?, token::matches(name, value)?));
        }
        (ParamKind::Reference, Some("above" | "below")) if !parameter.is_indexed => {
            let text = format!("{name} is being indexed; until then it has no :above and :below");
            return Err(Refusal::not_supported(text).firm());
        }
        (ParamKind::Reference, Some("below")) if elements::are_all(parameter, "canonical") => {
            hierarchy::canonicals(parameter, value, options)?
        }
        (ParamKind::Reference, Some(way @ ("above" | "below"))) => {
            hierarchy::references(parameter, value, hierarchy::direction(way), options)?
        }
        (ParamKind::Reference, Some(only)) if is_resource_type(only) => {
            reference::matches(parameter, Some(chain::target(parameter, only)?), value, options)?
        }
        (_, modifier) => return Err(refuse(parameter, kind, modifier.unwrap_or_default())),
    };
    Ok((param, matches))
}

/// The modifiers that a kind of parameter understands; `[type]` stands for the types that a reference may point at.
pub(super) fn of_kind(kind: ParamKind) -> &'static [&'static str] {
    match kind {
        ParamKind::Token => &["missing", "not", "text", "in", "not-in", "above", "below", "of-type"],
        ParamKind::String => &["missing", "exact", "contains"],
        ParamKind::Reference => &["missing", "[type]", "identifier", "text", "above", "below"],
        ParamKind::Uri => &["missing", "above", "below"],
        ParamKind::Number | ParamKind::Date | ParamKind::Quantity => &["missing"],
        ParamKind::Composite => &[],
    }
}

/// The modifiers that a parameter understands.
pub(super) fn of(parameter: &Parameter) -> Vec<&'static str> {
    let Kind::Indexed(kind) = parameter.kind else { return Vec::new() };
    if parameter.code == "_id" {
        return vec!["missing", "not"];
    }
    let has = |modifier: &&&'static str| match **modifier {
        "of-type" => elements::can_select(parameter, &["Identifier"]),
        "identifier" | "text" if kind == ParamKind::Reference => elements::can_select(parameter, &["Reference"]),
        "below" if kind == ParamKind::Reference && elements::are_all(parameter, "canonical") => true,
        "above" | "below" if kind == ParamKind::Reference => hierarchy::has_any(parameter),
        "[type]" => parameter.targets.len() != 1,
        _ => true,
    };
    of_kind(kind).iter().filter(has).copied().collect()
}

fn refuse(parameter: &Parameter, kind: ParamKind, modifier: &str) -> Refusal {
    let (name, types) = (&parameter.code, parameter.targets.iter().map(String::as_str));
    if kind == ParamKind::Composite {
        return Refusal::unknown(format!("{name}:{modifier}: composite parameters have no modifiers")).firm();
    }
    let known = of_kind(kind).iter().copied().filter(|it| *it != "[type]");
    let nearest = nearest(modifier, known.chain(types.filter(|_| kind == ParamKind::Reference)));
    let kind = parameter.kind.as_str();
    let text = format!("{name}:{modifier}: {kind} parameters have no modifier {modifier:?}; the nearest are {nearest}");
    Refusal::unknown(text).firm()
}
