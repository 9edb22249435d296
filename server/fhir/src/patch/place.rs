//! Where elements stand in the JSON form of a resource, and how they are put there and taken away.
//! <https://hl7.org/fhir/R4/json.html#primitive>
//!
//! The value of a primitive is the member `name`, its id and extensions are the member `_name`; where it repeats, both
//! are arrays in step. Here they are one [`Element`], and lists of them are edited as lists.

use super::narrative::NARRATIVE;
use super::{Budget, Refusal};
use crate::definitions::{self, Kind, TypeDefinition};
use crate::json::{Json, Object};
use crate::path::Item;

/// One step into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Member(Box<str>),
    Item(usize),
}

/// Where an element stands: in which object, under which name, and at which index if it repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) owner: Vec<Step>,
    pub(super) member: Box<str>,
    pub(super) index: Option<usize>,
}

/// Value, and `_name` of a primitive; `null` where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) json: Json,
    pub(super) sibling: Json,
}

impl Element {
    pub(super) fn of(json: Json) -> Element {
        Element { json, sibling: Json::Null }
    }
}

impl Place {
    /// The place of an item of an expression's result; nothing for the resource itself and for what is not in it.
    pub(super) fn of(root: &Json, item: &Item<'_>, budget: &mut Budget) -> Result<Option<Place>, Refusal> {
        Ok(steps_to(root, item, budget)?.and_then(|steps| Place::at(&steps)))
    }

    fn at(steps: &[Step]) -> Option<Place> {
        let (above, index) = match steps.split_last()? {
            (Step::Item(index), above) => (above, Some(*index)),
            _ => (steps, None),
        };
        let (Step::Member(member), owner) = above.split_last()? else { return None };
        let member = member.strip_prefix('_').unwrap_or(member).into();
        Some(Place { owner: owner.to_vec(), member, index })
    }

    /// The object that holds the id and extensions of a primitive, made where it is missing.
    pub(super) fn sibling_object(&self, root: &mut Json) -> Option<Vec<Step>> {
        let object = object_at(root, &self.owner)?;
        let name = format!("_{}", self.member);
        let mut steps = self.owner.clone();
        match self.index {
            None => {
                if object.get(&name).is_none() {
                    object.insert(&name, Object::new());
                }
                steps.push(Step::Member(name.into()));
            }
            Some(index) => {
                edit(object, &self.member, |list| {
                    if let Some(element) = list.get_mut(index).filter(|element| element.sibling == Json::Null) {
                        element.sibling = Object::new().into();
                    }
                });
                steps.extend([Step::Member(name.into()), Step::Item(index)]);
            }
        }
        Some(steps)
    }

    /// Puts another element there, under a name that may differ: that of another type of a choice.
    pub(super) fn replace(&self, root: &mut Json, member: &str, element: Element) {
        let Some(object) = object_at(root, &self.owner) else { return };
        if let Some(index) = self.index {
            edit(object, member, |list| {
                if let Some(slot) = list.get_mut(index) {
                    *slot = element;
                }
            });
            return;
        }
        if *self.member != *member {
            object.remove(&self.member);
        }
        object.remove(&format!("_{}", self.member));
        put(object, member, element);
    }

    /// Takes the element away, and what stands empty without it.
    pub(super) fn delete(&self, root: &mut Json) {
        let Some(object) = object_at(root, &self.owner) else { return };
        if let Some(index) = self.index {
            edit(object, &self.member, |list| {
                if index < list.len() {
                    list.remove(index);
                }
            });
        } else {
            object.remove(&self.member);
            object.remove(&format!("_{}", self.member));
        }
        self.prune(root);
    }

    /// Takes the objects above away as far as they are empty.
    fn prune(&self, root: &mut Json) {
        let mut owner = self.owner.clone();
        while !owner.is_empty() && object_at(root, &owner).is_some_and(|object| object.is_empty()) {
            let index = owner.pop();
            let (name, index) = match index {
                Some(Step::Item(index)) => (owner.pop(), Some(index)),
                name => (name, None),
            };
            let (Some(Step::Member(name)), Some(object)) = (name, object_at(root, &owner)) else { return };
            match (index, name.strip_prefix('_')) {
                (None, _) => drop(object.remove(&name)),
                (Some(index), None) => edit(object, &name, |list| drop(list.remove(index))),
                (Some(index), Some(name)) => edit(object, name, |list| {
                    list[index].sibling = Json::Null;
                    if list[index].json == Json::Null {
                        list.remove(index);
                    }
                }),
            }
        }
    }
}

