//! Patches of resources: JSON Patch and FHIRPath Patch. <https://hl7.org/fhir/R4/http.html#patch>
//!
//! | format | media type | read by | specification |
//! |---|---|---|---|
//! | JSON Patch | `application/json-patch+json` | [`Patch::from_json_patch`] | RFC 6902, RFC 6901 |
//! | FHIRPath Patch | those of FHIR, a `Parameters` | [`Patch::from_parameters`] | <https://hl7.org/fhir/R4/fhirpatch.html> |
//! | XML Patch | `application/xml-patch+xml` | not supported | RFC 5261 |
//!
//! ```text
//! document ─ json_patch ── pointer ─┐
//! Parameters ─ parameters ─ path_patch ─ place, value ─┴─▶ changed copy ─ narrative ─▶ resource
//! ```
//!
//! Operations are carried out in their order on a copy: all of them or none. Whether what comes out is a valid
//! resource, and still the same one, is for the caller to check. Arrays and objects that operations have left empty
//! are taken out, since FHIR JSON has none: <https://hl7.org/fhir/R4/json.html#null>. Steps and growth are bounded.

use std::fmt;

use crate::json::{Json, MAX_DEPTH};
use crate::path::Meter;

mod json_patch;
pub(crate) mod narrative;
mod parameters;
mod path_patch;
mod place;
mod pointer;
mod value;

#[cfg(test)]
mod tests;

/// Most operations of one patch.
pub const MAX_OPERATIONS: usize = 10_000;

/// Most steps of one patch; each touches one value, a few neighbours in a list, or a piece of text.
const MAX_STEPS: usize = 20_000_000;

/// Most steps of the paths of one FHIRPath Patch together; each has the bound of one evaluation, besides.
const MAX_EVALUATION: u64 = 20_000_000;

/// Most values that `copy` operations of one patch may add: each could double the document else.
const MAX_COPIED: usize = 500_000;

/// Most bytes of what the client wrote that an error repeats.
const MAX_ECHO: usize = 200;

/// A patch that is read and can be applied to any number of resources.
#[derive(Debug)]
pub struct Patch(Operations);

#[derive(Debug)]
enum Operations {
    Json(Vec<json_patch::Operation>),
    Path(Vec<path_patch::Operation>),
}

/// Why a patch cannot be read or applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PatchError {
    /// The operation it is about, counted from 0.
    pub operation: Option<usize>,
    /// What kind of failure.
    pub fault: Fault,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no patch.
    Malformed,
    /// It is a patch, but not one for this resource; also where a `test` does not hold.
    Inapplicable,
    /// It takes more than is permitted.
    TooCostly,
}

impl Patch {
    /// Reads a JSON Patch document. <https://www.rfc-editor.org/rfc/rfc6902#section-3>
    pub fn from_json_patch(document: &Json) -> Result<Patch, PatchError> {
        json_patch::read(document).map(|operations| Patch(Operations::Json(operations)))
    }

    /// Reads a FHIRPath Patch. <https://hl7.org/fhir/R4/fhirpatch.html#format>
    pub fn from_parameters(parameters: &Json) -> Result<Patch, PatchError> {
        parameters::read(parameters).map(|operations| Patch(Operations::Path(operations)))
    }

    /// What `resource` becomes.
    pub fn apply(&self, resource: &Json) -> Result<Json, PatchError> {
        let mut changed = resource.clone();
        let mut budget = Budget::new();
        let mut told = false;
        match &self.0 {
            Operations::Json(operations) => {
                for (index, operation) in operations.iter().enumerate() {
                    operation.apply(&mut changed, &mut budget).map_err(|refusal| refusal.of(index))?;
                    told |= operation.settles_narrative();
                }
                drop_empty(&mut changed);
            }
            Operations::Path(operations) => {
                let meter = Meter::new(MAX_EVALUATION);
                for (index, operation) in operations.iter().enumerate() {
                    told |= operation.apply(&mut changed, &meter, &mut budget).map_err(|refusal| refusal.of(index))?;
                }
            }
        }
        if !told {
            narrative::settle(resource, &mut changed)?;
        }
        Ok(changed)
    }
}

