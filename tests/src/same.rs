//! When two documents say the same.

use fhir::json::{Json, Object};

/// The document with members in the order of their names, and without what the server adds to what it is given:
/// `meta.versionId` and `meta.lastUpdated`. Numbers keep their written form: 1.0 is not 1.00.
pub fn canonical(document: &Json) -> Json {
    let mut document = document.clone();
    if let Some(resource) = document.as_object_mut() {
        let meta = resource.get_mut("meta").and_then(Json::as_object_mut);
        let emptied = meta.is_some_and(|meta| {
            meta.remove("versionId");
            meta.remove("lastUpdated");
            meta.is_empty()
        });
        if emptied {
            resource.remove("meta");
        }
    }
    sorted(&document)
}

/// Where two canonical documents first differ, for a person: path, expected, found.
pub fn difference(expected: &Json, found: &Json) -> Option<String> {
    differ("", expected, found)
}

fn sorted(value: &Json) -> Json {
    match value {
        Json::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            Json::Object(members.into_iter().map(|(name, member)| (name, sorted(member))).collect::<Object>())
        }
        Json::Array(items) => Json::Array(items.iter().map(sorted).collect()),
        scalar => scalar.clone(),
    }
}

fn differ(path: &str, expected: &Json, found: &Json) -> Option<String> {
    match (expected, found) {
        _ if expected == found => None,
        (Json::Object(one), Json::Object(other)) => {
            let names = one.iter().chain(other.iter()).map(|(name, _)| name);
            names.into_iter().find_map(|name| match (one.get(name), other.get(name)) {
                (Some(one), Some(other)) => differ(&format!("{path}.{name}"), one, other),
                (Some(lost), None) => Some(format!("{path}.{name} lost: {}", brief(lost))),
                (None, Some(new)) => Some(format!("{path}.{name} added: {}", brief(new))),
                (None, None) => None,
            })
        }
        (Json::Array(one), Json::Array(other)) if one.len() == other.len() => {
            let mut pairs = one.iter().zip(other).enumerate();
            pairs.find_map(|(index, (one, other))| differ(&format!("{path}[{index}]"), one, other))
        }
        _ => Some(format!("{path}: {} became {}", brief(expected), brief(found))),
    }
}

fn brief(value: &Json) -> String {
    value.to_string().chars().take(120).collect()
}
