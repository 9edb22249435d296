//! What turns one resource into another, as a FHIRPath Patch. <https://hl7.org/fhir/R4/fhirpatch.html>
//!
//! ```text
//! from, to ─ element by element, by the definitions ─▶ Parameters ─ Patch::apply(from) ─▶ to
//! ```
//!
//! Left out is what no patch changes: the id of the resource, `meta.versionId` and `meta.lastUpdated`. Where data
//! changes and the narrative stays, the patch says so by an operation of its own: without it a patch takes the
//! narrative out, or is refused.

use crate::definitions::{self, Element, ElementType, Kind, TypeDefinition};
use crate::json::{Json, Object};
use crate::patch::{MAX_OPERATIONS, narrative};

/// Words that FHIRPath reads otherwise where they stand as names.
const WORDS: &[&str] =
    &["and", "as", "contains", "day", "div", "false", "implies", "in", "is", "mod", "or", "true", "xor"];

/// Why there is no such patch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DifferenceError {
    /// No patch makes a resource one of another type.
    #[error("the resources are of different types, {0} and {1}; compare resources of one type")]
    Types(String, String),
    /// A member that R4 does not define.
    #[error("{0} is no element of FHIR R4")]
    Undefined(String),
    /// More operations than a patch may have.
    #[error("the resources differ in more than {MAX_OPERATIONS} places")]
    TooMany,
}

/// The patch that turns `from` into `to`; it has no operations where they say the same.
pub fn difference(from: &Json, to: &Json) -> Result<Json, DifferenceError> {
    let named = |resource: &Json| resource.str("resourceType").unwrap_or_default().to_owned();
    let (name, other) = (named(from), named(to));
    if name != other {
        return Err(DifferenceError::Types(name, other));
    }
    let definition = definitions::r4().get(&name).ok_or_else(|| DifferenceError::Undefined(name.clone()))?;
    let mut walk = Walk { operations: Vec::new() };
    let (from, to) = (compared(from), compared(to));
    walk.objects(&name, definition, &from, &to)?;
    // Members in another order are no other data: then nothing was found.
    if !walk.operations.is_empty() && narrative::is_outdated(&from, &to) {
        walk.again(&name, definition, "text", &to)?;
    }
    let mut parameters = Object::new();
    parameters.insert("resourceType", "Parameters");
    if !walk.operations.is_empty() {
        parameters.insert("parameter", walk.operations);
    }
    Ok(parameters.into())
}

/// The members that are compared.
fn compared(resource: &Json) -> Object {
    let mut object = resource.as_object().cloned().unwrap_or_default();
    for name in ["resourceType", "id", "_id"] {
        object.remove(name);
    }
    let Some(meta) = object.get_mut("meta").and_then(Json::as_object_mut) else { return object };
    for name in ["versionId", "_versionId", "lastUpdated", "_lastUpdated"] {
        meta.remove(name);
    }
    if meta.is_empty() {
        object.remove("meta");
    }
    object
}

/// Value, and `_name` of a primitive; `null` where there is none.
#[derive(Clone, Copy, PartialEq)]
struct Value<'a> {
    json: &'a Json,
    sibling: &'a Json,
}

/// The values of an element, and the type that they have.
struct Values<'a> {
    element_type: &'static ElementType,
    list: Vec<Value<'a>>,
}

struct Walk {
    operations: Vec<Json>,
}

impl Walk {
    /// What goes comes last, so that nothing stands empty, and vanishes, before something is put there.
    fn objects(
        &mut self,
        path: &str,
        definition: &'static TypeDefinition,
        from: &Object,
        to: &Object,
    ) -> Result<(), DifferenceError> {
        for name in from.iter().chain(to.iter()).map(|(name, _)| name) {
            if definition.member(bare(name)).is_none() {
                return Err(DifferenceError::Undefined(format!("{path}.{name}")));
            }
        }
        let mut gone = Vec::new();
        for element in &definition.elements {
            let inner = format!("{path}.{}", quoted(&element.name));
            match (values(element, from), values(element, to)) {
                (None, None) => {}
                (Some(before), None) => gone.push((inner, before.list.len())),
                (None, Some(after)) => {
                    for value in &after.list {
                        self.add(path, element, after.element_type, *value)?;
                    }
                }
                (Some(before), Some(after)) if element.repeats() => self.lists(&inner, element, &before, &after)?,
                (Some(before), Some(after)) => {
                    let (old, new) = (before.list[0], after.list[0]);
                    let same = before.element_type.code == after.element_type.code;
                    if same && old == new {
                        continue;
                    }
                    if is_told_apart(element, after.element_type) {
                        self.one(&inner, element, (before.element_type, old), (after.element_type, new))?;
                    } else {
                        self.push("delete", &inner, Vec::new())?;
                        self.add(path, element, after.element_type, new)?;
                    }
                }
            }
        }
        for (inner, count) in gone {
            self.delete(&inner, count)?;
        }
        Ok(())
    }

