//! Builds the definitions from the text of HL7's `StructureDefinition` resources.

use super::reader::Reader;
use super::{
    Definitions, Element, ElementType, Kind, MemberIndex, NO_DEFINITION, Primitive, TypeDefinition, member_order,
};
use std::collections::HashMap;

const DEFINITION_URL: &str = "http://hl7.org/fhir/StructureDefinition/";
const SYSTEM_URL: &str = "http://hl7.org/fhirpath/";
const FHIR_TYPE_URL: &str = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type";

/// What a line of the definitions says, as far as it is wanted.
#[derive(Default)]
struct Structure<'a> {
    type_name: &'a str,
    kind: &'a str,
    abstract_: bool,
    base: Option<&'a str>,
    constraint: bool,
    elements: Vec<Snapshot<'a>>,
}

/// One element of a snapshot.
#[derive(Default)]
struct Snapshot<'a> {
    path: &'a str,
    min: u32,
    max: Option<u32>,
    types: Vec<SnapshotType<'a>>,
    content_reference: Option<&'a str>,
    xml_attribute: bool,
    summary: bool,
    binding: Binding<'a>,
}

/// What the codes of an element are of.
#[derive(Default)]
struct Binding<'a> {
    strength: &'a str,
    value_set: &'a str,
}

impl<'a> Binding<'a> {
    /// The value set, without its version, if its codes are the only ones.
    fn required(&self) -> Option<&'a str> {
        let value_set = self.value_set.split('|').next().unwrap_or_default();
        Some(value_set).filter(|it| self.strength == "required" && !it.is_empty())
    }
}

/// One type of an element in a snapshot.
#[derive(Default)]
struct SnapshotType<'a> {
    code: &'a str,
    /// What an attribute whose code is a system type really is: a string, an id, a uri.
    fhir_type: Option<&'a str>,
    target: Vec<String>,
}

/// Reads texts with one `StructureDefinition` a line.
pub(super) fn load(texts: &[&str]) -> Definitions {
    let mut types = Vec::with_capacity(900);
    for line in texts.iter().flat_map(|text| text.lines()) {
        let structure = read_structure(line);
        // Constraints on types (SimpleQuantity) and logical models are no types of their own.
        if !structure.constraint && structure.kind != "logical" {
            add_types(&structure, &mut types);
        }
    }
    let by_name: HashMap<Box<str>, u32> =
        types.iter().zip(0..).map(|(definition, index)| (definition.name.as_str().into(), index)).collect();
    for definition in &mut types {
        link(definition, &by_name);
    }
    let mut resource_types: Vec<String> = types
        .iter()
        .filter(|definition| definition.kind == Kind::Resource && !definition.abstract_)
        .map(|definition| definition.name.clone())
        .collect();
    resource_types.sort_unstable();
    Definitions { types, by_name, resource_types }
}

fn read_structure(line: &str) -> Structure<'_> {
    let mut structure = Structure::default();
    Reader::new(line).object(|name, reader| match name {
        "type" => structure.type_name = reader.string(),
        "kind" => structure.kind = reader.string(),
        "abstract" => structure.abstract_ = reader.scalar() == "true",
        "baseDefinition" => structure.base = reader.string().strip_prefix(DEFINITION_URL),
        "derivation" => structure.constraint = reader.string() == "constraint",
        "snapshot" => reader.object(|name, reader| match name {
            "element" => reader.array(|reader| structure.elements.push(read_element(reader))),
            _ => reader.skip(),
        }),
        _ => reader.skip(),
    });
    structure
}

fn read_element<'a>(reader: &mut Reader<'a>) -> Snapshot<'a> {
    let mut element = Snapshot::default();
    reader.object(|name, reader| match name {
        "path" => element.path = reader.string(),
        "min" => element.min = reader.scalar().parse().unwrap_or(0),
        "max" => element.max = reader.string().parse().ok(),
        "type" => reader.array(|reader| element.types.push(read_type(reader))),
        "contentReference" => element.content_reference = reader.string().strip_prefix('#'),
        "isSummary" => element.summary = reader.scalar() == "true",
        "binding" => reader.object(|name, reader| match name {
            "strength" => element.binding.strength = reader.string(),
            "valueSet" => element.binding.value_set = reader.string(),
            _ => reader.skip(),
        }),
        "representation" => reader.array(|reader| element.xml_attribute |= reader.string() == "xmlAttr"),
        _ => reader.skip(),
    });
    element
}

