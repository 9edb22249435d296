//! The values of a parameter in a resource. <https://hl7.org/fhir/R4/searchparameter.html>

use fhir::json::Json;

use super::values::{self, Value};
use crate::query::{Aspect, Param, ParamKind};
use crate::registry::{ComponentElements, Element, Parameter, elements, registry};

/// The values; None if the type has no such parameter, or has it by another definition.
pub(crate) fn select(param: &Param, resource: &Json, base: &str) -> Option<Vec<Value>> {
    let resource_type = resource.str("resourceType")?;
    let registry = registry();
    let parameter = registry.find(resource_type, &param.code).filter(|it| it.aspect_id(param.aspect) == param.id)?;
    if param.kind == ParamKind::Composite {
        let elements = parameter.composites_plainly(resource).ok()?;
        return Some(elements.iter().filter_map(|it| combine(parameter, param.aspect, it, base)).collect());
    }
    let elements = parameter.select_plainly(resource).ok()?;
    let has_parts = param.kind == ParamKind::String && param.aspect == Aspect::Value;
    let values = |it: &Element<'_>| {
        let mut found = values::of(param.kind, param.aspect, &it.type_name, &it.json, base);
        if has_parts && (it.type_name == "HumanName" || parameter.is_family()) {
            found.extend(values::parts(&it.type_name, &it.json));
        }
        found
    };
    let mut found: Vec<Value> = elements.iter().flat_map(values).collect();
    if param.kind == ParamKind::Token && param.aspect == Aspect::Value && elements::are_all(parameter, "string") {
        for value in &mut found {
            if let Value::Token(_, code) = value {
                *code = code.to_lowercase();
            }
        }
    }
    Some(found)
}

/// Whether the parameter selects anything, be it compared or not; None as of [`select`].
pub(crate) fn has_element(param: &Param, resource: &Json) -> Option<bool> {
    let registry = registry();
    let parameter = registry.find(resource.str("resourceType")?, &param.code).filter(|it| it.id == param.id)?;
    Some(!parameter.select_plainly(resource).ok()?.is_empty())
}

/// The values of each component in one element, which counts if none of them is empty.
/// <https://hl7.org/fhir/R4/search.html#combining>
fn combine(parameter: &Parameter, aspect: Aspect, element: &ComponentElements<'_>, base: &str) -> Option<Value> {
    let mut values = Vec::new();
    for (component, elements) in parameter.components.iter().zip(element) {
        let aspect = if component.kind == ParamKind::Quantity { aspect } else { Aspect::Value };
        let of = |it: &Element<'_>| values::of(component.kind, aspect, &it.type_name, &it.json, base);
        values.push(elements.iter().flat_map(of).collect::<Vec<_>>());
    }
    (!values.iter().any(Vec::is_empty)).then_some(Value::Composite(values))
}
