//! `_contained` and `_containedType`. <https://hl7.org/fhir/R4/search.html#contained>
//!
//! | parameter | values |
//! |---|---|
//! | `_contained` | `false`, the default; `true`: contained resources alone; `both` |
//! | `_containedType` | `container`, the default: the resource that contains the match is answered; `contained`: the match |

use super::refusal::Refusal;
use crate::contained;
use crate::query::{Contained, Query};

/// Checks a value of one of the two.
pub(super) fn check(name: &str, value: &str) -> Result<(), Refusal> {
    let known = if name == "_contained" { &["false", "true", "both"][..] } else { &["container", "contained"][..] };
    if known.contains(&value) {
        return Ok(());
    }
    Err(Refusal::invalid(format!("{name} is {}, not {value:?}", known.join(" or "))))
}

/// Once all is read: what the two together ask for. What contained resources cannot be asked is refused.
pub(super) fn settle(query: &mut Query) -> Result<(), Refusal> {
    let given = |wanted: &str| query.applied.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let (which, form) = (given("_contained").unwrap_or("false"), given("_containedType"));
    if which == "false" {
        return match form {
            None => Ok(()),
            Some(_) => Err(Refusal::invalid(
                "_containedType says what is answered for contained resources: ask for them by _contained=true or both"
                    .to_owned(),
            )),
        };
    }
    let asked = Contained { both: which == "both", alone: form == Some("contained"), containers: Vec::new() };
    let refuse = |what: &str, why: &str| {
        Err(Refusal::not_supported(format!("{what} cannot be together with _contained={which}: {why}")))
    };
    if !query.sort.is_empty() {
        return refuse("_sort", "what is contained comes where its container stands, newest first");
    }
    if !query.includes.is_empty() {
        return refuse("_include and _revinclude", "they follow the references of resources that stand by themselves");
    }
    if query.explain {
        return refuse("__explain", "it shows how resources are found that stand by themselves");
    }
    if query.filters.iter().any(|filter| contained::filter(&query.resource_type, filter).is_none()) {
        return refuse(
            "_has, _list, _lastUpdated, _text, _content, near, co of numbers, number|system| of quantities and parameters \
             that are being indexed",
            "contained resources are pointed at by nothing but their container, change with it, and are found by the \
             index alone",
        );
    }
    query.contained = Some(Box::new(asked));
    Ok(())
}
