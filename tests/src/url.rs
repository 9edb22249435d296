//! Queries as they stand in a URL.

use url::form_urlencoded::Serializer;

/// `Type?name=value&…`, percent-encoded.
pub fn search(resource_type: &str, pairs: &[(String, String)]) -> String {
    format!("{resource_type}?{}", query(pairs))
}

/// `name=value&…`, percent-encoded.
pub fn query(pairs: &[(String, String)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}
