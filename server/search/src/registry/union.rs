//! Takes search expressions apart at their unions: of `A.x | B.y` only one branch concerns a resource.

use fhir::definitions::is_resource_type;

/// The branches of `expression` that can select anything in a resource of `resource_type`.
pub(super) fn branches(expression: &str, resource_type: &str) -> Vec<String> {
    split(expression)
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

/// Splits at `|` outside parentheses, brackets and quotes.
fn split(expression: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0_usize, false, false);
    for (index, byte) in expression.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'\'' => quoted = !quoted,
            _ if quoted => {}
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => {
                parts.push(&expression[start..index]);
                start = index + 1;
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
    fn targets_are_stripped() {
        assert_eq!(without_target("Flag.subject.where(resolve() is Patient)"), "Flag.subject");
    }
}
