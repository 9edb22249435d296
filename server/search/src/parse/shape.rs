//! `_summary` and `_elements` of interactions other than a search: which elements of the resource are answered.
//! <https://hl7.org/fhir/R4/search.html#summary>, <https://hl7.org/fhir/R4/search.html#elements>

use fhir::definitions::{TypeDefinition, r4};
use fhir::outcome::Issue;

use super::refusal::{Refusal, nearest};
use crate::query::Elements;

/// Reads `_summary` and `_elements` among the pairs of an interaction that answers whole resources of `resource_type`;
/// without a type names are not compared with the definitions. Other pairs are not looked at.
pub fn elements_of(resource_type: Option<&str>, pairs: &[(String, String)]) -> Result<Elements, Vec<Issue>> {
    let (mut summaries, mut lists, mut issues) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in pairs {
        let read = match name.as_str() {
            "_summary" => summary(value).map(|read| summaries.push(read)),
            "_elements" => elements(resource_type, value).map(|read| lists.push(read)),
            _ => Ok(()),
        };
        issues.extend(read.err().map(Refusal::error));
    }
    for (name, many) in [("_summary", summaries.len() > 1), ("_elements", lists.len() > 1)] {
        if many {
            issues.push(Refusal::invalid(format!("{name} is given more than once; give it once")).error());
        }
    }
    if !issues.is_empty() {
        return Err(issues);
    }
    match (summaries.pop().unwrap_or_default(), lists.pop()) {
        (summary, None) => Ok(summary),
        (Elements::All, Some(list)) => Ok(list),
        (_, Some(_)) => {
            let text = "_summary and _elements shape the same answer; give one of them";
            Err(vec![Refusal::invalid(text.to_owned()).error()])
        }
    }
}

fn summary(value: &str) -> Result<Elements, Refusal> {
    match value {
        "true" => Ok(Elements::Summary),
        "text" => Ok(Elements::Text),
        "data" => Ok(Elements::Data),
        "false" => Ok(Elements::All),
        "count" => Err(Refusal::invalid("_summary=count counts the matches of a search; here is none".to_owned())),
        _ => Err(Refusal::invalid(format!("_summary is true, text, data or false, not {value:?}"))),
    }
}

/// Names of elements at the top of a resource: `name` or `Type.name`.
fn elements(resource_type: Option<&str>, value: &str) -> Result<Elements, Refusal> {
    let names: Vec<String> = value.split(',').map(|name| name.trim().to_owned()).collect();
    let definition = resource_type.and_then(|name| r4().get(name));
    for name in &names {
        match definition {
            Some(definition) if !has(definition, name) => return Err(unknown(definition, name)),
            None if name.is_empty() => return Err(Refusal::invalid("_elements has an empty name".to_owned())),
            _ => {}
        }
    }
    Ok(Elements::Named(names))
}

/// Whether `name` is an element of the type: `value`, `value[x]` or `valueQuantity`.
pub(super) fn has(definition: &TypeDefinition, name: &str) -> bool {
    let name = name.strip_prefix(definition.name.as_str()).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name);
    let bare = name.strip_suffix("[x]");
    definition.element(bare.unwrap_or(name)).is_some_and(|element| bare.is_none() || element.choice)
        || definition.member(name).is_some()
}

fn unknown(definition: &TypeDefinition, name: &str) -> Refusal {
    let known = definition.elements.iter().map(|element| element.name.as_str());
    let nearest = nearest(name.rsplit('.').next().unwrap_or(name), known);
    let resource_type = &definition.name;
    Refusal::invalid(format!(
        "_elements: {resource_type} has no element {name:?} at its top; the nearest are {nearest}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Elements, String> {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        elements_of(Some("Observation"), &pairs).map_err(|issues| {
            issues.iter().map(|issue| issue.diagnostics.clone().unwrap_or_default()).collect::<Vec<_>>().join("; ")
        })
    }

    #[test]
    fn all_forms() {
        assert_eq!(read(&[]), Ok(Elements::All));
        assert_eq!(read(&[("_summary", "true")]), Ok(Elements::Summary));
        assert_eq!(read(&[("_summary", "text")]), Ok(Elements::Text));
        assert_eq!(read(&[("_summary", "data"), ("code", "x")]), Ok(Elements::Data));
        let wanted = ["code", "Observation.status", "value[x]", "valueQuantity"];
        let named = Elements::Named(wanted.map(str::to_owned).into());
        assert_eq!(read(&[("_elements", "code,Observation.status, value[x],valueQuantity")]), Ok(named));
        assert!(matches!(read(&[("_summary", "false"), ("_elements", "code")]), Ok(Elements::Named(_))));
    }

    #[test]
    fn what_takes_no_effect_is_refused_by_name() {
        for (pairs, part) in [
            (vec![("_summary", "yes")], "true, text, data or false"),
            (vec![("_summary", "")], "true, text, data or false"),
            (vec![("_summary", "count")], "counts the matches"),
            (vec![("_elements", "stauts")], "status"),
            (vec![("_elements", "")], "no element"),
            (vec![("_elements", "code,")], "no element"),
            (vec![("_elements", "code.text")], "no element"),
            (vec![("_elements", "code[x]")], "no element"),
            (vec![("_elements", "Patient.name")], "no element"),
            (vec![("_elements", "code"), ("_elements", "status")], "more than once"),
            (vec![("_summary", "true"), ("_elements", "status")], "one of them"),
        ] {
            let said = read(&pairs).expect_err("refused");
            assert!(said.contains(part), "{pairs:?}: {said}");
        }
    }
}
