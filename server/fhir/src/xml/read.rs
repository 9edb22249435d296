//! XML to the JSON document.

use super::{
    FHIR_NAMESPACE, MAX_ATTRIBUTES, Path, SCHEMA_INSTANCE_NAMESPACE, XHTML_NAMESPACE, XmlError, is_xml_character,
    narrative,
};
use crate::definitions::{Element, Kind, Primitive, TypeDefinition, is_resource_type, r4};
use crate::json::{Json, MAX_DEPTH, Object};
use quick_xml::XmlVersion;
use quick_xml::events::{BytesDecl, BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;

pub(super) fn document(text: &str) -> Result<Json, XmlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut decoder = Decoder::new(text);
    if let Some(offset) = text.char_indices().find(|(_, character)| !is_xml_character(*character)).map(|(at, _)| at) {
        return Err(decoder.path.error(Some(offset), "a character that XML 1.0 does not allow"));
    }
    let Token::Open(start) = decoder.next()? else { return Err(decoder.error("a resource was expected")) };
    let resource = decoder.resource(&start, 0)?;
    match decoder.next()? {
        Token::End => Ok(resource),
        _ => Err(decoder.error("nothing may follow the resource")),
    }
}

struct Decoder<'a> {
    text: &'a str,
    reader: NsReader<&'a [u8]>,
    path: Path,
    /// Where the token at hand begins.
    at: usize,
}

enum Token<'a> {
    Open(Tag<'a>),
    Close,
    End,
}

struct Tag<'a> {
    start: BytesStart<'a>,
    xhtml: bool,
}

/// What one element in the document is by the definitions.
struct Place {
    index: usize,
    element: &'static Element,
    definition: &'static TypeDefinition,
}

/// The occurrences of one member, which stand next to each other in XML.
struct Group {
    place: Place,
    member: String,
    values: Vec<Json>,
    /// What goes into the `_` member: ids and extensions of primitives.
    siblings: Vec<Json>,
}

impl<'a> Decoder<'a> {
    fn new(text: &'a str) -> Self {
        let mut reader = NsReader::from_str(text);
        reader.config_mut().enable_all_checks(true);
        // Every element has a closing token, also <active value="true"/>.
        reader.config_mut().expand_empty_elements = true;
        Self { text, reader, path: Path::default(), at: 0 }
    }

