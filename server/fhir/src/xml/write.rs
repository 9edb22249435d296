//! The JSON document to XML.

use super::{FHIR_NAMESPACE, Path, XmlError, is_xml_character, narrative};
use crate::definitions::{Element, Kind, Primitive, TypeDefinition, is_resource_type, r4};
use crate::json::{Json, MAX_OWN_DEPTH, Object};

pub(super) fn document(resource: &Json) -> Result<String, XmlError> {
    let mut encoder =
        Encoder { out: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"), path: Path::default() };
    encoder.resource(resource, None)?;
    Ok(encoder.out)
}

struct Encoder {
    out: String,
    path: Path,
}

/// A member with its `_` sibling.
struct Member<'a> {
    index: usize,
    name: &'a str,
    element: &'static Element,
    definition: &'static TypeDefinition,
    value: Option<&'a Json>,
    sibling: Option<&'a Json>,
}

impl Encoder {
    /// Writes a resource; `expected` is the type of the element it stands in.
    fn resource(&mut self, resource: &Json, expected: Option<&TypeDefinition>) -> Result<(), XmlError> {
        let name = resource.str("resourceType").unwrap_or_default();
        let (Some(object), Some(definition)) = (resource.as_object(), r4().get(name)) else {
            return Err(self.error("a resource with a known resourceType was expected"));
        };
        let fits = expected.is_none_or(|expected| r4().is_subtype(name, &expected.name));
        if !is_resource_type(name) || !fits {
            return Err(self.error(format!("{name} is not a resource type that may stand here")));
        }
        self.out.push('<');
        self.out.push_str(name);
        if expected.is_none() {
            self.path.push(&definition.name, None);
            self.out.push_str(" xmlns=\"");
            self.out.push_str(FHIR_NAMESPACE);
            self.out.push('"');
        }
        self.content(name, object, None, definition)
    }

    /// Writes what follows `<name`: attributes, children, closing tag.
    fn content(
        &mut self,
        name: &str,
        object: &Object,
        value: Option<&str>,
        definition: &'static TypeDefinition,
    ) -> Result<(), XmlError> {
        if self.path.steps.len() > MAX_OWN_DEPTH {
            return Err(self.error(format!("nested deeper than {MAX_OWN_DEPTH} levels")));
        }
        let members = self.members(object, definition)?;
        // A reader would refuse it: an element has a value, children or at least an id.
        if members.is_empty() && value.is_none() && definition.kind != Kind::Resource {
            return Err(self.error("an element must have a value, an extension or children"));
        }
        for member in members.iter().filter(|member| member.element.xml_attribute) {
            match (member.value.and_then(Json::as_str), member.sibling) {
                (Some(text), None) => self.attribute(&member.element.name, text)?,
                _ => return Err(self.error(format!("{} is an attribute in XML: a plain string", member.name))),
            }
        }
        if let Some(value) = value {
            self.attribute("value", value)?;
        }
        if members.iter().all(|member| member.element.xml_attribute) {
            self.out.push_str("/>");
            return Ok(());
        }
        self.out.push('>');
        for member in members.iter().filter(|member| !member.element.xml_attribute) {
            self.member(member)?;
        }
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
        Ok(())
    }

