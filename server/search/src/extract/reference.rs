//! Targets of data types. <https://hl7.org/fhir/R4/search.html#reference>
//!
//! `Reference` by its literal reference, one to a version of a resource elsewhere also without the version; canonical
//! and uri as written and, where a version follows `|`, also without it, so that a search without version finds every
//! version; besides, to lead anywhere, exactly as stated. Contained resources are no targets. A resource inside a Bundle (`Bundle?composition=…`) is its own target.

use fhir::json::Json;
use fhir::reference::Reference;

use super::target;
use crate::entry::{IndexValue, Target};
use crate::query::Param;
use crate::registry::registry;

pub(super) fn values(type_name: &str, json: &Json, base: &str, values: &mut Vec<IndexValue>) {
    if let Some(text) = json.as_str() {
        let unversioned = text.split_once('|').map(|(url, _)| url);
        let targets = [Some(text), unversioned].into_iter().flatten().filter_map(|text| target(text, base));
        values.extend(targets.map(IndexValue::Reference));
    } else if type_name == "Reference" {
        let Some(text) = json.str("reference") else { return };
        let of_any_version = text.split_once("/_history/").and_then(|(url, _)| target(url, base));
        let elsewhere = of_any_version.filter(|it| matches!(it, Target::Url(_)));
        values.extend([target(text, base), elsewhere].into_iter().flatten().map(IndexValue::Reference));
    } else if let (Some(resource_type), Some(id)) = (json.str("resourceType"), json.str("id")) {
        let (resource_type, id) = (resource_type.to_owned(), id.to_owned());
        values.push(IndexValue::Reference(Target::Local { resource_type, id }));
    }
}

/// Canonical URLs as they are stated; what is inside another resource is none.
pub(super) fn stated(_type_name: &str, json: &Json, values: &mut Vec<IndexValue>) {
    let url = json.as_str().filter(|text| !text.is_empty() && !text.starts_with('#'));
    values.extend(url.map(|text| IndexValue::Reference(Target::Url(text.to_owned()))));
}

/// What of this server a resource refers to by a parameter, read from the resource itself: type, logical id, and the version
/// if one is named. <https://hl7.org/fhir/R4/references.html#versions>
pub fn local_references(param: &Param, resource: &Json, base: &str) -> Vec<(String, String, Option<String>)> {
    let local = |text: String| match Reference::parse(&text, base) {
        Reference::Local { resource_type, id, version } => Some((resource_type, id, version)),
        _ => None,
    };
    texts(param, resource, |element| element.str("reference")).into_iter().filter_map(local).collect()
}

/// The canonical URLs that a resource states by a parameter, read from the resource itself.
pub fn stated_canonicals(param: &Param, resource: &Json) -> Vec<String> {
    texts(param, resource, Json::as_str)
}

/// Texts of the elements that a parameter selects.
fn texts(param: &Param, resource: &Json, text_of: fn(&Json) -> Option<&str>) -> Vec<String> {
    let registry = registry();
    let parameter = registry.find(resource.str("resourceType").unwrap_or_default(), &param.code);
    let Some(parameter) = parameter.filter(|it| it.id == param.id) else { return Vec::new() };
    // It was indexed, or was when it was current.
    let elements = parameter.select(resource).unwrap_or_default();
    elements.iter().filter_map(|element| text_of(&element.json).map(str::to_owned)).collect()
}
