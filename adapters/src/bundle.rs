//! Transaction entries with names that are the same on every run. <https://hl7.org/fhir/R4/http.html#transaction>

use std::fmt::Write as _;

use fhir::json::Json;
use uuid::Uuid;

/// One vendor message as a source of resources: who sent it, and under which names its parts are published.
#[derive(Clone, Debug)]
pub(crate) struct Source<'a> {
    /// Base of identifier systems, code systems and extensions.
    pub(crate) namespace: &'a str,
    /// Vendor id as used in those names.
    pub(crate) vendor: &'a str,
    /// What sort of record it is, with a slash behind it, where the vendor has several; else empty.
    pub(crate) of: &'a str,
    /// The vendor's id of the message.
    pub(crate) record: &'a str,
}

impl Source<'_> {
    /// System of an identifier of this vendor.
    pub(crate) fn identifier_system(&self, kind: &str) -> String {
        format!("{}/{}/{kind}", self.namespace, self.vendor)
    }

    /// System of the vendor's own codes.
    pub(crate) fn code_system(&self, name: &str) -> String {
        format!("{}/{}/CodeSystem/{name}", self.namespace, self.vendor)
    }

    /// URL of an extension of this vendor.
    pub(crate) fn extension(&self, name: &str) -> String {
        format!("{}/{}/StructureDefinition/{name}", self.namespace, self.vendor)
    }

    /// `meta.source` of everything made from this message.
    pub(crate) fn uri(&self) -> String {
        format!("{}/{}#{}{}", self.namespace, self.vendor, self.of, self.record)
    }
}

/// A transaction Bundle of `entries`.
pub(crate) fn transaction(entries: Vec<Json>) -> Json {
    fhir::object! { "resourceType": "Bundle", "type": "transaction", "entry": entries }
}

/// An entry that writes state: update the resource with this identifier, or create it.
pub(crate) fn put(resource_type: &str, system: &str, value: &str, resource: Json) -> Json {
    fhir::object! {
        "fullUrl": full_url(system, value),
        "resource": resource,
        "request": fhir::object! {
            "method": "PUT",
            "url": format!("{resource_type}?{}", criteria(system, value)),
        },
    }
}

/// An entry that writes an event: create the resource unless one with this identifier exists.
pub(crate) fn post(resource_type: &str, system: &str, value: &str, resource: Json) -> Json {
    fhir::object! {
        "fullUrl": full_url(system, value),
        "resource": resource,
        "request": fhir::object! {
            "method": "POST",
            "url": resource_type,
            "ifNoneExist": criteria(system, value),
        },
    }
}

/// `urn:uuid:` of `UUIDv5` in the URL namespace over `system|value`: references inside a Bundle stay the same on every run.
pub(crate) fn full_url(system: &str, value: &str) -> String {
    format!("urn:uuid:{}", Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{system}|{value}").as_bytes()))
}

/// A reference to the only resource of a type with an identifier, wherever it is.
pub(crate) fn conditional(resource_type: &str, system: &str, value: &str) -> String {
    format!("{resource_type}?identifier={}|{}", encoded(system), encoded(value))
}

/// Search criteria for an identifier: FHIR's separators escaped, then percent-encoded.
pub(crate) fn criteria(system: &str, value: &str) -> String {
    format!("identifier={}%7C{}", encoded(system), encoded(value))
}

/// A path segment or query value, percent-encoded.
pub(crate) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'/') {
            out.push(char::from(byte));
            continue;
        }
        if matches!(byte, b',' | b'|' | b'$' | b'\\') {
            out.push_str("%5C");
        }
        let _ = write!(out, "%{byte:02X}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criteria_escape_what_search_and_urls_reserve() {
        assert_eq!(criteria("urn:s", "a:b|c, d&e\\$"), r"identifier=urn:s%7Ca:b%5C%7Cc%5C%2C%20d%26e%5C%5C%5C%24");
    }

    #[test]
    fn full_urls_are_named_by_the_identifier() {
        let system = "https://example.org/fhir/adapters/medisante/device-id";
        let url = full_url(system, "TaiDoc:BP800:001-3261717440000AAA-0D");
        assert_eq!(url, "urn:uuid:f3e06636-0044-569f-a3ad-085e4bfc6c10");
    }
}