    /// Members with their siblings, in the order of the definition.
    fn members<'a>(
        &self,
        object: &'a Object,
        definition: &'static TypeDefinition,
    ) -> Result<Vec<Member<'a>>, XmlError> {
        let mut members: Vec<Member<'a>> = Vec::with_capacity(object.len());
        for (written, json) in object.iter() {
            if written == "resourceType" && definition.kind == Kind::Resource {
                continue;
            }
            let name = written.strip_prefix('_').unwrap_or(written);
            let position = members.iter().position(|member| member.name == name).map_or_else(
                || {
                    let (index, element, element_type) = definition.member_at(name)?;
                    let definition = r4().definition(element_type)?;
                    members.push(Member { index, name, element, definition, value: None, sibling: None });
                    Some(members.len() - 1)
                },
                Some,
            );
            let Some(position) = position else {
                return Err(self.error(format!("{written} is not an element of {}", definition.name)));
            };
            let member = &mut members[position];
            if written.starts_with('_') {
                if member.definition.primitive.is_none() {
                    return Err(self.error(format!("{written}: only primitive elements have such a sibling")));
                }
                member.sibling = Some(json);
            } else {
                member.value = Some(json);
            }
        }
        members.sort_by_key(|member| member.index);
        Ok(members)
    }

    fn member(&mut self, member: &Member<'_>) -> Result<(), XmlError> {
        let (values, siblings) =
            (member.value.map_or(&[][..], Json::items), member.sibling.map_or(&[][..], Json::items));
        let repeats = member.element.repeats();
        let is_array = |json: Option<&Json>| matches!(json, Some(Json::Array(_)));
        if !repeats && (is_array(member.value) || is_array(member.sibling)) {
            return Err(self.error(format!("{} does not repeat: an array may not stand here", member.name)));
        }
        for index in 0..values.len().max(siblings.len()) {
            self.path.push(&member.element.name, repeats.then_some(index));
            let value = values.get(index).filter(|json| **json != Json::Null);
            let sibling = siblings.get(index).filter(|json| **json != Json::Null);
            self.occurrence(member, value, sibling)?;
            self.path.pop();
        }
        Ok(())
    }

    fn occurrence(
        &mut self,
        member: &Member<'_>,
        value: Option<&Json>,
        sibling: Option<&Json>,
    ) -> Result<(), XmlError> {
        let definition = member.definition;
        if let Some(primitive) = definition.primitive {
            return self.primitive(member, primitive, value, sibling);
        }
        let Some(value) = value else { return Err(self.error("null may not stand here")) };
        self.out.push('<');
        self.out.push_str(member.name);
        if definition.kind == Kind::Resource {
            self.out.push('>');
            self.resource(value, Some(definition))?;
            self.out.push_str("</");
            self.out.push_str(member.name);
            self.out.push('>');
            return Ok(());
        }
        match value.as_object() {
            Some(object) => self.content(member.name, object, None, definition),
            None => Err(self.error("an object was expected")),
        }
    }

    fn primitive(
        &mut self,
        member: &Member<'_>,
        primitive: Primitive,
        value: Option<&Json>,
        sibling: Option<&Json>,
    ) -> Result<(), XmlError> {
        let text = match value {
            None => None,
            Some(Json::Bool(true)) => Some("true"),
            Some(Json::Bool(false)) => Some("false"),
            Some(Json::Number(text) | Json::String(text)) => Some(&**text),
            Some(_) => return Err(self.error("a single value was expected")),
        };
        if primitive == Primitive::Xhtml {
            let text = text.unwrap_or_default();
            narrative::check(text).map_err(|message| self.error(message))?;
            self.refuse_foreign_characters(text)?;
            self.out.push_str(text);
            return Ok(());
        }
        let nothing = Object::new();
        let object = match sibling {
            None => &nothing,
            Some(Json::Object(object)) if object.get("value").is_none() => object,
            Some(_) => return Err(self.error("the _ sibling of a primitive holds id and extension")),
        };
        if text.is_none() && object.is_empty() {
            return Err(self.error("an element must have a value, an extension or children"));
        }
        self.out.push('<');
        self.out.push_str(member.name);
        self.content(member.name, object, text, member.definition)
    }

    fn attribute(&mut self, name: &str, value: &str) -> Result<(), XmlError> {
        self.refuse_foreign_characters(value)?;
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("=\"");
        let mut start = 0;
        for (index, byte) in value.bytes().enumerate() {
            let escape = match byte {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                // Written as they are, a reader would make spaces of them.
                b'\t' => "&#9;",
                b'\n' => "&#10;",
                b'\r' => "&#13;",
                _ => continue,
            };
            self.out.push_str(&value[start..index]);
            self.out.push_str(escape);
            start = index + 1;
        }
        self.out.push_str(&value[start..]);
        self.out.push('"');
        Ok(())
    }

    fn refuse_foreign_characters(&self, text: &str) -> Result<(), XmlError> {
        match text.chars().find(|character| !is_xml_character(*character)) {
            Some(character) => Err(self.error(format!("U+{:04X} cannot be written in XML 1.0", u32::from(character)))),
            None => Ok(()),
        }
    }

    fn error(&self, message: impl Into<String>) -> XmlError {
        self.path.error(None, message)
    }
}
