//! `_sort`. <https://hl7.org/fhir/R4/search.html#sort>

use super::refusal::Refusal;
use super::{MAX_SORTS, find};
use crate::query::{ParamKind, Sort, SortBy};
use crate::registry::{elements, registry};

/// The pair as it is; where leniency may leave out some keys of `_sort`, a pair for each key.
pub(super) fn each((name, value): &(String, String), lenient: bool) -> Vec<(&str, &str)> {
    if lenient && name == "_sort" {
        value.split(',').map(|key| (name.as_str(), key)).collect()
    } else {
        vec![(name, value)]
    }
}

/// Adds the keys of `_sort=name,-name`; given more than once, it is one list.
pub(super) fn add(value: &str, resource_type: &str, keys: &mut Vec<Sort>) -> Result<(), Refusal> {
    for name in value.split(',') {
        let key = key(name, resource_type)?;
        if keys.iter().any(|it| it.by == key.by) {
            return Err(Refusal::invalid(format!("_sort names {:?} twice", name.trim_start_matches('-'))));
        }
        if keys.len() == MAX_SORTS {
            return Err(Refusal::too_costly(format!("_sort has more than {MAX_SORTS} keys")));
        }
        keys.push(key);
    }
    Ok(())
}

fn key(written: &str, resource_type: &str) -> Result<Sort, Refusal> {
    // The name of a parameter of the server's own may begin with a hyphen.
    let is_name = registry().find(resource_type, written).is_some();
    let (descending, name) = match written.strip_prefix('-').filter(|_| !is_name) {
        Some(name) => (true, name),
        None => (false, written),
    };
    let by = match name {
        "" => {
            return Err(Refusal::invalid(
                "_sort has an empty key; write name or -name, separated by commas".to_owned(),
            ));
        }
        "_lastUpdated" => SortBy::LastUpdated,
        "_id" => SortBy::Id,
        "_score" => return Err(Refusal::not_supported("_sort=_score: matches have no score here".to_owned())),
        _ if name.contains([':', '.']) => {
            return Err(Refusal::unknown(format!("_sort={name}: keys have no modifiers and no chains")));
        }
        _ => {
            let parameter = find(resource_type, name)?;
            let param = parameter.param().filter(|it| it.kind != ParamKind::Composite);
            let Some(param) = param else {
                let kind = parameter.kind.as_str();
                return Err(Refusal::unknown(format!("_sort={name}: {kind} parameters have no order")));
            };
            if !parameter.is_indexed {
                let text = format!("_sort={name}: the parameter is being indexed; it cannot be sorted by until then");
                return Err(Refusal::not_supported(text));
            }
            // Of several dates a resource stands in the natural order by the earliest; descending, the latest comes first.
            let is_earliest = !(descending && elements::can_repeat(&parameter));
            if param.kind == ParamKind::Date && name == "date" && is_earliest {
                SortBy::Chronology(param)
            } else {
                SortBy::Param(param)
            }
        }
    };
    Ok(Sort { by, descending })
}
