//! JSON Patch: operations on the JSON form of a resource. <https://www.rfc-editor.org/rfc/rfc6902>
//!
//! Values go in and out as they are written, so decimals keep their digits; `test` compares numbers by their value.

use super::narrative::NARRATIVE;
use super::pointer::{Pointer, index_of};
use super::{Budget, PatchError, Refusal, bounded, echo, fits};
use crate::decimal::Decimal;
use crate::json::{Json, MAX_DEPTH};

/// One operation.
#[derive(Debug)]
pub(super) struct Operation {
    path: Pointer,
    action: Action,
}

#[derive(Debug)]
enum Action {
    Add(Json),
    Remove,
    Replace(Json),
    Move(Pointer),
    Copy(Pointer),
    Test(Json),
}

/// Reads a patch document; members that an operation does not know are ignored, as section 4 asks.
pub(super) fn read(document: &Json) -> Result<Vec<Operation>, PatchError> {
    let Json::Array(operations) = document else {
        return Err(Refusal::malformed("a JSON Patch is an array of operations").of_patch());
    };
    bounded(operations)?;
    let one = |(index, operation)| Operation::read(operation).map_err(|refusal: Refusal| refusal.of(index));
    operations.iter().enumerate().map(one).collect()
}

impl Operation {
    fn read(operation: &Json) -> Result<Operation, Refusal> {
        if operation.as_object().is_none() {
            return Err(Refusal::malformed("an operation is an object with op and path"));
        }
        let pointer = |name: &str| {
            let text = operation.str(name).ok_or_else(|| Refusal::malformed(format!("{name} must be a string")))?;
            Pointer::parse(text).map_err(|error| Refusal::malformed(format!("{name}: {error}")))
        };
        let op = operation.str("op").ok_or_else(|| Refusal::malformed("op must be a string"))?;
        let value = || operation.get("value").cloned().ok_or_else(|| Refusal::malformed(format!("{op} needs a value")));
        let path = pointer("path")?;
        let action = match op {
            "add" => Action::Add(value()?),
            "remove" => Action::Remove,
            "replace" => Action::Replace(value()?),
            "move" => Action::Move(pointer("from")?),
            "copy" => Action::Copy(pointer("from")?),
            "test" => Action::Test(value()?),
            other => {
                let text = format!("op {} is unknown; known: add, remove, replace, move, copy, test", echo(other));
                return Err(Refusal::malformed(text));
            }
        };
        match &action {
            Action::Move(from) if path.is_inside(from) => {
                Err(Refusal::malformed(format!("{from} cannot be moved into itself, to {path}")))
            }
            _ => Ok(Operation { path, action }),
        }
    }

    /// Whether it says what becomes of the narrative.
    pub(super) fn settles_narrative(&self) -> bool {
        match &self.action {
            Action::Test(_) => false,
            Action::Move(from) => self.path.covers(NARRATIVE) || from.covers(NARRATIVE),
            Action::Add(_) | Action::Remove | Action::Replace(_) | Action::Copy(_) => self.path.covers(NARRATIVE),
        }
    }

    /// Carries it out.
    pub(super) fn apply(&self, document: &mut Json, budget: &mut Budget) -> Result<(), Refusal> {
        budget.charge(1)?;
        match &self.action {
            Action::Add(value) => add(document, &self.path, value.clone(), budget),
            Action::Remove => remove(document, &self.path, budget).map(drop),
            Action::Replace(value) => replace(document, &self.path, value.clone(), budget),
            Action::Move(from) => {
                let value = remove(document, from, budget)?;
                add(document, &self.path, value, budget)
            }
            Action::Copy(from) => {
                let value = from.find(document, budget)?;
                budget.copy(value)?;
                let value = value.clone();
                add(document, &self.path, value, budget)
            }
            Action::Test(value) => {
                let found = self.path.find(document, budget)?;
                if same(found, value, budget)? {
                    return Ok(());
                }
                let (found, value) = (echo(&found.to_string()), echo(&value.to_string()));
                Err(Refusal::inapplicable(format!("the test does not hold: {} is {found}, not {value}", self.path)))
            }
        }
    }
}

