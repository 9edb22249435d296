//! Parameters that shape the answer instead of filtering. <https://hl7.org/fhir/R4/search.html#return>
//!
//! | parameter | effect |
//! |---|---|
//! | `_count` | page size, lowered to the server's maximum; 0 asks for the total only |
//! | `_total` | `none`; `accurate` and `estimate` count exactly |
//! | `_summary` | `true`, `text`, `data`: parts of the resources; `count`: as `_count=0`; `false`: the default |
//! | `_elements` | the named elements, and the mandatory ones |
//! | `_contained`, `_containedType` | whether contained resources are matches, and what is answered for them; see [`super::contained`] |
//! | `__explain` | `true`: how the search would run, instead of its answer |
//! | `_cursor` | where the page begins; made by the server |
//! | `_format`, `_pretty` | kept for links, read where answers are written |
//! | `_type` | must name the type that is searched |

use fhir::definitions::{is_resource_type, r4};

use super::escape::alternatives;
use super::refusal::{Refusal, nearest};
use super::{MAX_ELEMENTS, Options};
use super::{contained, shape};
use crate::query::{Elements, Query};

/// Every name that is not a condition and takes effect.
pub(super) const NAMES: &[&str] = &[
    "__explain",
    "_contained",
    "_containedType",
    "_count",
    "_cursor",
    "_elements",
    "_format",
    "_include",
    "_pretty",
    "_revinclude",
    "_sort",
    "_summary",
    "_total",
    "_type",
];

/// Names that R4 defines and that have no effect here.
const REFUSED: &[(&str, &str)] = &[("_score", "matches have no score here")];

/// What one search over several types knows besides the query.
#[derive(Clone, Copy)]
pub(super) struct Searched<'a> {
    /// All types that are searched.
    pub(super) types: &'a [&'a str],
    pub(super) options: &'a Options,
}

/// Whether [`read`] knows the name.
pub(super) fn is_control(name: &str) -> bool {
    NAMES.contains(&name) || REFUSED.iter().any(|(refused, _)| *refused == name)
}

/// Whether a parameter says what the answer of a search looks like: all that [`is_control`] knows, but for the format and
/// the type, which mean the same wherever there is an answer.
pub fn shapes_answer(name: &str) -> bool {
    is_control(name) && !["_format", "_pretty", "_type"].contains(&name)
}

/// Applies one of [`NAMES`]; gives the value that took effect, or None for what links set themselves.
pub(super) fn read(
    name: &str,
    value: &str,
    query: &mut Query,
    searched: Searched<'_>,
) -> Result<Option<String>, Refusal> {
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Err(Refusal::not_supported(format!("{name} is not supported: {why}")));
    }
    match name {
        "_count" => return count(value, query, searched.options).map(Some),
        "_total" => query.total = total(value)? || query.total,
        "_summary" => summary(value, query)?,
        "_elements" => elements(value, query, searched)?,
        "_contained" | "_containedType" => contained::check(name, value)?,
        "__explain" => query.explain = flag(name, value)?,
        "_cursor" => {
            if value.is_empty() {
                return Err(Refusal::invalid("_cursor is empty; follow the next link as it is".to_owned()));
            }
            query.cursor = Some(value.to_owned());
            return Ok(None);
        }
        "_type" => searched_type(value, searched)?,
        _ => {}
    }
    Ok(Some(value.to_owned()))
}

/// What cannot be together: "the _include and _revinclude parameters cannot be mixed with _summary=text".
/// <https://hl7.org/fhir/R4/search.html#summary>
pub(super) fn check(query: &Query) -> Result<(), Refusal> {
    if query.elements == Elements::Text && !query.includes.is_empty() {
        return Err(Refusal::invalid("_summary=text cannot be mixed with _include and _revinclude".to_owned()));
    }
    Ok(())
}

fn count(value: &str, query: &mut Query, options: &Options) -> Result<String, Refusal> {
    let digits = !value.is_empty() && value.bytes().all(|it| it.is_ascii_digit());
    if !digits {
        return Err(Refusal::invalid(format!("_count is a whole number from 0 on, not {value:?}")));
    }
    let asked = value.parse::<usize>().unwrap_or(usize::MAX);
    let counting_only = query.applied.iter().any(|(name, value)| name == "_summary" && value == "count");
    let count = asked.min(options.max_count);
    query.total |= count == 0;
    if !counting_only {
        query.count = count;
    }
    Ok(count.to_string())
}

fn total(value: &str) -> Result<bool, Refusal> {
    match value {
        "none" => Ok(false),
        "accurate" | "estimate" => Ok(true),
        _ => Err(Refusal::invalid(format!("_total is none, estimate or accurate, not {value:?}"))),
    }
}

fn summary(value: &str, query: &mut Query) -> Result<(), Refusal> {
    let elements = match value {
        "count" => {
            query.count = 0;
            query.total = true;
            return Ok(());
        }
        "false" => return Ok(()),
        "true" => Elements::Summary,
        "text" => Elements::Text,
        "data" => Elements::Data,
        _ => return Err(Refusal::invalid(format!("_summary is true, text, data, count or false, not {value:?}"))),
    };
    shape(query, elements)
}

/// `name` of the searched type or `Type.name`; each must be an element, else it would have no effect.
fn elements(value: &str, query: &mut Query, searched: Searched<'_>) -> Result<(), Refusal> {
    let names = alternatives("_elements", value)?;
    if names.len() > MAX_ELEMENTS {
        let text = format!("_elements has {} names; at most {MAX_ELEMENTS} are allowed", names.len());
        return Err(Refusal::too_costly(text));
    }
    for written in &names {
        let (types, name) = match written.split_once('.') {
            Some((resource_type, name)) => (vec![resource_type], name),
            None => (searched.types.to_vec(), *written),
        };
        let is_element =
            |it: &&str| r4().get(it).is_some_and(|definition| is_resource_type(it) && shape::has(definition, name));
        if !types.iter().any(is_element) {
            let of = types.first().copied().unwrap_or_default();
            let known = r4().get(of).map(|it| it.elements.iter().map(|it| it.name.as_str())).into_iter().flatten();
            let nearest = nearest(name, known);
            let text = format!("_elements: {written:?} is no element of {of}; the nearest are {nearest}");
            return Err(Refusal::invalid(text));
        }
    }
    shape(query, Elements::Named(names.into_iter().map(str::to_owned).collect()))
}

fn shape(query: &mut Query, elements: Elements) -> Result<(), Refusal> {
    if query.elements != Elements::All {
        return Err(Refusal::invalid("_summary and _elements exclude each other".to_owned()));
    }
    query.elements = elements;
    Ok(())
}

fn flag(name: &str, value: &str) -> Result<bool, Refusal> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Refusal::invalid(format!("{name} is true or false, not {value:?}"))),
    }
}

fn searched_type(value: &str, searched: Searched<'_>) -> Result<(), Refusal> {
    let named = alternatives("_type", value)?;
    match searched.types.iter().find(|it| !named.contains(it)) {
        None => Ok(()),
        Some(left_out) => {
            Err(Refusal::invalid(format!("_type={value} leaves out {left_out}, the type that is searched")))
        }
    }
}