/// Whether a member of an object, or that object, is the narrative of the resource or a part of it.
pub(super) fn is_narrative(owner: &[Step], member: &str) -> bool {
    match owner.first() {
        Some(Step::Member(name)) => **name == *NARRATIVE,
        Some(Step::Item(_)) => false,
        None => member == NARRATIVE,
    }
}

/// The way to an item of an expression's result; nothing where it is not an element of the document.
pub(super) fn steps_to(root: &Json, item: &Item<'_>, budget: &mut Budget) -> Result<Option<Vec<Step>>, Refusal> {
    let mut steps = Vec::new();
    for wanted in item.as_element().into_iter().chain(item.sibling()) {
        if walk(root, wanted, &mut steps, budget)? {
            return Ok(Some(steps));
        }
    }
    Ok(None)
}

/// Elements are borrowed from the document, so the same address is the same element.
fn walk(value: &Json, wanted: &Json, steps: &mut Vec<Step>, budget: &mut Budget) -> Result<bool, Refusal> {
    budget.charge(1)?;
    if std::ptr::eq(value, wanted) {
        return Ok(true);
    }
    match value {
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                steps.push(Step::Item(index));
                if walk(item, wanted, steps, budget)? {
                    return Ok(true);
                }
                steps.pop();
            }
        }
        Json::Object(object) => {
            for (name, member) in object.iter() {
                steps.push(Step::Member(name.into()));
                if walk(member, wanted, steps, budget)? {
                    return Ok(true);
                }
                steps.pop();
            }
        }
        _ => {}
    }
    Ok(false)
}

/// The object at the end of `steps`.
pub(super) fn object_at<'d>(root: &'d mut Json, steps: &[Step]) -> Option<&'d mut Object> {
    let mut value = root;
    for step in steps {
        value = match (value, step) {
            (Json::Object(object), Step::Member(name)) => object.get_mut(name)?,
            (Json::Array(items), Step::Item(index)) => items.get_mut(*index)?,
            _ => return None,
        };
    }
    value.as_object_mut()
}

/// The type of what stands at the end of `steps`, as far as the definitions know it.
pub(super) fn type_at(root: &Json, steps: &[Step]) -> Option<&'static TypeDefinition> {
    let definitions = definitions::r4();
    let mut value = root;
    let mut definition = definitions.get(root.str("resourceType")?)?;
    for step in steps {
        match step {
            Step::Member(name) => {
                let bare = name.strip_prefix('_').unwrap_or(name);
                definition = definitions.definition(definition.member(bare)?.1)?;
                value = value.get(name)?;
            }
            Step::Item(index) => {
                let Json::Array(items) = value else { return None };
                value = items.get(*index)?;
            }
        }
        if definition.kind == Kind::Resource
            && let Some(name) = value.str("resourceType")
        {
            definition = definitions.get(name)?;
        }
    }
    Some(definition)
}

/// How many elements a list has.
pub(super) fn count(object: &Object, member: &str) -> usize {
    let len = |name: &str| object.get(name).map_or(0, |value| value.items().len());
    len(member).max(len(&format!("_{member}")))
}

/// Sets a member that does not repeat.
pub(super) fn put(object: &mut Object, member: &str, element: Element) {
    if element.json == Json::Null {
        object.remove(member);
    } else {
        object.insert(member, element.json);
    }
    if element.sibling != Json::Null {
        object.insert(&format!("_{member}"), element.sibling);
    }
}

/// Changes a list of elements; both its arrays keep their place and are gone when nothing is in them.
pub(super) fn edit(object: &mut Object, member: &str, change: impl FnOnce(&mut Vec<Element>)) {
    let name = format!("_{member}");
    let mut take = |name: &str| match object.get_mut(name).map(|value| std::mem::replace(value, Json::Null)) {
        Some(Json::Array(items)) => items,
        Some(single) => vec![single],
        None => Vec::new(),
    };
    let (values, siblings) = (take(member), take(&name));
    let len = values.len().max(siblings.len());
    let mut siblings = siblings.into_iter();
    let mut values = values.into_iter();
    let mut next =
        || Element { json: values.next().unwrap_or(Json::Null), sibling: siblings.next().unwrap_or(Json::Null) };
    let mut list: Vec<Element> = (0..len).map(|_| next()).collect();
    change(&mut list);
    let (values, siblings): (Vec<Json>, Vec<Json>) =
        list.into_iter().map(|element| (element.json, element.sibling)).unzip();
    for (name, items) in [(member, values), (&name, siblings)] {
        if items.iter().all(|item| *item == Json::Null) {
            object.remove(name);
        } else {
            object.insert(name, items);
        }
    }
}