/// Adds a member, or replaces it where it stands; inserts an item.
fn add(document: &mut Json, path: &Pointer, value: Json, budget: &mut Budget) -> Result<(), Refusal> {
    within_depth(path, &value)?;
    match path.parent(document, budget)? {
        None => *document = value,
        Some((Json::Object(object), name)) => {
            budget.charge(1 + object.len() / 16)?;
            object.insert(name, value);
        }
        Some((Json::Array(items), token)) => {
            let index = index_of(token, items.len()).map_err(|error| at(path, &error))?;
            if index > items.len() {
                return Err(at(path, &format!("the array has {} items", items.len())));
            }
            budget.charge(1 + (items.len() - index) / 16)?;
            items.insert(index, value);
        }
        Some((_, token)) => return Err(path.missing(token)),
    }
    Ok(())
}

fn remove(document: &mut Json, path: &Pointer, budget: &mut Budget) -> Result<Json, Refusal> {
    let removed = match path.parent(document, budget)? {
        None => return Err(Refusal::inapplicable("the whole document cannot be removed or moved; use DELETE")),
        Some((Json::Object(object), name)) => {
            budget.charge(1 + object.len() / 16)?;
            object.remove(name)
        }
        Some((Json::Array(items), token)) => {
            let index = index_of(token, items.len()).map_err(|error| at(path, &error))?;
            budget.charge(1 + items.len().saturating_sub(index) / 16)?;
            (index < items.len()).then(|| items.remove(index))
        }
        Some(_) => None,
    };
    removed.ok_or_else(|| path.missing(path.last().unwrap_or_default()))
}

fn replace(document: &mut Json, path: &Pointer, value: Json, budget: &mut Budget) -> Result<(), Refusal> {
    within_depth(path, &value)?;
    let slot = match path.parent(document, budget)? {
        None => {
            *document = value;
            return Ok(());
        }
        Some((Json::Object(object), name)) => {
            budget.charge(1 + object.len() / 16)?;
            object.get_mut(name)
        }
        Some((Json::Array(items), token)) => {
            let index = index_of(token, items.len()).map_err(|error| at(path, &error))?;
            items.get_mut(index)
        }
        Some(_) => None,
    };
    *slot.ok_or_else(|| path.missing(path.last().unwrap_or_default()))? = value;
    Ok(())
}

fn within_depth(path: &Pointer, value: &Json) -> Result<(), Refusal> {
    if fits(path.depth(), value) {
        return Ok(());
    }
    Err(Refusal::too_costly(format!("with the value at {path} the document is nested deeper than {MAX_DEPTH}")))
}

fn at(path: &Pointer, what: &str) -> Refusal {
    Refusal::inapplicable(format!("{path}: {what}"))
}

/// Equal values: members in any order, numbers by value. <https://www.rfc-editor.org/rfc/rfc6902#section-4.6>
fn same(left: &Json, right: &Json, budget: &mut Budget) -> Result<bool, Refusal> {
    match (left, right) {
        (Json::Object(left), Json::Object(right)) => {
            budget.charge(1 + left.len() * right.len() / 16)?;
            if left.len() != right.len() {
                return Ok(false);
            }
            for (name, value) in left.iter() {
                let Some(other) = right.get(name) else { return Ok(false) };
                if !same(value, other, budget)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Json::Array(left), Json::Array(right)) => {
            budget.charge(1 + left.len())?;
            if left.len() != right.len() {
                return Ok(false);
            }
            for (left, right) in left.iter().zip(right) {
                if !same(left, right, budget)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Json::Number(left), Json::Number(right)) => {
            budget.charge(1 + left.len().max(right.len()) / 16)?;
            Ok(left == right || Decimal::parse(left).is_some_and(|left| Some(left) == Decimal::parse(right)))
        }
        (left, right) => Ok(left == right),
    }
}