impl fmt::Display for PatchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operation {
            Some(index) => write!(formatter, "operation {index}: {}", self.message),
            None => formatter.write_str(&self.message),
        }
    }
}

/// An error of an operation that does not know its own place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    fault: Fault,
    message: String,
}

impl Refusal {
    fn malformed(message: impl Into<String>) -> Refusal {
        Refusal { fault: Fault::Malformed, message: message.into() }
    }

    fn inapplicable(message: impl Into<String>) -> Refusal {
        Refusal { fault: Fault::Inapplicable, message: message.into() }
    }

    fn too_costly(message: impl Into<String>) -> Refusal {
        Refusal { fault: Fault::TooCostly, message: message.into() }
    }

    fn of(self, operation: usize) -> PatchError {
        PatchError { operation: Some(operation), fault: self.fault, message: self.message }
    }

    fn of_patch(self) -> PatchError {
        PatchError { operation: None, fault: self.fault, message: self.message }
    }
}

/// What is left of the steps and of the growth that one patch is granted.
struct Budget {
    steps: usize,
    copied: usize,
}

impl Budget {
    fn new() -> Budget {
        Budget { steps: MAX_STEPS, copied: MAX_COPIED }
    }

    fn charge(&mut self, steps: usize) -> Result<(), Refusal> {
        let left = self.steps.checked_sub(steps);
        self.steps = left.ok_or_else(|| Refusal::too_costly("the patch takes too many steps; send smaller ones"))?;
        Ok(())
    }

    /// Counts the values of a copy.
    fn copy(&mut self, value: &Json) -> Result<(), Refusal> {
        let left = self.copied.checked_sub(weight(value));
        self.copied = left.ok_or_else(|| Refusal::too_costly("the patch copies too much; send smaller ones"))?;
        Ok(())
    }
}

/// Checks the number of operations.
fn bounded<T>(operations: &[T]) -> Result<(), PatchError> {
    if operations.len() <= MAX_OPERATIONS {
        return Ok(());
    }
    let text = format!("the patch has {} operations; at most {MAX_OPERATIONS} are accepted", operations.len());
    Err(Refusal::too_costly(text).of_patch())
}

/// What the client wrote, cut where it is long.
fn echo(text: &str) -> String {
    match text.char_indices().find(|(index, _)| *index >= MAX_ECHO) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// Whether a value that stands `above` containers deep keeps within the depth of a document.
fn fits(above: usize, value: &Json) -> bool {
    above + depth(value) <= MAX_DEPTH
}

fn depth(value: &Json) -> usize {
    match value {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Json::Object(object) => 1 + object.iter().map(|(_, member)| depth(member)).max().unwrap_or(0),
        _ => 0,
    }
}

/// How many values there are in a value; long texts count as several.
fn weight(value: &Json) -> usize {
    match value {
        Json::String(text) | Json::Number(text) => 1 + text.len() / 64,
        Json::Array(items) => 1 + items.iter().map(weight).sum::<usize>(),
        Json::Object(object) => 1 + object.iter().map(|(name, member)| name.len() / 64 + weight(member)).sum::<usize>(),
        Json::Null | Json::Bool(_) => 1,
    }
}

/// Takes empty arrays and objects out, at any depth; the document itself stays. Beside an array of primitives, where
/// places count, `null` comes instead.
fn drop_empty(value: &mut Json) {
    match value {
        Json::Array(items) => {
            items.iter_mut().for_each(drop_empty);
            items.retain(|item| !is_empty(item));
        }
        Json::Object(object) => {
            for (name, member) in object.iter_mut() {
                match member {
                    Json::Array(items) if name.starts_with('_') => {
                        items.iter_mut().for_each(drop_empty);
                        items.iter_mut().filter(|item| is_empty(item)).for_each(|item| *item = Json::Null);
                        if items.iter().all(|item| *item == Json::Null) {
                            items.clear();
                        }
                    }
                    _ => drop_empty(member),
                }
            }
            let empty: Vec<String> =
                object.iter().filter(|(_, member)| is_empty(member)).map(|(name, _)| name.to_owned()).collect();
            for name in empty {
                object.remove(&name);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Json) -> bool {
    match value {
        Json::Array(items) => items.is_empty(),
        Json::Object(object) => object.is_empty(),
        _ => false,
    }
}
