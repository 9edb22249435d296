//! Logical ids of resources. <https://hl7.org/fhir/R4/datatypes.html#id>

/// Whether `text` is a logical id: 1 to 64 ASCII letters, digits, `-` and `.`; `.` and `..` are refused because they
/// mean something else in a URL path.
pub fn is_valid(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
        && text != "."
        && text != ".."
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn ids() {
        for good in ["1", "a-B.9", "...", &"x".repeat(64)] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", ".", "..", "a_b", "a/b", "ä", "a b", "a\n", &"x".repeat(65)] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
