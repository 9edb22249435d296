//! FHIRPath Patch: operations on the elements of a resource. <https://hl7.org/fhir/R4/fhirpatch.html>
//!
//! "The FHIRPath statement must return a single element", which must stand in this very resource; "except for the
//! delete operation, it is an error if no element matches the specified path". A path that names an element which the
//! type does not have is an error for `delete` too, for it would never take effect. `insert` and `move` are about
//! lists, also about those that are empty, so their paths end in the name of a list.

use super::place::{Element, Place, Step, count, edit, is_narrative, object_at, put, steps_to, type_at};
use super::value::{Given, Named};
use super::{Budget, Refusal, echo, fits};
use crate::definitions::{Kind, TypeDefinition};
use crate::json::{Json, MAX_DEPTH};
use crate::path::{Environment, EvaluationError, Expression, Item, Meter};

/// One operation.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) path: Expression,
    pub(super) action: Action,
}

#[derive(Debug)]
pub(super) enum Action {
    Add { name: Box<str>, value: Given },
    Insert { index: usize, value: Given },
    Delete,
    Replace(Given),
    Move { source: usize, destination: usize },
}

/// An element that holds others, and the object in which they stand.
struct Owner {
    steps: Vec<Step>,
    definition: &'static TypeDefinition,
    /// The primitive whose id and extensions are meant.
    primitive: Option<Place>,
}

impl Operation {
    /// Carries it out; finding its elements takes steps from `meter`. Returns whether it said what becomes of the narrative.
    pub(super) fn apply(&self, root: &mut Json, meter: &Meter, budget: &mut Budget) -> Result<bool, Refusal> {
        match &self.action {
            Action::Add { name, value } => self.add(root, (name, value), meter, budget),
            Action::Insert { index, value } => self.insert(root, *index, value, meter, budget),
            Action::Delete => self.delete(root, meter, budget),
            Action::Replace(value) => self.replace(root, value, meter, budget),
            Action::Move { source, destination } => self.shift(root, (*source, *destination), meter, budget),
        }
    }

    fn add(
        &self,
        root: &mut Json,
        (name, value): (&str, &Given),
        meter: &Meter,
        budget: &mut Budget,
    ) -> Result<bool, Refusal> {
        let items = self.evaluated(self.path.evaluate_in(&environment(root, meter)))?;
        let owner = self.owner(root, &items, budget)?;
        let named = Named::of(owner.definition, name)?;
        let (member, element) = named.typed(value)?;
        within_depth(owner.steps.len() + 1, &element)?;
        let owner_name = &owner.definition.name;
        let told = is_narrative(&owner.steps, &member);
        let steps = owner.object(root, true).ok_or_else(|| self.lost())?;
        let object = object_at(root, &steps).ok_or_else(|| self.lost())?;
        if named.element.repeats() {
            budget.charge(1 + count(object, &member) / 16)?;
            edit(object, &member, |list| list.push(element));
            return Ok(told);
        }
        let stands = |types: &crate::definitions::ElementType| {
            let member = named.element.member_name(types);
            object.get(&member).is_some() || object.get(&format!("_{member}")).is_some()
        };
        if named.element.types.iter().any(stands) {
            let name = &named.element.name;
            return Err(Refusal::inapplicable(format!(
                "{owner_name}.{name} is there and does not repeat; use replace"
            )));
        }
        put(object, &member, element);
        Ok(told)
    }

    fn insert(
        &self,
        root: &mut Json,
        index: usize,
        value: &Given,
        meter: &Meter,
        budget: &mut Budget,
    ) -> Result<bool, Refusal> {
        let (owner, named) = self.list(root, meter, budget)?;
        let (member, element) = named.typed(value)?;
        within_depth(owner.steps.len() + 1, &element)?;
        let told = is_narrative(&owner.steps, &member);
        let steps = owner.object(root, true).ok_or_else(|| self.lost())?;
        let object = object_at(root, &steps).ok_or_else(|| self.lost())?;
        let len = count(object, &member);
        if index > len {
            return Err(Refusal::inapplicable(format!("index {index} is beyond the end: the list has {len} elements")));
        }
        budget.charge(1 + len / 16)?;
        edit(object, &member, |list| list.insert(index, element));
        Ok(told)
    }

    fn shift(
        &self,
        root: &mut Json,
        (source, destination): (usize, usize),
        meter: &Meter,
        budget: &mut Budget,
    ) -> Result<bool, Refusal> {
        let (owner, named) = self.list(root, meter, budget)?;
        let member = &named.element.name;
        let told = is_narrative(&owner.steps, member);
        let steps = owner.object(root, false).ok_or_else(|| self.no_match())?;
        let object = object_at(root, &steps).ok_or_else(|| self.no_match())?;
        let len = count(object, member);
        for (name, index) in [("source", source), ("destination", destination)] {
            if index >= len {
                return Err(Refusal::inapplicable(format!(
                    "{name} {index} is beyond the end: the list has {len} elements"
                )));
            }
        }
        budget.charge(1 + len / 16)?;
        edit(object, member, |list| {
            let element = list.remove(source);
            list.insert(destination, element);
        });
        Ok(told)
    }

