//! Uris of data types: as written, a canonical with a version also without it. <https://hl7.org/fhir/R4/search.html#uri>

use fhir::json::Json;

use crate::entry::IndexValue;

pub(super) fn values(type_name: &str, json: &Json, values: &mut Vec<IndexValue>) {
    let Some(text) = json.as_str() else { return };
    let unversioned = text.split_once('|').filter(|_| type_name == "canonical").map(|(url, _)| url);
    let texts = [Some(text), unversioned].into_iter().flatten().filter(|it| !it.is_empty());
    values.extend(texts.map(|it| IndexValue::Uri(it.to_owned())));
}
