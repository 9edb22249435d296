//! What does not stand in a source file.

use crate::tree::{assert_none, sources};

#[test]
fn nothing_is_left_for_later_and_no_lint_is_silenced() {
    // Written in two halves, so that this file is clean by its own rule.
    let markers = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("#[al", "low(")];
    let mut findings = Vec::new();
    for file in sources("rs") {
        for (index, line) in file.text.lines().enumerate() {
            // A macro cannot know whether the lint fires where it is used; clippy checks the reason.
            let in_macro = line.contains("clippy::allow_attributes");
            for marker in markers.iter().filter(|marker| line.contains(**marker) && !in_macro) {
                findings.push(format!("{}:{}: {marker}", file.path, index + 1));
            }
        }
    }
    assert_none("an issue is the place for what is left to do, #[expect(…, reason)] for a lint:", &findings);
}

#[test]
fn lines_end_clean() {
    let mut findings = Vec::new();
    for extension in ["rs", "toml", "md"] {
        for file in sources(extension) {
            for (index, line) in file.text.lines().enumerate() {
                if line.trim_end() != line {
                    findings.push(format!("{}:{}", file.path, index + 1));
                }
            }
            if !file.text.ends_with('\n') || file.text.ends_with("\n\n") {
                findings.push(format!("{}: ends with one line feed", file.path));
            }
        }
    }
    assert_none("white space at the end:", &findings);
}