    fn delete(&self, root: &mut Json, meter: &Meter, budget: &mut Budget) -> Result<bool, Refusal> {
        let items = self.evaluated(self.path.evaluate_in(&environment(root, meter)))?;
        if items.is_empty() {
            return Ok(false);
        }
        let place = self.place(root, &items, budget)?;
        budget.charge(1 + place.index.unwrap_or_default() / 16)?;
        place.delete(root);
        Ok(is_narrative(&place.owner, &place.member))
    }

    fn replace(&self, root: &mut Json, value: &Given, meter: &Meter, budget: &mut Budget) -> Result<bool, Refusal> {
        let items = self.evaluated(self.path.evaluate_in(&environment(root, meter)))?;
        let place = self.place(root, &items, budget)?;
        let definition = type_at(root, &place.owner).ok_or_else(|| self.undefined())?;
        let (element, _) = definition.member(&place.member).ok_or_else(|| self.undefined())?;
        let (member, element) = Named::of(definition, &element.name)?.typed(value)?;
        within_depth(place.owner.len() + 1, &element)?;
        budget.charge(1 + place.index.unwrap_or_default() / 16)?;
        place.replace(root, &member, element);
        Ok(is_narrative(&place.owner, &member))
    }

    /// The list that the path names.
    fn list(&self, root: &Json, meter: &Meter, budget: &mut Budget) -> Result<(Owner, Named), Refusal> {
        let environment = environment(root, meter);
        let Some((items, name)) = self.evaluated(self.path.evaluate_owner(&environment))? else {
            let text = format!("{} must end in the name of a list, as Patient.name does", self.echoed());
            return Err(Refusal::inapplicable(text));
        };
        let owner = self.owner(root, &items, budget)?;
        let named = Named::of(owner.definition, name)?;
        if named.element.repeats() && !named.element.choice {
            return Ok((owner, named));
        }
        Err(Refusal::inapplicable(format!("{}.{name} is no list: it does not repeat", owner.definition.name)))
    }

    fn owner(&self, root: &Json, items: &[Item<'_>], budget: &mut Budget) -> Result<Owner, Refusal> {
        let item = self.single(items)?;
        let steps = steps_to(root, item, budget)?.ok_or_else(|| self.elsewhere())?;
        let definition = type_at(root, &steps).ok_or_else(|| self.undefined())?;
        let primitive = if definition.kind == Kind::Primitive { Place::of(root, item, budget)? } else { None };
        Ok(Owner { steps, definition, primitive })
    }

    fn place(&self, root: &Json, items: &[Item<'_>], budget: &mut Budget) -> Result<Place, Refusal> {
        let item = self.single(items)?;
        if let Some(place) = Place::of(root, item, budget)? {
            return Ok(place);
        }
        if item.as_element().is_some_and(|element| std::ptr::eq(element, root)) {
            let text = "the resource itself cannot be replaced or deleted by a patch; use PUT or DELETE";
            return Err(Refusal::inapplicable(text));
        }
        Err(self.elsewhere())
    }

    fn single<'i, 'd>(&self, items: &'i [Item<'d>]) -> Result<&'i Item<'d>, Refusal> {
        match items {
            [item] => Ok(item),
            [] => Err(self.no_match()),
            several => {
                let text = format!("{} matches {} elements, not a single one", self.echoed(), several.len());
                Err(Refusal::inapplicable(text))
            }
        }
    }

    fn evaluated<T>(&self, result: Result<T, EvaluationError>) -> Result<T, Refusal> {
        result.map_err(|error| {
            let text = format!("{}: {error}", self.echoed());
            if error == EvaluationError::TooCostly { Refusal::too_costly(text) } else { Refusal::inapplicable(text) }
        })
    }

    fn no_match(&self) -> Refusal {
        Refusal::inapplicable(format!("{} matches no element", self.echoed()))
    }

    fn elsewhere(&self) -> Refusal {
        Refusal::inapplicable(format!("{} gives a value, not an element of this resource", self.echoed()))
    }

    fn undefined(&self) -> Refusal {
        Refusal::inapplicable(format!("{} leads to an element that FHIR R4 does not define", self.echoed()))
    }

    fn lost(&self) -> Refusal {
        Refusal::inapplicable(format!("{} leads to a value, which has no elements", self.echoed()))
    }

    fn echoed(&self) -> String {
        echo(self.path.as_str())
    }
}

impl Owner {
    /// The way to the object that holds its elements; of a primitive that is `_name`, which is made where wanted.
    fn object(self, root: &mut Json, make: bool) -> Option<Vec<Step>> {
        let Some(place) = self.primitive else { return Some(self.steps) };
        if make {
            return place.sibling_object(root);
        }
        let mut steps = place.owner;
        steps.push(Step::Member(format!("_{}", place.member).into()));
        steps.extend(place.index.map(Step::Item));
        Some(steps)
    }
}

fn environment<'a>(root: &'a Json, meter: &'a Meter) -> Environment<'a> {
    Environment::new(root).strict().sharing(meter)
}

fn within_depth(above: usize, element: &Element) -> Result<(), Refusal> {
    if fits(above + 1, &element.json) && fits(above + 1, &element.sibling) {
        return Ok(());
    }
    Err(Refusal::too_costly(format!("with the value the resource is nested deeper than {MAX_DEPTH}")))
}
