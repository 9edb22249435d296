//! Uris of data types: as written. <https://hl7.org/fhir/R4/search.html#uri>

use fhir::json::Json;

use crate::entry::IndexValue;

pub(super) fn values(json: &Json, values: &mut Vec<IndexValue>) {
    values.extend(json.as_str().filter(|it| !it.is_empty()).map(|it| IndexValue::Uri(it.to_owned())));
}
