//! Modifiers, by parameter type. <https://hl7.org/fhir/R4/search.html#modifiers>

use fhir::definitions::is_resource_type;

use super::refusal::{Refusal, nearest};
use super::{Options, date, number, quantity, reference, string, token, uri};
use crate::query::{Filter, Match, ParamKind, StringMode};
use crate::registry::{Kind, Parameter};

/// Modifiers that R4 (or a later release) defines and that are not there yet.
const LATER: &[&str] = &[
    "text",
    "in",
    "not-in",
    "above",
    "below",
    "of-type",
    "identifier",
    "iterate",
    "recurse",
    "code-text",
    "text-advanced",
];

/// Refuses a modifier on a parameter that has none.
pub(super) fn none(code: &str, modifier: Option<&str>) -> Result<(), Refusal> {
    match modifier {
        None => Ok(()),
        Some(modifier) => Err(Refusal::not_supported(format!("{code} has no modifier {modifier:?}"))),
    }
}

/// The condition that `parameter` with `modifier` and `value` states.
pub(super) fn filter(
    parameter: &Parameter,
    modifier: Option<&str>,
    value: &str,
    options: &Options,
) -> Result<Filter, Refusal> {
    let (Some(param), Kind::Indexed(kind)) = (parameter.param(), parameter.kind) else {
        let kind = parameter.kind.as_str();
        return Err(Refusal::not_supported(format!("{} is a {kind} parameter, not supported yet", parameter.code)));
    };
    if modifier == Some("missing") {
        return match value {
            "true" | "false" => Ok(Filter::Missing { param, missing: value == "true" }),
            _ => Err(Refusal::invalid(format!("{}:missing is true or false, not {value:?}", param.code))),
        };
    }
    let name = param.code.as_str();
    let matches = match (kind, modifier) {
        (ParamKind::Token, None | Some("not")) => token::matches(name, value)?,
        (ParamKind::String, None) => string::matches(name, value, StringMode::StartsWith)?,
        (ParamKind::String, Some("contains")) => string::matches(name, value, StringMode::Contains)?,
        (ParamKind::String, Some("exact")) => string::matches(name, value, StringMode::Exact)?,
        (ParamKind::Date, None) => date::matches(name, value, options.now)?.into_iter().map(Match::Date).collect(),
        (ParamKind::Number, None) => number::matches(name, value)?,
        (ParamKind::Quantity, None) => quantity::matches(name, value)?,
        (ParamKind::Uri, None) => uri::matches(name, value)?,
        (ParamKind::Reference, None) => reference::matches(parameter, None, value, options)?,
        (ParamKind::Reference, Some(only)) if is_resource_type(only) => {
            if !parameter.targets.iter().any(|it| it == only) {
                let targets = parameter.targets.join(", ");
                return Err(Refusal::invalid(format!("{name} cannot point at {only}, only at {targets}")));
            }
            reference::matches(parameter, Some(only), value, options)?
        }
        (ParamKind::Composite, None) => return Err(Refusal::not_supported(format!("{name}: not supported yet"))),
        (kind, Some(modifier)) => return Err(refuse(parameter, kind, modifier)),
    };
    Ok(Filter::Any { param, matches, negated: modifier == Some("not") })
}

/// The modifiers that a kind of parameter understands.
pub(super) fn supported(kind: ParamKind) -> &'static [&'static str] {
    match kind {
        ParamKind::Token => &["missing", "not"],
        ParamKind::String => &["missing", "exact", "contains"],
        ParamKind::Number
        | ParamKind::Date
        | ParamKind::Quantity
        | ParamKind::Uri
        | ParamKind::Reference
        | ParamKind::Composite => {
            &["missing"]
        }
    }
}

fn refuse(parameter: &Parameter, kind: ParamKind, modifier: &str) -> Refusal {
    let name = &parameter.code;
    if LATER.contains(&modifier) {
        return Refusal::not_supported(format!("{name}:{modifier}: the modifier {modifier:?} is not supported yet"));
    }
    let types = if kind == ParamKind::Reference { parameter.targets.as_slice() } else { &[] };
    let nearest = nearest(modifier, supported(kind).iter().copied().chain(types.iter().map(String::as_str)));
    Refusal::unknown(format!(
        "{name}:{modifier}: {} parameters have no modifier {modifier:?}; the nearest are {nearest}",
        parameter.kind.as_str()
    ))
}