fn read_type<'a>(reader: &mut Reader<'a>) -> SnapshotType<'a> {
    let mut element_type = SnapshotType::default();
    reader.object(|name, reader| match name {
        "code" => element_type.code = reader.string().trim_start_matches(SYSTEM_URL),
        "targetProfile" => reader.array(|reader| {
            let target = reader.string().trim_start_matches(DEFINITION_URL);
            if target != "Resource" {
                element_type.target.push(target.to_owned());
            }
        }),
        "extension" => reader.array(|reader| {
            let (mut url, mut value) = ("", "");
            reader.object(|name, reader| match name {
                "url" => url = reader.string(),
                "valueUrl" => value = reader.string(),
                _ => reader.skip(),
            });
            if url == FHIR_TYPE_URL {
                element_type.fhir_type = Some(value);
            }
        }),
        _ => reader.skip(),
    });
    element_type
}

/// Adds the type that the structure defines, and one for each of its elements that has children.
fn add_types(structure: &Structure<'_>, types: &mut Vec<TypeDefinition>) {
    let Some((root, elements)) = structure.elements.split_first() else { return };
    let kind = match structure.kind {
        "primitive-type" => Kind::Primitive,
        "resource" => Kind::Resource,
        _ => Kind::Complex,
    };
    let first = types.len();
    let mut places = HashMap::from([(root.path, first)]);
    types.push(TypeDefinition {
        name: structure.type_name.to_owned(),
        kind,
        abstract_: structure.abstract_,
        base: structure.base.map(str::to_owned),
        elements: Vec::new(),
        primitive: if kind == Kind::Primitive { Primitive::of(structure.type_name) } else { None },
        members: Vec::new(),
    });
    for (index, snapshot) in elements.iter().enumerate() {
        let Some((parent, name)) = snapshot.path.rsplit_once('.') else { continue };
        let has_children = elements
            .get(index + 1)
            .is_some_and(|next| next.path.strip_prefix(snapshot.path).is_some_and(|rest| rest.starts_with('.')));
        if has_children {
            places.insert(snapshot.path, types.len());
            types.push(backbone(snapshot));
        }
        let content = if has_children { Some(snapshot.path) } else { snapshot.content_reference };
        let element = element(name, snapshot, content, kind == Kind::Primitive, elements);
        types[places[parent]].elements.push(element);
    }
}

fn backbone(snapshot: &Snapshot<'_>) -> TypeDefinition {
    TypeDefinition {
        name: snapshot.path.to_owned(),
        kind: Kind::Complex,
        abstract_: false,
        base: snapshot.types.first().map(|element_type| element_type.code.to_owned()),
        elements: Vec::new(),
        primitive: None,
        members: Vec::new(),
    }
}

fn element(
    name: &str,
    snapshot: &Snapshot<'_>,
    content: Option<&str>,
    of_primitive: bool,
    elements: &[Snapshot<'_>],
) -> Element {
    // The types of an element that borrows its content are those of the lender.
    let lender = elements.iter().find(|other| Some(other.path) == snapshot.content_reference).unwrap_or(snapshot);
    let types = lender.types.iter().map(|element_type| {
        // Only the value of a primitive is no FHIR element: it keeps its system type.
        let fhir_type = if of_primitive && name == "value" { None } else { element_type.fhir_type };
        ElementType {
            code: fhir_type.unwrap_or(element_type.code).to_owned(),
            target: element_type.target.clone(),
            definition: NO_DEFINITION,
        }
    });
    Element {
        name: name.trim_end_matches("[x]").to_owned(),
        choice: name.ends_with("[x]"),
        types: types.collect(),
        min: snapshot.min,
        max: snapshot.max,
        content: content.map(str::to_owned),
        xml_attribute: snapshot.xml_attribute,
        summary: snapshot.summary,
        required: lender.binding.required().map(Into::into),
    }
}

fn link(definition: &mut TypeDefinition, by_name: &HashMap<Box<str>, u32>) {
    let mut members = Vec::new();
    for (element, index) in definition.elements.iter_mut().zip(0_u16..) {
        for element_type in &mut element.types {
            let name = element.content.as_deref().unwrap_or(&element_type.code);
            element_type.definition = by_name.get(name).copied().unwrap_or(NO_DEFINITION);
        }
        for (element_type, place) in element.types.iter().zip(0..) {
            let name = element.member_name(element_type).into();
            members.push(MemberIndex { name, element: index, element_type: Some(place) });
        }
        if element.choice {
            members.push(MemberIndex { name: element.name.as_str().into(), element: index, element_type: None });
        }
    }
    members.sort_unstable_by(|left, right| member_order(&left.name, &right.name));
    definition.members = members;
}
