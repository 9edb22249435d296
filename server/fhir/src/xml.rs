//! XML form of resources, both ways. <https://hl7.org/fhir/R4/xml.html>
//!
//! Directed by the definitions: they say what repeats, what is an attribute, which type a choice has and in which order
//! elements stand. Decimals keep their text, narratives their bytes. What XML brings along and FHIR has no use for
//! (document types, entities, processing instructions, CDATA, foreign namespaces) is refused; comments are passed over.

use crate::json::Json;
use std::fmt::Write as _;

pub mod narrative;
mod read;
mod write;

const FHIR_NAMESPACE: &str = "http://hl7.org/fhir";
const XHTML_NAMESPACE: &str = "http://www.w3.org/1999/xhtml";
const SCHEMA_INSTANCE_NAMESPACE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Most attributes of one element: telling duplicates apart is quadratic in their number.
const MAX_ATTRIBUTES: usize = 64;
/// Longest message: names in documents can be of any length.
const MAX_MESSAGE: usize = 300;

/// Why a document cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}{}", place(" at ", path), offset.map(|offset| format!(" (byte {offset})")).unwrap_or_default())]
pub struct XmlError {
    /// FHIRPath of the element concerned, empty if it is the document as a whole.
    pub path: String,
    /// Offset in bytes from the start of the document, when reading.
    pub offset: Option<usize>,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Reads a resource from its XML form.
pub fn to_json(text: &[u8]) -> Result<Json, XmlError> {
    let text = std::str::from_utf8(text).map_err(|error| XmlError {
        path: String::new(),
        offset: Some(error.valid_up_to()),
        message: "not UTF-8, the only encoding that is accepted".into(),
    })?;
    read::document(text)
}

/// Writes a resource in its XML form.
pub fn from_json(resource: &Json) -> Result<String, XmlError> {
    write::document(resource)
}

/// Where in a resource the reader or writer is.
#[derive(Default)]
struct Path {
    steps: Vec<(&'static str, Option<usize>)>,
}

impl Path {
    fn push(&mut self, name: &'static str, index: Option<usize>) {
        self.steps.push((name, index));
    }

    fn pop(&mut self) {
        self.steps.pop();
    }

    fn error(&self, offset: Option<usize>, message: impl Into<String>) -> XmlError {
        let mut path = String::new();
        for (name, index) in &self.steps {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
            if let Some(index) = index {
                let _ = write!(path, "[{index}]");
            }
        }
        XmlError { path, offset, message: shortened(message.into()) }
    }
}

fn shortened(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        message.push('…');
    }
    message
}

fn place(before: &str, path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{before}{path}") }
}

/// Whether there is U+FFFE or U+FFFF, which no XML document can hold: once stored, nothing that holds the resource could
/// be read as XML. <https://www.w3.org/TR/xml/#charsets>
pub fn has_noncharacter(text: &str) -> bool {
    !text.is_ascii() && text.contains(['\u{fffe}', '\u{ffff}'])
}

/// Whether XML 1.0 can hold the character. <https://www.w3.org/TR/xml/#charsets>
pub(crate) fn is_xml_character(character: char) -> bool {
    !matches!(character, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests;
