//! Which data types a search parameter can select, told from its expression: some modifiers have a meaning on some of
//! them only. <https://hl7.org/fhir/R4/search.html#ptypes>

use fhir::definitions::{Element, element_of, is_resource_type};

use super::Parameter;
use super::union::{self, split};

/// Whether the parameter can select an element of one of these types; true where the expression does not tell.
pub(crate) fn can_select(parameter: &Parameter, types: &[&str]) -> bool {
    selected(parameter).is_none_or(|selected| selected.iter().any(|it| types.contains(&it.as_str())))
}

/// Whether the parameter can select several elements of one resource; true where the expression does not tell. Read once:
/// the default order of answers asks for it in every search.
pub(crate) fn can_repeat(parameter: &Parameter) -> bool {
    let read = || match branches(parameter).as_slice() {
        [path] => repeats(path, &parameter.resource_type).unwrap_or(true),
        _ => true,
    };
    *parameter.repeats.get_or_init(read)
}

/// Whether an element on the path repeats; None where it is more than a path, with a type at its end or without.
fn repeats(path: &str, resource_type: &str) -> Option<bool> {
    let inner = union::bare(path);
    let inner = inner.rsplit_once(" as ").map_or(inner, |(inner, _)| inner).trim();
    let mut types = vec![resource_type.to_owned()];
    let mut repeats = false;
    for name in split(inner, '.').into_iter().skip(1) {
        let elements: Vec<_> = types.iter().filter_map(|it| element_of(it, name)).collect();
        if elements.is_empty() {
            return None;
        }
        repeats |= elements.iter().any(|it| it.repeats());
        types = elements.into_iter().flat_map(types_of).collect();
    }
    Some(repeats)
}

/// The branches of the expression that concern the type.
fn branches(parameter: &Parameter) -> Vec<String> {
    union::branches(&parameter.expression, &parameter.resource_type)
}

/// The elements that an expression selects in a resource of a type; None where one is of another type than `code`, or where
/// that cannot be told.
pub(super) fn codes(expression: &str, resource_type: &str) -> Option<Vec<&'static Element>> {
    let branches = union::branches(expression, resource_type);
    let mut codes = Vec::new();
    for branch in &branches {
        let path = union::bare(branch);
        let (parent, name) = path.trim().rsplit_once('.')?;
        for parent in of_branch(parent, resource_type)? {
            let element = element_of(&parent, name)?;
            if element.types.iter().any(|it| it.code != "code") {
                return None;
            }
            codes.push(element);
        }
    }
    Some(codes).filter(|it| !it.is_empty())
}

/// Whether all that the parameter selects are media types: `Attachment.contentType`, `Binary.contentType`.
pub(crate) fn are_media_types(parameter: &Parameter) -> bool {
    parameter.expression.split('|').all(|branch| branch.trim().trim_end_matches(')').ends_with(".contentType"))
}

/// Whether all that the parameter selects is of this type, as far as the expression tells.
pub(crate) fn are_all(parameter: &Parameter, name: &str) -> bool {
    selected(parameter).is_some_and(|selected| selected.iter().all(|it| it == name))
}

/// The types of the selected elements; None where the expression is more than a path. Searches and writes ask for them, so
/// the expression is read once.
fn selected(parameter: &Parameter) -> Option<&[String]> {
    let read = || types_of_expression(&parameter.expression, &parameter.resource_type);
    parameter.selected.get_or_init(read).as_deref()
}

/// The types of what an expression selects in a resource of a type; None where it is more than a path.
pub(super) fn types_of_expression(expression: &str, resource_type: &str) -> Option<Vec<String>> {
    let mut types = Vec::new();
    for branch in union::branches(expression, resource_type) {
        types.extend(of_branch(&branch, resource_type)?);
    }
    Some(types).filter(|it| !it.is_empty())
}

/// `(Type.a.b as T)`, `Type.a.where(…).b`, `Type.a.as(T)`, `Type.a.ofType(T)`.
fn of_branch(branch: &str, resource_type: &str) -> Option<Vec<String>> {
    let inner = union::bare(branch).trim();
    if let Some((_, cast)) = inner.rsplit_once(" as ") {
        return cast.bytes().all(|it| it.is_ascii_alphanumeric()).then(|| vec![cast.to_owned()]);
    }
    let mut types = vec![resource_type.to_owned()];
    for (index, step) in split(inner, '.').into_iter().enumerate() {
        let argument = |name: &str| step.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        if index == 0 && (is_resource_type(step) || matches!(step, "Resource" | "DomainResource")) {
            continue;
        }
        if let Some(cast) = argument("as").or_else(|| argument("ofType")) {
            types = vec![cast.trim_start_matches("FHIR.").to_owned()];
        } else if argument("where").is_none() {
            let name = step.split_once('[').map_or(step, |(name, _)| name);
            types = types.iter().filter_map(|it| element_of(it, name)).flat_map(types_of).collect();
            if types.is_empty() {
                return None;
            }
        }
    }
    Some(types)
}

fn types_of(element: &'static fhir::definitions::Element) -> Vec<String> {
    match &element.content {
        Some(content) => vec![content.clone()],
        None => element.types.iter().map(|it| it.code.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::registry;

    #[test]
    fn what_repeats() {
        for (resource_type, code, expected) in [
            ("MedicationRequest", "date", true),
            ("Patient", "identifier", true),
            ("Observation", "date", false),
            ("Encounter", "date", false),
            ("Immunization", "date", false),
            ("RiskAssessment", "date", false),
            ("DiagnosticReport", "date", false),
            ("DocumentReference", "date", false),
            ("ValueSet", "date", false),
        ] {
            let registry = registry();
            let parameter = registry.find(resource_type, code).expect(code);
            assert_eq!(can_repeat(parameter), expected, "{resource_type} {code}");
        }
    }

    #[test]
    fn types_of_parameters() {
        for (resource_type, code, expected) in [
            ("Patient", "identifier", &["Identifier"][..]),
            ("Patient", "gender", &["code"]),
            ("Patient", "email", &["ContactPoint"]),
            ("Observation", "value-quantity", &["Quantity", "SampledData"]),
            ("Observation", "code", &["CodeableConcept"]),
            ("Observation", "component-code", &["CodeableConcept"]),
            ("Patient", "_tag", &["Coding"]),
            ("QuestionnaireResponse", "questionnaire", &["canonical"]),
            ("Observation", "subject", &["Reference"]),
        ] {
            let registry = registry();
            let parameter = registry.find(resource_type, code).expect(code);
            assert_eq!(selected(parameter).expect(code), expected, "{resource_type} {code}");
        }
        assert_eq!(selected(registry().find("Patient", "deceased").unwrap()), None);
    }
}
