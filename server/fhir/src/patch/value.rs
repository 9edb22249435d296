//! Values of a FHIRPath Patch: a data type, a resource, or parts for types that `value[x]` does not have.
//! <https://hl7.org/fhir/R4/fhirpatch.html#anonymous>

use super::place::{Element, edit, put};
use super::{Refusal, echo};
use crate::definitions::{self, ElementType, Kind, TypeDefinition};
use crate::json::{Json, Object};

/// A value as the client gave it, before it is known where it goes.
#[derive(Clone, Debug)]
pub(super) enum Given {
    /// `value[x]`, with the code of its type.
    Typed(&'static str, Element),
    /// `resource`, for elements such as `contained`.
    Resource(Json),
    /// `part`: the elements by their names.
    Parts(Vec<(Box<str>, Given)>),
}

/// Reads a parameter or part that holds a value.
pub(super) fn read(part: &Json) -> Result<Given, Refusal> {
    let Some(members) = part.as_object() else { return Err(Refusal::malformed("a part must be an object")) };
    let mut given = None;
    for (name, member) in members.iter() {
        let one = match name {
            "name" | "id" | "extension" => continue,
            "resource" => Given::Resource(member.clone()),
            "part" => {
                let parts = member.items().iter();
                Given::Parts(
                    parts.map(|part| Ok((name_of(part)?.into(), read(part)?))).collect::<Result<_, Refusal>>()?,
                )
            }
            _ => {
                let bare = name.strip_prefix('_').unwrap_or(name);
                let known = definitions::definition_type_of("Parameters.parameter", bare);
                let Some((_, element_type)) = known.filter(|(element, _)| element.choice) else {
                    return Err(Refusal::malformed(format!("a part has no {}", echo(name))));
                };
                let element = Element {
                    json: members.get(bare).cloned().unwrap_or(Json::Null),
                    sibling: members.get(&format!("_{bare}")).cloned().unwrap_or(Json::Null),
                };
                let typed = Given::Typed(&element_type.code, element);
                match &given {
                    Some(Given::Typed(code, _)) if *code == element_type.code => continue,
                    _ => typed,
                }
            }
        };
        if given.replace(one).is_some() {
            return Err(Refusal::malformed("a part has one of value[x], resource and part"));
        }
    }
    given.ok_or_else(|| Refusal::malformed("a value has value[x], resource or part"))
}

/// The name of a part.
pub(super) fn name_of(part: &Json) -> Result<&str, Refusal> {
    part.str("name").ok_or_else(|| Refusal::malformed("every part has a name"))
}

/// An element of a type by its name: `value`, and also `valueQuantity`, which says the type of a choice.
pub(super) struct Named {
    pub(super) element: &'static definitions::Element,
    /// The type that the name says.
    only: Option<&'static ElementType>,
}

impl Named {
    /// Finds the element.
    pub(super) fn of(definition: &'static TypeDefinition, name: &str) -> Result<Named, Refusal> {
        if let Some(element) = definition.element(name) {
            return Ok(Named { element, only: None });
        }
        if let Some((element, element_type)) = definition.member(name) {
            return Ok(Named { element, only: Some(element_type) });
        }
        let known: Vec<&str> = definition.elements.iter().map(|element| element.name.as_str()).collect();
        let text = format!("{} has no element {}; it has {}", definition.name, echo(name), known.join(", "));
        Err(Refusal::inapplicable(text))
    }

    /// The member name that a value gets there and its JSON form; a value of a wrong type is refused.
    pub(super) fn typed(&self, given: &Given) -> Result<(String, Element), Refusal> {
        let types: Vec<&'static ElementType> =
            self.only.map_or_else(|| self.element.types.iter().collect(), |only| vec![only]);
        for element_type in &types {
            if let Some(element) = convert(given, element_type, self.element, types.len() == 1)? {
                return Ok((self.element.member_name(element_type), element));
            }
        }
        let wanted: Vec<String> = types
            .iter()
            .map(|element_type| self.element.content.clone().unwrap_or_else(|| element_type.code.clone()))
            .collect();
        let found = match given {
            Given::Typed(code, _) => (*code).to_owned(),
            Given::Resource(resource) => {
                format!("a resource {}", echo(resource.str("resourceType").unwrap_or("without type")))
            }
            Given::Parts(_) => "parts".to_owned(),
        };
        let name = &self.element.name;
        Err(Refusal::inapplicable(format!("{name} takes {}, not {found}", wanted.join(" or "))))
    }
}

/// The value as one of this type, if it can be.
fn convert(
    given: &Given,
    element_type: &'static ElementType,
    element: &definitions::Element,
    only: bool,
) -> Result<Option<Element>, Refusal> {
    let definition = definitions::r4().definition(element_type);
    match given {
        Given::Typed(code, value) => {
            let wanted = element_type.code.as_str();
            // `value[x]` has no xhtml.
            let fits = definitions::r4().is_subtype(code, wanted)
                || (wanted == "xhtml" && matches!(*code, "string" | "markdown"));
            Ok((fits && element.content.is_none()).then(|| value.clone()))
        }
        Given::Resource(resource) => {
            let found = resource.str("resourceType").unwrap_or_default();
            let fits = definition.is_some_and(|wanted| {
                wanted.kind == Kind::Resource && definitions::r4().is_subtype(found, &wanted.name)
            });
            Ok(fits.then(|| Element::of(resource.clone())))
        }
        Given::Parts(parts) => match definition {
            Some(definition) if only && definition.kind == Kind::Complex => assemble(definition, parts).map(Some),
            _ => Ok(None),
        },
    }
}

/// An element made of its parts.
fn assemble(definition: &'static TypeDefinition, parts: &[(Box<str>, Given)]) -> Result<Element, Refusal> {
    let mut object = Object::new();
    for (name, given) in parts {
        let named = Named::of(definition, name)?;
        let (member, value) = named.typed(given)?;
        if named.element.repeats() {
            edit(&mut object, &member, |list| list.push(value));
        } else if object.get(&member).is_some() || object.get(&format!("_{member}")).is_some() {
            return Err(Refusal::inapplicable(format!(
                "{}.{member} is given twice; it does not repeat",
                definition.name
            )));
        } else {
            put(&mut object, &member, value);
        }
    }
    if object.is_empty() {
        return Err(Refusal::malformed(format!("a {} needs at least one part", definition.name)));
    }
    Ok(Element::of(object.into()))
}
