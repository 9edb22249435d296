//! What of the CapabilityStatement is normative. <https://hl7.org/fhir/R4/capabilitystatement-definitions.html>

use fhir::json::Json;

/// Paths of the elements that R4's definition of CapabilityStatement marks as trial use.
const TRIAL_USE: [&str; 17] = [
    "CapabilityStatement.useContext",
    "CapabilityStatement.imports",
    "CapabilityStatement.implementation.custodian",
    "CapabilityStatement.rest.security",
    "CapabilityStatement.rest.resource.supportedProfile",
    "CapabilityStatement.rest.resource.versioning",
    "CapabilityStatement.rest.resource.readHistory",
    "CapabilityStatement.rest.resource.updateCreate",
    "CapabilityStatement.rest.resource.conditionalCreate",
    "CapabilityStatement.rest.resource.conditionalRead",
    "CapabilityStatement.rest.resource.conditionalUpdate",
    "CapabilityStatement.rest.resource.conditionalDelete",
    "CapabilityStatement.rest.resource.referencePolicy",
    "CapabilityStatement.rest.resource.searchInclude",
    "CapabilityStatement.rest.resource.searchRevInclude",
    "CapabilityStatement.messaging",
    "CapabilityStatement.document",
];

/// The statement without what is trial use.
pub(super) fn without_trial_use(mut statement: Json) -> Json {
    for path in TRIAL_USE {
        let names: Vec<&str> = path.split('.').skip(1).collect();
        remove(&mut statement, &names);
    }
    statement
}

fn remove(value: &mut Json, path: &[&str]) {
    match (value, path) {
        (Json::Array(items), _) => items.iter_mut().for_each(|item| remove(item, path)),
        (Json::Object(members), [name]) => {
            members.remove(name);
        }
        (Json::Object(members), [name, rest @ ..]) => {
            if let Some(member) = members.get_mut(name) {
                remove(member, rest);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_trial_use_is_gone_and_the_rest_is_there() {
        let full = super::super::statement("http://s");
        let normative = without_trial_use(full.clone());
        let text = normative.to_string();
        assert!(full.to_string().contains("\"versioning\"") && !text.contains("\"versioning\""));
        assert!(!text.contains("\"security\"") && !text.contains("\"searchRevInclude\""));
        assert_eq!(normative.list("rest")[0].list("resource").len(), full.list("rest")[0].list("resource").len());
        assert!(text.contains("\"searchParam\"") && text.contains("\"interaction\""));
    }
}