    fn next(&mut self) -> Result<Token<'a>, XmlError> {
        loop {
            self.at = self.reader.buffer_position() as usize;
            let (namespace, event) = match self.reader.read_resolved_event() {
                Ok(read) => read,
                Err(error) => {
                    let offset = self.reader.error_position() as usize;
                    return Err(self.path.error(Some(offset), format!("not well-formed XML: {error}")));
                }
            };
            match event {
                Event::Start(start) | Event::Empty(start) => {
                    let xhtml = match namespace {
                        ResolveResult::Bound(Namespace(FHIR_NAMESPACE)) => false,
                        ResolveResult::Bound(Namespace(XHTML_NAMESPACE)) => true,
                        _ => {
                            let message =
                                format!("<{}> must be in the namespace {FHIR_NAMESPACE}", start.name().as_ref());
                            return Err(self.error(message));
                        }
                    };
                    return Ok(Token::Open(Tag { start, xhtml }));
                }
                Event::End(_) => return Ok(Token::Close),
                Event::Eof => return Ok(Token::End),
                Event::Comment(_) | Event::PI(_) => {}
                Event::Text(text) if text.chars().all(|character| character.is_ascii_whitespace()) => {}
                Event::Decl(declaration) if self.at == 0 => self.check_declaration(&declaration)?,
                other => return Err(self.error(refusal(&other))),
            }
        }
    }

    fn check_declaration(&self, declaration: &BytesDecl<'_>) -> Result<(), XmlError> {
        match declaration.encoding() {
            Some(Ok(name)) if !["utf-8", "us-ascii"].contains(&name.to_ascii_lowercase().as_str()) => {
                Err(self.error(format!("the encoding must be UTF-8, not {name}")))
            }
            Some(Err(error)) => Err(self.error(format!("XML declaration: {error}"))),
            _ => Ok(()),
        }
    }

    fn resource(&mut self, tag: &Tag<'a>, depth: usize) -> Result<Json, XmlError> {
        let name = tag.start.local_name().into_inner();
        let definition = r4().get(name).filter(|_| !tag.xhtml && is_resource_type(name));
        let Some(definition) = definition else {
            return Err(self.error(format!("<{name}> is not a resource type of FHIR R4")));
        };
        let outermost = self.path.steps.is_empty();
        if outermost {
            self.path.push(&definition.name, None);
        }
        let mut object = Object::new();
        object.insert("resourceType", name);
        self.complex(&tag.start, definition, &mut object, depth)?;
        if outermost {
            self.path.pop();
        }
        Ok(Json::Object(object))
    }

    /// Reads attributes and children up to the closing tag into `object`, in the order of the definition.
    fn complex(
        &mut self,
        start: &BytesStart<'a>,
        definition: &'static TypeDefinition,
        object: &mut Object,
        depth: usize,
    ) -> Result<(), XmlError> {
        if depth >= MAX_DEPTH {
            return Err(self.error(format!("nested deeper than {MAX_DEPTH} levels of its JSON form")));
        }
        let mut attributes = self.attributes(start, definition)?.into_iter().peekable();
        let mut group: Option<Group> = None;
        loop {
            let tag = match self.next()? {
                Token::Open(tag) => tag,
                Token::Close => break,
                Token::End => {
                    return Err(self.error(format!("the document ends inside of <{}>", start.name().as_ref())));
                }
            };
            let name = tag.start.local_name().into_inner();
            if group.as_ref().is_none_or(|group| group.member != name) {
                let place = self.place(definition, &tag, name)?;
                let last = group.as_ref().map(|group| (group.place.index, group.place.element.name.as_str()));
                if let Some((_, last)) = last.filter(|(index, _)| *index > place.index) {
                    return Err(self.error(format!("<{name}> must stand before <{last}>")));
                }
                flush(group.take(), object);
                while let Some((_, member, value)) = attributes.next_if(|(index, ..)| *index < place.index) {
                    object.insert(member, value);
                }
                group = Some(Group { place, member: name.to_owned(), values: Vec::new(), siblings: Vec::new() });
            } else if tag.xhtml != is_xhtml(group.as_ref().map(|group| group.place.definition)) {
                return Err(self.error(format!("<{name}> is in the wrong namespace")));
            }
            if let Some(group) = &mut group {
                self.occurrence(&tag, group, depth)?;
            }
        }
        flush(group, object);
        for (_, member, value) in attributes {
            object.insert(member, value);
        }
        Ok(())
    }

    fn place(&self, definition: &'static TypeDefinition, tag: &Tag<'a>, name: &str) -> Result<Place, XmlError> {
        let found = definition.member_at(name).and_then(|(index, element, element_type)| {
            let definition = r4().definition(element_type)?;
            Some(Place { index, element, definition }).filter(|place| !place.element.xml_attribute)
        });
        match found {
            Some(place) if is_xhtml(Some(place.definition)) != tag.xhtml => {
                let namespace = if tag.xhtml { FHIR_NAMESPACE } else { XHTML_NAMESPACE };
                Err(self.error(format!("<{name}> must be in the namespace {namespace}")))
            }
            Some(place) => Ok(place),
            None => Err(self.error(format!("<{name}> is not an element of {}", definition.name))),
        }
    }

    /// Reads one occurrence of an element up to its closing tag.
    fn occurrence(&mut self, tag: &Tag<'a>, group: &mut Group, depth: usize) -> Result<(), XmlError> {
        let repeats = group.place.element.repeats();
        let index = group.values.len();
        if index > 0 && !repeats {
            return Err(self.error(format!("<{}> must not occur more than once", group.member)));
        }
        let depth = depth + 1 + usize::from(repeats);
        self.path.push(&group.place.element.name, repeats.then_some(index));
        let definition = group.place.definition;
        let (value, sibling) = match (definition.kind, definition.primitive) {
            (_, Some(Primitive::Xhtml)) => (self.narrative(tag)?, Json::Null),
            (_, Some(primitive)) => self.primitive(&tag.start, definition, primitive, depth)?,
            (Kind::Resource, _) => (self.contained(tag, definition, depth)?, Json::Null),
            _ => {
                let mut object = Object::new();
                self.complex(&tag.start, definition, &mut object, depth)?;
                (Json::Object(object), Json::Null)
            }
        };
        self.path.pop();
        group.values.push(value);
        group.siblings.push(sibling);
        Ok(())
    }

    fn primitive(
        &mut self,
        start: &BytesStart<'a>,
        definition: &'static TypeDefinition,
        primitive: Primitive,
        depth: usize,
    ) -> Result<(Json, Json), XmlError> {
        let mut sibling = Object::new();
        self.complex(start, definition, &mut sibling, depth)?;
        let value = match sibling.remove("value") {
            Some(Json::String(text)) => self.scalar(primitive, &text)?,
            _ => Json::Null,
        };
        if value == Json::Null && sibling.is_empty() {
            return Err(self.error("an element must have a value, an extension or children"));
        }
        Ok((value, if sibling.is_empty() { Json::Null } else { Json::Object(sibling) }))
    }

    fn scalar(&self, primitive: Primitive, text: &str) -> Result<Json, XmlError> {
        match (primitive, text) {
            (Primitive::Boolean, "true") => Ok(Json::Bool(true)),
            (Primitive::Boolean, "false") => Ok(Json::Bool(false)),
            (Primitive::Boolean, _) => Err(self.error(format!("\"{text}\" is not a boolean: true or false"))),
            _ if primitive.is_number() => match Json::parse(text.as_bytes()) {
                Ok(number @ Json::Number(_)) if !text.contains(char::is_whitespace) => Ok(number),
                _ => Err(self.error(format!("\"{text}\" is not a number"))),
            },
            _ => Ok(text.into()),
        }
    }

    /// A resource inside an element: `<contained><Patient>…</Patient></contained>`.
    fn contained(
        &mut self,
        tag: &Tag<'a>,
        definition: &'static TypeDefinition,
        depth: usize,
    ) -> Result<Json, XmlError> {
        self.refuse_attributes(&tag.start)?;
        let Token::Open(inner) = self.next()? else { return Err(self.error("a resource was expected inside")) };
        let name = inner.start.local_name().into_inner();
        if !r4().is_subtype(name, &definition.name) {
            return Err(self.error(format!("<{name}> stands where {} was expected", definition.name)));
        }
        let resource = self.resource(&inner, depth)?;
        match self.next()? {
            Token::Close => Ok(resource),
            _ => Err(self.error("only one resource may stand here")),
        }
    }

    /// The source text of the `div`, byte for byte.
    fn narrative(&mut self, tag: &Tag<'a>) -> Result<Json, XmlError> {
        let start = self.at;
        self.reader.read_to_end(tag.start.name()).map_err(|error| self.error(format!("narrative: {error}")))?;
        let text = &self.text[start..self.reader.buffer_position() as usize];
        narrative::check(text).map_err(|message| self.path.error(Some(start), message))?;
        Ok(text.into())
    }

    /// The attributes that are elements by the definition, in its order.
    fn attributes(
        &self,
        start: &BytesStart<'a>,
        definition: &'static TypeDefinition,
    ) -> Result<Vec<(usize, &'static str, Json)>, XmlError> {
        let mut found = Vec::new();
        for (count, attribute) in start.attributes().enumerate() {
            if count == MAX_ATTRIBUTES {
                return Err(self.error(format!("an element has at most {MAX_ATTRIBUTES} attributes")));
            }
            let attribute = attribute.map_err(|error| self.error(error.to_string()))?;
            let name = attribute.key.as_ref();
            if attribute.key.as_namespace_binding().is_some() || self.is_schema_hint(&attribute) {
                continue;
            }
            let Some((index, element, _)) = definition.member_at(name).filter(|(_, element, _)| element.xml_attribute)
            else {
                let owner = start.name();
                return Err(self.error(format!("<{}> has no attribute \"{name}\"", owner.as_ref())));
            };
            if attribute.value.contains('<') {
                return Err(self.error(format!("'<' in the attribute \"{name}\" must be written as &lt;")));
            }
            let value =
                attribute.normalized_value(XmlVersion::Explicit1_0).map_err(|error| self.error(error.to_string()))?;
            if !value.chars().all(is_xml_character) {
                return Err(self.error("a character reference to what XML 1.0 does not allow"));
            }
            found.push((index, element.name.as_str(), Json::from(&*value)));
        }
        found.sort_unstable_by_key(|(index, ..)| *index);
        Ok(found)
    }

    fn refuse_attributes(&self, start: &BytesStart<'a>) -> Result<(), XmlError> {
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| self.error(error.to_string()))?;
            // Bindings are bounded by the reader, anything else ends it.
            if attribute.key.as_namespace_binding().is_none() {
                return Err(self.error(format!("the attribute \"{}\" may not stand here", attribute.key.as_ref())));
            }
        }
        Ok(())
    }

    /// `xsi:schemaLocation` and its kin, which tools write and nobody needs.
    fn is_schema_hint(&self, attribute: &quick_xml::events::attributes::Attribute<'_>) -> bool {
        let (namespace, _) = self.reader.resolver().resolve_attribute(attribute.key);
        namespace == ResolveResult::Bound(Namespace(SCHEMA_INSTANCE_NAMESPACE))
    }

    fn error(&self, message: impl Into<String>) -> XmlError {
        self.path.error(Some(self.at), message)
    }
}

