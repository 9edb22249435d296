//! What canonical URLs lead to. <https://hl7.org/fhir/R4/references.html#canonical>
//!
//! `url|version` is what has that URL and that version. `url` alone is the newest of its type that has the URL: "if a
//! References to a canonical URL does not have a version, and the server finds multiple versions for the value set, the
//! system using the reference should pick the latest version of the target resource and use that". Versions have no order:
//! the newest is the one of the last `date`, of several the one that was created last; what a view hides is none of them.

use fhir::json::Json;

use crate::entry::{IndexEntry, IndexValue, ParamId, Target};
use crate::query::{Param, ParamKind};
use crate::registry::registry;

/// The identities under which it stands by which canonical URLs resources of a type are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// `url|version`.
    pub versioned: ParamId,
    /// `url` alone: it means one of those that have it.
    pub alone: ParamId,
}

/// Those of a type; none of a type whose resources have no canonical URL.
pub fn names(resource_type: &str) -> Option<Names> {
    let registry = registry();
    let url = registry.find(resource_type, "url")?;
    let own = format!("{resource_type}.url");
    let is_own = url.expression.split('|').any(|branch| branch.trim() == own);
    is_own.then(|| Names { versioned: url.id.named_with_version(), alone: url.id.named_alone() })
}

/// The types whose resources have canonical URLs.
pub fn types() -> impl Iterator<Item = &'static str> {
    fhir::definitions::resource_types().iter().map(String::as_str).filter(|name| names(name).is_some())
}

/// The URLs that mean a resource, with its version and alone.
pub(crate) fn urls(resource: &Json) -> [Option<String>; 2] {
    let Some(url) = resource.str("url").filter(|url| !url.is_empty()) else { return [None, None] };
    let versioned = resource.str("version").map(|version| format!("{url}|{version}"));
    [versioned, Some(url.to_owned()).filter(|url| !url.contains('|'))]
}

/// The parameter that holds canonical URLs exactly as they are stated, with a version or without.
pub fn stated(param: &Param) -> Param {
    let id = param.id.as_stated();
    let kind = ParamKind::Reference;
    Param { id, kind, compartment: false, other_compartment_params: None, members: Vec::new(), ..param.clone() }
}

/// The index entries by which a resource is found behind canonical URLs.
pub(crate) fn entries(resource_type: &str, resource: &Json) -> Vec<IndexEntry> {
    let Some(Names { versioned, alone }) = names(resource_type) else { return Vec::new() };
    let named = [versioned, alone].into_iter().zip(urls(resource));
    let entry = |(param, url): (ParamId, Option<String>)| {
        Some(IndexEntry { param, value: IndexValue::Reference(Target::Url(url?)) })
    };
    named.filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::object;

    #[test]
    fn which_types_have_canonical_urls() {
        let found: Vec<&str> = types().collect();
        for name in ["ActivityDefinition", "Library", "Measure", "PlanDefinition", "Questionnaire", "ValueSet"] {
            assert!(found.contains(&name), "{name}");
        }
        // `url` of a Subscription is where it sends to.
        for name in ["Subscription", "Patient", "Endpoint", "NamingSystem"] {
            assert!(!found.contains(&name), "{name}");
        }
    }

    #[test]
    fn what_means_a_resource() {
        let url = |text: &str| Some(text.to_owned());
        for (resource, expected) in [
            (object! { "url": "http://q" }, [None, url("http://q")]),
            (object! { "url": "http://q", "version": "1" }, [url("http://q|1"), url("http://q")]),
            (object! { "version": "1" }, [None, None]),
            (object! { "url": "" }, [None, None]),
            (object! { "url": "http://q|1" }, [None, None]),
        ] {
            assert_eq!(urls(&resource), expected, "{resource}");
        }
    }
}