    /// Puts an element that does not repeat where it stands already.
    fn again(
        &mut self,
        path: &str,
        definition: &'static TypeDefinition,
        name: &str,
        to: &Object,
    ) -> Result<(), DifferenceError> {
        let Some(element) = definition.element(name) else { return Ok(()) };
        let Some(values) = values(element, to) else { return Ok(()) };
        let value = encoded("value", element, values.element_type, values.list[0])?;
        self.push("replace", &format!("{path}.{name}"), vec![value])
    }

    /// All of an element: one operation each, for a path has to lead to a single one.
    fn delete(&mut self, path: &str, count: usize) -> Result<(), DifferenceError> {
        for index in (1..count).rev() {
            self.push("delete", &format!("{path}[{index}]"), Vec::new())?;
        }
        self.push("delete", path, Vec::new())
    }

    /// What both begin and end with stays; what lies between is changed in place, then inserted or deleted.
    fn lists(
        &mut self,
        path: &str,
        element: &'static Element,
        before: &Values<'_>,
        after: &Values<'_>,
    ) -> Result<(), DifferenceError> {
        let (old, new) = (&before.list, &after.list);
        let start = old.iter().zip(new).take_while(|(old, new)| old == new).count();
        let (old_rest, new_rest) = (&old[start..], &new[start..]);
        let end = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(old, new)| old == new).count();
        let (old_middle, new_middle) = (&old_rest[..old_rest.len() - end], &new_rest[..new_rest.len() - end]);
        let common = old_middle.len().min(new_middle.len());
        for index in 0..common {
            let (was, is) = (old_middle[index], new_middle[index]);
            if was != is {
                let place = format!("{path}[{}]", start + index);
                self.one(&place, element, (before.element_type, was), (after.element_type, is))?;
            }
        }
        for (index, value) in new_middle.iter().enumerate().skip(common) {
            let index = part("index", "valueInteger", Json::from((start + index) as i64));
            let value = encoded("value", element, after.element_type, *value)?;
            self.push("insert", path, vec![index, value])?;
        }
        for index in (common..old_middle.len()).rev() {
            self.push("delete", &format!("{path}[{}]", start + index), Vec::new())?;
        }
        Ok(())
    }

    fn one(
        &mut self,
        path: &str,
        element: &'static Element,
        (before_type, before): (&ElementType, Value<'_>),
        (after_type, after): (&'static ElementType, Value<'_>),
    ) -> Result<(), DifferenceError> {
        let definition = definitions::r4().definition(after_type);
        if let (true, Some(definition)) = (before_type.code == after_type.code, definition)
            && let (Json::Object(from), Json::Object(to)) = (before.json, after.json)
            && definition.kind == Kind::Complex
            && !["Narrative", "Extension"].contains(&definition.name.as_str())
        {
            return self.objects(path, definition, from, to);
        }
        let value = encoded("value", element, after_type, after)?;
        self.push("replace", path, vec![value])
    }

    fn add(
        &mut self,
        path: &str,
        element: &'static Element,
        element_type: &'static ElementType,
        value: Value<'_>,
    ) -> Result<(), DifferenceError> {
        let member = element.member_name(element_type);
        let name = if is_told_apart(element, element_type) { &element.name } else { &member };
        let name = part("name", "valueString", name.as_str());
        let value = encoded("value", element, element_type, value)?;
        self.push("add", path, vec![name, value])
    }

    fn push(&mut self, kind: &str, path: &str, more: Vec<Json>) -> Result<(), DifferenceError> {
        if self.operations.len() == MAX_OPERATIONS {
            return Err(DifferenceError::TooMany);
        }
        let mut parts = vec![part("type", "valueCode", kind), part("path", "valueString", path)];
        parts.extend(more);
        self.operations.push(part("operation", "part", parts));
        Ok(())
    }
}

