//! XML as the same sort of document as JSON, so that one kind of path leads through both.
//!
//! `<a b="1"><c>x</c><c>y</c></a>` is `{"a": {"@b": "1", "c": ["x", "y"]}}`: attributes have an `@`, elements of the same
//! name are a list, an element of text alone is that text, and text beside other things is `#text`. Prefixes of
//! namespaces are left out. <https://www.w3.org/TR/xml/>

use fhir::json::{Json, Object};
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// Deepest nesting of elements.
const MAX_DEPTH: usize = 64;

/// Different names inside of one element at most: more is no record of a reading.
const MAX_NAMES: usize = 256;

/// An element that is not yet at its end.
#[derive(Default)]
struct Open {
    name: String,
    members: Vec<(String, Vec<Json>)>,
    text: String,
}

/// Reads a document; the reason why it is none.
pub(super) fn read(bytes: &[u8]) -> Result<Json, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "Body is not UTF-8".to_owned())?;
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut open = vec![Open::default()];
    loop {
        let offset = reader.buffer_position();
        match reader.read_event().map_err(|cause| format!("Body is not well formed XML: {cause}"))? {
            Event::DocType(_) => return Err("XML with a document type is not taken".to_owned()),
            Event::Start(start) => {
                if open.len() > MAX_DEPTH {
                    return Err(format!("XML is nested deeper than {MAX_DEPTH}"));
                }
                open.push(started(&start).map_err(|cause| format!("{cause} at byte {offset}"))?);
            }
            Event::End(_) => {
                let Some(element) = open.pop() else { break };
                let Some(parent) = open.last_mut() else { break };
                let name = element.name.clone();
                parent.add(name, element.finish())?;
            }
            Event::Text(part) => {
                add_text(&mut open, &part.xml_content(XmlVersion::Explicit1_0));
            }
            Event::CData(part) => {
                add_text(&mut open, &part.xml_content(XmlVersion::Explicit1_0));
            }
            Event::GeneralRef(entity) => {
                let name: &str = &entity;
                let resolved = match entity.resolve_char_ref().map_err(|cause| cause.to_string())? {
                    Some(character) => character.to_string(),
                    None => predefined(name).ok_or_else(|| format!("XML entity &{name}; is not known"))?.to_owned(),
                };
                add_text(&mut open, &resolved);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    let whole = open.pop().filter(|root| open.is_empty() && root.members.len() == 1 && root.text.trim().is_empty());
    let whole = whole.filter(|root| root.members.iter().all(|(_, items)| items.len() == 1));
    whole.map(Open::finish).ok_or_else(|| "Body is not one whole XML document".to_owned())
}

impl Open {
    fn add(&mut self, name: String, value: Json) -> Result<(), String> {
        if let Some((_, items)) = self.members.iter_mut().find(|(known, _)| *known == name) {
            items.push(value);
            return Ok(());
        }
        if self.members.len() >= MAX_NAMES {
            return Err(format!("<{}> holds more than {MAX_NAMES} different things", self.name));
        }
        self.members.push((name, vec![value]));
        Ok(())
    }

    fn finish(self) -> Json {
        let text = self.text.trim();
        if self.members.is_empty() {
            return if text.is_empty() { Json::Null } else { text.into() };
        }
        let mut object = Object::new();
        for (name, mut items) in self.members {
            let single = if items.len() == 1 { items.pop() } else { None };
            object.insert(&name, single.unwrap_or(Json::Array(items)));
        }
        if !text.is_empty() {
            object.insert("#text", text);
        }
        object.into()
    }
}

fn add_text(open: &mut [Open], part: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(part);
    }
}

fn started(start: &BytesStart<'_>) -> Result<Open, String> {
    let mut element = Open { name: local(start.name().as_ref()).to_owned(), ..Open::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|cause| cause.to_string())?;
        let name = attribute.key.as_ref();
        if name == "xmlns" || name.starts_with("xmlns:") {
            continue;
        }
        let value = attribute.normalized_value(XmlVersion::Explicit1_0).map_err(|cause| cause.to_string())?;
        element.add(format!("@{}", local(name)), value.into_owned().into())?;
    }
    Ok(element)
}

/// A name without its prefix.
fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// The entities that every document knows; others would come from a document type.
fn predefined(name: &str) -> Option<&'static str> {
    Some(match name {
        "lt" => "<",
        "gt" => ">",
        "amp" => "&",
        "quot" => "\"",
        "apos" => "'",
        _ => return None,
    })
}
