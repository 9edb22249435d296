//! The `div` of a narrative, which is carried as it is written. <https://hl7.org/fhir/R4/narrative.html>

use super::{MAX_ATTRIBUTES, XHTML_NAMESPACE, shortened};
use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;
use std::borrow::Cow;

/// Deepest nesting of elements.
const MAX_DEPTH: usize = 256;

/// What a narrative holds beside text.
#[derive(Debug)]
pub enum Part<'a> {
    /// The start of an element: its name, and its attributes with entities resolved.
    Element(&'a str, &'a [(&'a str, Cow<'a, str>)]),
    /// A comment, without its marks.
    Comment(&'a str),
    /// A CDATA section.
    CData,
}

/// Shows everything but the text of a narrative to `part`. Fails with the first thing that `part` refuses, or because the
/// text is not one well-formed `div` of XHTML that stands on its own and can be put into a document without changing
/// anything around it. Which elements it may hold is for [`crate::narrative`] to say.
pub fn visit(text: &str, part: impl FnMut(Part<'_>) -> Result<(), String>) -> Result<(), String> {
    walk(text, part).map_err(shortened)
}

/// Whether the text is a narrative that can be put into a document.
pub(super) fn check(text: &str) -> Result<(), String> {
    visit(text, |_| Ok(()))
}

fn walk(text: &str, mut part: impl FnMut(Part<'_>) -> Result<(), String>) -> Result<(), String> {
    let mut reader = NsReader::from_str(text);
    reader.config_mut().enable_all_checks(true);
    let mut depth = 0_usize;
    let mut complete = false;
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|error| format!("narrative: {error}"))?;
        let outside = depth == 0;
        match event {
            Event::Start(ref start) | Event::Empty(ref start) => {
                let name = start.name();
                let xhtml = namespace == ResolveResult::Bound(Namespace(XHTML_NAMESPACE));
                if outside && (complete || !xhtml || name.as_ref() != "div") {
                    return Err(format!("a narrative must be one <div xmlns=\"{XHTML_NAMESPACE}\">"));
                }
                if !xhtml {
                    return Err(format!("narrative: <{}> must be in the namespace {XHTML_NAMESPACE}", name.as_ref()));
                }
                complete = true;
                part(Part::Element(name.as_ref(), &attributes(start)?))?;
                depth += usize::from(matches!(event, Event::Start(_)));
                if depth > MAX_DEPTH {
                    return Err(format!("a narrative may be nested {MAX_DEPTH} levels deep at most"));
                }
            }
            Event::End(_) => depth -= 1,
            Event::GeneralRef(reference) if !outside => check_reference(&reference)?,
            Event::Text(_) if !outside => {}
            Event::CData(_) if !outside => part(Part::CData)?,
            Event::Comment(comment) if !outside => part(Part::Comment(&comment))?,
            Event::Eof if outside && complete => return Ok(()),
            Event::Eof => return Err("the narrative ends before its </div>".into()),
            _ => return Err("a narrative must hold nothing but its div, without declarations or instructions".into()),
        }
    }
}

fn attributes<'a>(start: &'a BytesStart<'_>) -> Result<Vec<(&'a str, Cow<'a, str>)>, String> {
    let mut found = Vec::new();
    for attribute in start.attributes() {
        if found.len() == MAX_ATTRIBUTES {
            return Err(format!("narrative: an element has at most {MAX_ATTRIBUTES} attributes"));
        }
        let attribute = attribute.map_err(|error| format!("narrative: {error}"))?;
        if attribute.value.contains('<') {
            return Err("narrative: '<' in an attribute must be written as &lt;".into());
        }
        let value =
            attribute.normalized_value(XmlVersion::Explicit1_0).map_err(|error| format!("narrative: {error}"))?;
        found.push((attribute.key.into_inner(), value));
    }
    Ok(found)
}

fn check_reference(reference: &BytesRef<'_>) -> Result<(), String> {
    let name = reference.xml10_content();
    let known = if reference.is_char_ref() {
        matches!(reference.resolve_char_ref(), Ok(Some(character)) if super::is_xml_character(character))
    } else {
        matches!(&*name, "amp" | "lt" | "gt" | "quot" | "apos")
    };
    if known {
        return Ok(());
    }
    Err(format!("narrative: the entity &{name}; is not defined in XML; write the character itself or its number"))
}
