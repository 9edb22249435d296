//! Which data types the parameters of a kind are read from. <https://hl7.org/fhir/R4/search.html#table>

use fhir::definitions::Kind as Form;
use fhir::definitions::r4;

use super::elements::types_of_expression;
use super::parameter::kind_name;
use crate::query::ParamKind;

/// Why nothing that the expression selects in a resource of a type could be found by a parameter of this kind; None where
/// something may be.
pub(super) fn nothing_readable(kind: ParamKind, expression: &str, resource_type: &str) -> Option<String> {
    let types = types_of_expression(expression, resource_type)?;
    if types.iter().any(|name| is_readable(kind, name)) {
        return None;
    }
    let (kind, types) = (kind_name(kind), types.join(", "));
    Some(format!("{expression:?} selects {types}, of which a {kind} parameter finds nothing"))
}

fn is_readable(kind: ParamKind, name: &str) -> bool {
    let is_primitive = || r4().get(name).is_some_and(|definition| definition.kind == Form::Primitive);
    match kind {
        ParamKind::Number => matches!(name, "integer" | "decimal" | "positiveInt" | "unsignedInt" | "Range"),
        ParamKind::Date => matches!(name, "date" | "dateTime" | "instant" | "Period" | "Timing"),
        ParamKind::String => is_primitive() || matches!(name, "HumanName" | "Address"),
        ParamKind::Token => {
            is_primitive() || matches!(name, "Coding" | "CodeableConcept" | "Identifier" | "ContactPoint")
        }
        // A Bundle holds its first resource where other types refer to one.
        ParamKind::Reference => is_primitive() || matches!(name, "Reference" | "Resource"),
        ParamKind::Quantity => {
            matches!(name, "Quantity" | "Age" | "Count" | "Distance" | "Duration" | "Money" | "Range" | "SampledData")
        }
        ParamKind::Uri => is_primitive(),
        ParamKind::Composite => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Kind, r4};

    #[test]
    fn all_of_hl7_is_readable() {
        let mut unreadable = Vec::new();
        for name in fhir::definitions::resource_types() {
            for parameter in r4().parameters(name) {
                if let Kind::Indexed(kind) = parameter.kind {
                    unreadable.extend(nothing_readable(kind, &parameter.expression, name));
                }
            }
        }
        assert_eq!(unreadable, Vec::<String>::new());
    }

    #[test]
    fn what_a_kind_does_not_read() {
        for (kind, expression) in [
            (ParamKind::Date, "Patient.name"),
            (ParamKind::Token, "Patient.name | Observation.code"),
            (ParamKind::Quantity, "Patient.birthDate"),
            (ParamKind::Reference, "Patient.contact.name"),
        ] {
            assert!(nothing_readable(kind, expression, "Patient").is_some(), "{expression}");
        }
    }
}
