//! The R4 types and their elements, from HL7's `StructureDefinition` resources. <https://hl7.org/fhir/R4/structuredefinition.html>
//!
//! Read once for the process from the data of `profiles`, snapshots only. Every element with children of its own
//! (a backbone element) is a type too, named by its path: `Observation.component`. Lookups are a hash for types and a
//! binary search for members, and [`Definitions::definition`] follows an element to its type without any lookup.

use std::collections::HashMap;
use std::sync::OnceLock;

mod load;
mod reader;

/// A place in [`Definitions`] that does not name a type: FHIRPath's system types.
const NO_DEFINITION: u32 = u32::MAX;

/// All types of R4.
#[derive(Debug)]
pub struct Definitions {
    types: Vec<TypeDefinition>,
    by_name: HashMap<Box<str>, u32>,
    resource_types: Vec<String>,
}

/// A primitive type, a data type, a resource type, or a backbone element.
#[derive(Debug)]
pub struct TypeDefinition {
    /// `Patient`, `HumanName`, `date`, or the path of a backbone element: `Patient.contact`.
    pub name: String,
    /// What form values of this type have.
    pub kind: Kind,
    /// Whether only its subtypes have values.
    pub abstract_: bool,
    /// The type it specialises; nothing for `Element` and `Resource`.
    pub base: Option<String>,
    /// Its elements, inherited ones included, in the order that XML prescribes.
    pub elements: Vec<Element>,
    /// Which primitive type it is, if it is one.
    pub primitive: Option<Primitive>,
    members: Vec<MemberIndex>,
}

/// What form values of a type have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A single value, with `id` and extensions beside it.
    Primitive,
    /// Elements; data types and backbone elements.
    Complex,
    /// Elements and a `resourceType`.
    Resource,
}

/// One element of a type.
#[derive(Debug)]
pub struct Element {
    /// Its name without `[x]`: `value` for `value[x]`.
    pub name: String,
    /// Whether the name in a document is followed by the name of the type: `valueQuantity`.
    pub choice: bool,
    /// The types it can have: several for a choice, else one.
    pub types: Vec<ElementType>,
    /// How many there must be.
    pub min: u32,
    /// How many there may be; nothing means any number.
    pub max: Option<u32>,
    /// The name of the type that holds its children, if it is a backbone element: `Observation.component`.
    pub content: Option<String>,
    /// Whether XML writes it as an attribute of its parent.
    pub xml_attribute: bool,
    /// Whether it belongs to the summary of its type. <https://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.isSummary>
    pub summary: bool,
    /// Canonical URL, without version, of the value set that all its codes are of: that of a required binding.
    pub required: Option<Box<str>>,
}

/// One type that an element can have.
#[derive(Debug)]
pub struct ElementType {
    /// `Quantity`, `BackboneElement`, `System.String`.
    pub code: String,
    /// The resource types a `Reference` or `canonical` of it points at; empty means any.
    pub target: Vec<String>,
    definition: u32,
}

/// The primitive types of R4. <https://hl7.org/fhir/R4/datatypes.html#primitive>
#[expect(missing_docs, reason = "the names are the types' names")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Primitive {
    Base64Binary,
    Boolean,
    Canonical,
    Code,
    Date,
    DateTime,
    Decimal,
    Id,
    Instant,
    Integer,
    Markdown,
    Oid,
    PositiveInt,
    String,
    Time,
    UnsignedInt,
    Uri,
    Url,
    Uuid,
    Xhtml,
}

/// A member name of a type's JSON form and where it leads.
#[derive(Debug)]
struct MemberIndex {
    name: Box<str>,
    element: u16,
    /// Which of the element's types; nothing for the bare name of a choice, which is no member.
    element_type: Option<u16>,
}

/// The definitions of R4, read at the first call.
pub fn r4() -> &'static Definitions {
    static DEFINITIONS: OnceLock<Definitions> = OnceLock::new();
    DEFINITIONS.get_or_init(|| {
        load::load(&[&profiles::structure_definitions_types(), &profiles::structure_definitions_resources()])
    })
}

/// The names of the resource types that have instances, sorted.
pub fn resource_types() -> &'static [String] {
    &r4().resource_types
}

/// Whether `name` is a resource type that has instances.
pub fn is_resource_type(name: &str) -> bool {
    r4().get(name).is_some_and(|definition| definition.kind == Kind::Resource && !definition.abstract_)
}

/// The element `name` (`value`, not `valueQuantity`) of the type `type_name`.
pub fn element_of(type_name: &str, name: &str) -> Option<&'static Element> {
    r4().get(type_name)?.element(name)
}

