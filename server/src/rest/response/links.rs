//! Links of a Bundle: where its pages are. <https://hl7.org/fhir/R4/http.html#paging>

use std::fmt::Write as _;

use fhir::json::write_string;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands in a link as it is; `|`, `,` and `:` stay readable.
const LINK: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b',')
    .remove(b':')
    .remove(b'/')
    .remove(b'|');

/// One link of a Bundle.
pub fn write_link(relation: &str, url: &str, out: &mut String) {
    let _ = write!(out, "{{\"relation\":\"{relation}\",\"url\":");
    write_string(url, out);
    out.push('}');
}

/// URL of a page: the parameters that took effect, and where the page begins.
pub fn link(base: &str, path: &str, pairs: &[(String, String)], last: Option<(&str, &str)>) -> String {
    let encoded = |text| utf8_percent_encode(text, LINK);
    let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(last);
    let start = if path.is_empty() { base.to_owned() } else { format!("{base}/{path}") };
    pairs.enumerate().fold(start, |mut url, (index, (name, value))| {
        let separator = if index == 0 { '?' } else { '&' };
        let _ = write!(url, "{separator}{}={}", encoded(name), encoded(value));
        url
    })
}