/// The values of an element in an object; a choice has those of one of its types.
fn values<'a>(element: &'static Element, object: &'a Object) -> Option<Values<'a>> {
    element.types.iter().find_map(|element_type| {
        let member = element.member_name(element_type);
        let (json, sibling) = (object.get(&member), object.get(&format!("_{member}")));
        let (json, sibling) = match (json, sibling) {
            (None, None) => return None,
            (json, sibling) => (json.unwrap_or(&Json::Null), sibling.unwrap_or(&Json::Null)),
        };
        let list = if element.repeats() {
            let at = |list: &'a Json, index: usize| list.items().get(index).unwrap_or(&Json::Null);
            let count = json.items().len().max(sibling.items().len());
            (0..count).map(|index| Value { json: at(json, index), sibling: at(sibling, index) }).collect()
        } else {
            vec![Value { json, sibling }]
        };
        (!list.is_empty()).then_some(Values { element_type, list })
    })
}

/// Whether the type of a value alone says which member of a choice is meant: a `url` could stand for `valueUri`.
fn is_told_apart(element: &Element, element_type: &ElementType) -> bool {
    let takes = |other: &&ElementType| definitions::r4().is_subtype(&element_type.code, &other.code);
    element.types.iter().find(takes).is_none_or(|first| first.code == element_type.code)
}

/// A value under a name: `value[x]`, `resource`, or parts for types that `value[x]` does not have.
fn encoded(
    name: &str,
    element: &'static Element,
    element_type: &'static ElementType,
    value: Value<'_>,
) -> Result<Json, DifferenceError> {
    let definition = definitions::r4().definition(element_type);
    if definition.is_some_and(|definition| definition.kind == Kind::Resource) {
        return Ok(part(name, "resource", value.json.clone()));
    }
    let code = match element_type.code.as_str() {
        "xhtml" => "string",
        code if code.starts_with("System.") => "string",
        code => code,
    };
    let member = capitalised("value", code);
    if element.content.is_none() && definitions::definition_type_of("Parameters.parameter", &member).is_some() {
        let mut typed = Object::new();
        typed.insert("name", name);
        for (member, json) in [(member.clone(), value.json), (format!("_{member}"), value.sibling)] {
            if *json != Json::Null {
                typed.insert(&member, json.clone());
            }
        }
        return Ok(typed.into());
    }
    let (Some(definition), Json::Object(object)) = (definition, value.json) else {
        return Err(DifferenceError::Undefined(format!("{name}: {}", element_type.code)));
    };
    let mut parts = Vec::new();
    for (member, _) in object.iter().filter(|(member, _)| is_first(object, member)) {
        let undefined = || DifferenceError::Undefined(format!("{}.{member}", definition.name));
        let (inner, _) = definition.member(bare(member)).ok_or_else(undefined)?;
        let values = values(inner, object).ok_or_else(undefined)?;
        for value in values.list {
            parts.push(encoded(bare(member), inner, values.element_type, value)?);
        }
    }
    Ok(part(name, "part", parts))
}

/// Whether a member is the first of `name` and `_name`.
fn is_first(object: &Object, member: &str) -> bool {
    member.strip_prefix('_').is_none_or(|bare| object.get(bare).is_none())
}

fn bare(member: &str) -> &str {
    member.strip_prefix('_').unwrap_or(member)
}

fn quoted(name: &str) -> String {
    if WORDS.contains(&name) { format!("`{name}`") } else { name.to_owned() }
}

fn capitalised(start: &str, code: &str) -> String {
    let mut letters = code.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    start.chars().chain(first).chain(letters).collect()
}

fn part(name: &str, member: &str, value: impl Into<Json>) -> Json {
    let mut part = Object::new();
    part.insert("name", name);
    part.insert(member, value);
    part.into()
}

#[cfg(test)]
mod tests;