/// The element and the type that the JSON member `member` of the type `type_name` has:
/// `valueQuantity` of `Observation` is the element `value` with the type `Quantity`.
pub fn definition_type_of(type_name: &str, member: &str) -> Option<(&'static Element, &'static ElementType)> {
    r4().get(type_name)?.member(member)
}

impl Definitions {
    /// The type `name`: `Patient`, `date`, `Observation.component`.
    pub fn get(&self, name: &str) -> Option<&TypeDefinition> {
        self.by_name.get(name).map(|index| &self.types[*index as usize])
    }

    /// Every type, backbone elements included.
    pub fn types(&self) -> &[TypeDefinition] {
        &self.types
    }

    /// The definition of an element's type: the backbone element's own, else that of the data type.
    /// FHIRPath's system types have none.
    pub fn definition(&self, element_type: &ElementType) -> Option<&TypeDefinition> {
        self.types.get(element_type.definition as usize)
    }

    /// Whether the type `name` is `ancestor` or specialises it, directly or not.
    pub fn is_subtype(&self, name: &str, ancestor: &str) -> bool {
        let mut current = Some(name);
        while let Some(name) = current {
            if name == ancestor {
                return true;
            }
            current = self.get(name).and_then(|definition| definition.base.as_deref());
        }
        false
    }
}

impl TypeDefinition {
    /// The element `name`: `value`, not `valueQuantity`.
    pub fn element(&self, name: &str) -> Option<&Element> {
        let index = self.find(name)?;
        let element = &self.elements[index.element as usize];
        (element.name == name).then_some(element)
    }

    /// The element and its type for the JSON member `name`: `valueQuantity`, not `value`.
    pub fn member(&self, name: &str) -> Option<(&Element, &ElementType)> {
        self.member_at(name).map(|(_, element, element_type)| (element, element_type))
    }

    /// As [`TypeDefinition::member`], with the element's place in [`TypeDefinition::elements`].
    pub fn member_at(&self, name: &str) -> Option<(usize, &Element, &ElementType)> {
        let index = self.find(name)?;
        let element = &self.elements[index.element as usize];
        Some((index.element as usize, element, &element.types[index.element_type? as usize]))
    }

    /// The names that members of its JSON form can have, `_` siblings apart.
    pub fn member_names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().filter(|index| index.element_type.is_some()).map(|index| &*index.name)
    }

    /// Whether it is a backbone element.
    pub fn is_backbone(&self) -> bool {
        self.name.contains('.')
    }

    fn find(&self, name: &str) -> Option<&MemberIndex> {
        self.members.binary_search_by(|index| member_order(&index.name, name)).ok().map(|at| &self.members[at])
    }
}

impl Element {
    /// Whether it can occur several times: in JSON it is an array then.
    pub fn repeats(&self) -> bool {
        self.max != Some(1)
    }

    /// Its name in a document where it has this one of its types: `valueQuantity`.
    pub fn member_name(&self, element_type: &ElementType) -> String {
        if !self.choice {
            return self.name.clone();
        }
        let (first, rest) = element_type.code.split_at(1);
        format!("{}{}{rest}", self.name, first.to_ascii_uppercase())
    }
}

impl Primitive {
    /// The primitive type `name`.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "base64Binary" => Primitive::Base64Binary,
            "boolean" => Primitive::Boolean,
            "canonical" => Primitive::Canonical,
            "code" => Primitive::Code,
            "date" => Primitive::Date,
            "dateTime" => Primitive::DateTime,
            "decimal" => Primitive::Decimal,
            "id" => Primitive::Id,
            "instant" => Primitive::Instant,
            "integer" => Primitive::Integer,
            "markdown" => Primitive::Markdown,
            "oid" => Primitive::Oid,
            "positiveInt" => Primitive::PositiveInt,
            "string" => Primitive::String,
            "time" => Primitive::Time,
            "unsignedInt" => Primitive::UnsignedInt,
            "uri" => Primitive::Uri,
            "url" => Primitive::Url,
            "uuid" => Primitive::Uuid,
            "xhtml" => Primitive::Xhtml,
            _ => return None,
        })
    }

    /// Whether JSON writes it as a number.
    pub fn is_number(self) -> bool {
        matches!(self, Primitive::Decimal | Primitive::Integer | Primitive::PositiveInt | Primitive::UnsignedInt)
    }
}

/// Members are sorted by length first: most comparisons end there.
fn member_order(left: &str, right: &str) -> std::cmp::Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests;