fn flush(group: Option<Group>, object: &mut Object) {
    let Some(mut group) = group else { return };
    let has_value = group.values.iter().any(|value| *value != Json::Null);
    let has_sibling = group.siblings.iter().any(|sibling| *sibling != Json::Null);
    let sibling_member = format!("_{}", group.member);
    if group.place.element.repeats() {
        if has_value {
            object.insert(&group.member, group.values);
        }
        if has_sibling {
            object.insert(&sibling_member, group.siblings);
        }
        return;
    }
    if let Some(value) = group.values.pop().filter(|_| has_value) {
        object.insert(&group.member, value);
    }
    if let Some(sibling) = group.siblings.pop().filter(|_| has_sibling) {
        object.insert(&sibling_member, sibling);
    }
}

fn is_xhtml(definition: Option<&TypeDefinition>) -> bool {
    definition.is_some_and(|definition| definition.primitive == Some(Primitive::Xhtml))
}

fn refusal(event: &Event<'_>) -> &'static str {
    match event {
        Event::DocType(_) => "a document type declaration (DOCTYPE) is not accepted",
        Event::Decl(_) => "an XML declaration may only stand at the very start",
        Event::GeneralRef(_) => "entities are not accepted here",
        Event::CData(_) => "CDATA is not accepted outside of narratives",
        _ => "text is not accepted here: values stand in the attribute \"value\"",
    }
}
