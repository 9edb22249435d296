//! Takes search expressions apart at their unions: of `A.x | B.y` only one branch concerns a resource.

use std::collections::BTreeSet;

use fhir::definitions::is_resource_type;

/// The branches of `expression` that can select anything in a resource of `resource_type`.
pub(super) fn branches(expression: &str, resource_type: &str) -> Vec<String> {
    split(expression, '|')
        .into_iter()
        .map(str::trim)
        .filter(|branch| !branch.is_empty() && concerns(branch, resource_type))
        .map(str::to_owned)
        .collect()
}

/// The branch without white space and without a restriction to Patient targets.
pub(super) fn without_target(branch: &str) -> String {
    let compact: String = branch.split_whitespace().collect();
    compact.strip_suffix(".where(resolve()isPatient)").map(str::to_owned).unwrap_or(compact)
}

/// The branch without the parentheses around it, such as those of `(Type.a as T)`.
pub(super) fn bare(branch: &str) -> &str {
    branch.strip_prefix('(').and_then(|it| it.strip_suffix(')')).unwrap_or(branch)
}

/// What an expression selects in resources of a type: its branches, each in one way of writing.
pub(super) fn elements(expression: &str, resource_type: &str) -> BTreeSet<String> {
    let element = |branch: String| {
        let compact: String = branch.split_whitespace().collect::<Vec<_>>().join(" ");
        let inner = bare(&compact);
        let cast = inner.rsplit_once(" as ").filter(|(_, name)| name.bytes().all(|it| it.is_ascii_alphanumeric()));
        let inner = cast.map_or(inner.to_owned(), |(path, name)| format!("{path}.ofType({name})"));
        let inner = inner.replace(".as(", ".ofType(");
        let of_any = inner.strip_prefix("Resource.").or_else(|| inner.strip_prefix("DomainResource."));
        of_any.map_or(inner.clone(), |path| format!("{resource_type}.{path}"))
    };
    branches(expression, resource_type).into_iter().map(element).collect()
}

/// Splits outside parentheses, brackets and quotes.
pub(super) fn split(expression: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0_usize, false, false);
    for (index, letter) in expression.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ if letter == separator && depth == 0 => {
                parts.push(&expression[start..index]);
                start = index + letter.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&expression[start..]);
    parts
}

/// Whether the branch begins at this type, at a base type, or at no type; branches with inner unions are not judged.
fn concerns(branch: &str, resource_type: &str) -> bool {
    let path = branch.trim_start_matches(['(', ' ']);
    let root = path.split(|it: char| !it.is_ascii_alphanumeric()).next().unwrap_or_default();
    root == resource_type || !is_resource_type(root) || branch.contains('|')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_of_a_type() {
        let dates = "AllergyIntolerance.recordedDate | CarePlan.period | (RiskAssessment.occurrence as dateTime)";
        assert_eq!(branches(dates, "CarePlan"), ["CarePlan.period"]);
        assert_eq!(branches(dates, "RiskAssessment"), ["(RiskAssessment.occurrence as dateTime)"]);
        assert_eq!(branches("name | alias", "InsurancePlan"), ["name", "alias"]);
        assert_eq!(branches("Resource.meta.tag", "Patient"), ["Resource.meta.tag"]);
        assert_eq!(branches("Patient.x.where(a='|').b", "Patient"), ["Patient.x.where(a='|').b"]);
    }

    #[test]
    fn ways_of_writing_are_one() {
        for (left, right) in [
            ("Resource.id", "Encounter.id"),
            ("(Encounter.x as dateTime)", "Encounter.x.as(dateTime)"),
            ("Encounter.a | Encounter.b", "Encounter.b|Encounter.a | Patient.a"),
        ] {
            assert_eq!(elements(left, "Encounter"), elements(right, "Encounter"), "{left}");
        }
        assert_ne!(elements("Location.name", "Location"), elements("Location.name | Location.alias", "Location"));
    }

    #[test]
    fn targets_are_stripped() {
        assert_eq!(without_target("Flag.subject.where(resolve() is Patient)"), "Flag.subject");
    }
}
