//! Targets of data types. <https://hl7.org/fhir/R4/search.html#reference>
//!
//! `Reference` by its literal reference, one to a version of a resource elsewhere also without the version; canonical
//! and uri as written and, where a version follows `|`, also without it, so that a search without version finds every
//! version. Contained resources are no targets. A resource inside a Bundle (`Bundle?composition=…`) is its own target.

use fhir::json::Json;

use super::target;
use crate::entry::{IndexValue, Target};

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
