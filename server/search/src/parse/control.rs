//! Parameters that shape the answer instead of filtering. <https://hl7.org/fhir/R4/search.html#return>
//!
//! | parameter | effect |
//! |---|---|
//! | `_count` | page size, lowered to the server's maximum; 0 asks for the total only |
//! | `_total` | `none`; `accurate` and `estimate` count exactly |
//! | `_summary` | `count`: as `_count=0`; `false`: the default |
//! | `_cursor` | where the page begins; made by the server |
//! | `_format`, `_pretty` | kept for links, read where answers are written |
//! | `_type` | must name the type that is searched |

use super::Options;
use super::escape::alternatives;
use super::refusal::Refusal;
use crate::query::Query;

/// Every name that is not a parameter of a resource and takes effect.
pub(super) const NAMES: &[&str] =
    &["_count", "_cursor", "_format", "_include", "_pretty", "_revinclude", "_sort", "_summary", "_total", "_type"];

/// Names that R4 defines and that are not there yet.
const LATER: &[&str] =
    &["_has", "_filter", "_list", "_text", "_content", "_contained", "_containedType", "_elements", "_query", "_score"];

/// Whether [`read`] knows the name.
pub(super) fn is_control(name: &str) -> bool {
    NAMES.contains(&name)
}

/// The refusal of a name that R4 defines and that is not there yet.
pub(super) fn not_supported(name: &str) -> Option<Refusal> {
    let code = name.split(':').next().unwrap_or(name);
    LATER.contains(&code).then(|| Refusal::not_supported(format!("{code} is not supported yet")))
}

/// Applies one of [`NAMES`]; gives the value that took effect, or None for what links set themselves.
pub(super) fn read(name: &str, value: &str, query: &mut Query, options: &Options) -> Result<Option<String>, Refusal> {
    match name {
        "_count" => return count(value, query, options).map(Some),
        "_total" => query.total = total(value)? || query.total,
        "_summary" => summary(value, query)?,
        "_cursor" => {
            if value.is_empty() {
                return Err(Refusal::invalid("_cursor is empty; follow the next link as it is".to_owned()));
            }
            query.cursor = Some(value.to_owned());
            return Ok(None);
        }
        "_type" => searched_type(value, query)?,
        _ => {}
    }
    Ok(Some(value.to_owned()))
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
    match value {
        "count" => {
            query.count = 0;
            query.total = true;
            Ok(())
        }
        "false" => Ok(()),
        "true" | "text" | "data" => {
            Err(Refusal::not_supported(format!("_summary={value} is not supported yet; count and false are")))
        }
        _ => Err(Refusal::invalid(format!("_summary is count or false, not {value:?}"))),
    }
}

fn searched_type(value: &str, query: &Query) -> Result<(), Refusal> {
    if alternatives("_type", value)?.contains(&query.resource_type.as_str()) {
        return Ok(());
    }
    Err(Refusal::invalid(format!("_type={value} leaves out {}, the type that is searched", query.resource_type)))
}
