//! Reading a FHIRPath Patch from a `Parameters` resource. <https://hl7.org/fhir/R4/fhirpatch.html#format>

use super::path_patch::{Action, Operation};
use super::value::{self, Given, name_of};
use super::{PatchError, Refusal, bounded, echo};
use crate::json::Json;
use crate::path::{Expression, Patterns};

/// The parts that each type of operation takes, besides `type`.
const PARTS: &[(&str, &[&str])] = &[
    ("add", &["path", "name", "value"]),
    ("insert", &["path", "value", "index"]),
    ("delete", &["path"]),
    ("replace", &["path", "value"]),
    ("move", &["path", "source", "destination"]),
];

/// Reads the operations.
pub(super) fn read(parameters: &Json) -> Result<Vec<Operation>, PatchError> {
    if parameters.str("resourceType") != Some("Parameters") {
        let found = echo(parameters.str("resourceType").unwrap_or("nothing"));
        let text = format!("a FHIRPath Patch is a Parameters resource, found {found}");
        return Err(Refusal::malformed(text).of_patch());
    }
    let operations = parameters.list("parameter");
    bounded(operations)?;
    let mut patterns = Patterns::default();
    let one = |(index, parameter)| operation(parameter, &mut patterns).map_err(|refusal: Refusal| refusal.of(index));
    operations.iter().enumerate().map(one).collect()
}

fn operation(parameter: &Json, patterns: &mut Patterns) -> Result<Operation, Refusal> {
    let name = parameter.str("name").unwrap_or_default();
    if name != "operation" {
        return Err(Refusal::malformed(format!("every parameter is named operation, not {}", echo(name))));
    }
    let parts = Parts(parameter.list("part"));
    let kind = parts.text("type")?;
    let Some((_, takes)) = PARTS.iter().find(|(known, _)| *known == kind) else {
        let text = format!("type {} is unknown; known: add, insert, delete, replace, move", echo(kind));
        return Err(Refusal::malformed(text));
    };
    for (index, part) in parts.0.iter().enumerate() {
        let name = name_of(part)?;
        if name != "type" && !takes.contains(&name) {
            let text = format!("{kind} does not take the part {}; it takes {}", echo(name), takes.join(", "));
            return Err(Refusal::malformed(text));
        }
        if parts.0[..index].iter().any(|other| other.str("name") == Some(name)) {
            return Err(Refusal::malformed(format!("the part {name} stands twice")));
        }
    }
    let text = parts.text("path")?;
    let path = Expression::compile_among(text, patterns)
        .map_err(|error| Refusal::malformed(format!("the path {} is not FHIRPath: {error}", echo(text))))?;
    let action = match kind {
        "add" => Action::Add { name: parts.text("name")?.into(), value: parts.given()? },
        "insert" => Action::Insert { index: parts.index("index")?, value: parts.given()? },
        "delete" => Action::Delete,
        "replace" => Action::Replace(parts.given()?),
        _ => Action::Move { source: parts.index("source")?, destination: parts.index("destination")? },
    };
    Ok(Operation { path, action })
}

/// The parts of one operation.
struct Parts<'a>(&'a [Json]);

impl<'a> Parts<'a> {
    fn find(&self, name: &str) -> Result<&'a Json, Refusal> {
        let found = self.0.iter().find(|part| part.str("name") == Some(name));
        found.ok_or_else(|| Refusal::malformed(format!("the part {name} is missing")))
    }

    fn text(&self, name: &str) -> Result<&'a str, Refusal> {
        let part = self.find(name)?;
        let text = ["valueString", "valueCode"].iter().find_map(|member| part.str(member));
        text.ok_or_else(|| Refusal::malformed(format!("the part {name} needs a valueString or valueCode")))
    }

    fn index(&self, name: &str) -> Result<usize, Refusal> {
        let number = self.find(name)?.get("valueInteger").and_then(Json::as_number);
        let index = number.and_then(|number| number.parse().ok());
        index.ok_or_else(|| Refusal::malformed(format!("the part {name} needs a valueInteger of 0 or more")))
    }

    fn given(&self) -> Result<Given, Refusal> {
        value::read(self.find("value")?)
    }
}
