//! Files stay small enough to be read at one sitting. (Functions: `too_many_lines` of clippy, 70 lines.)

use crate::tree::{assert_none, sources, without_tests};

/// Lines of code a file may have: no blank lines, comments, docs or unit tests counted.
const LINES: usize = 500;

/// Longer ones, and why.
const EXCEPTIONS: [(&str, &str); 0] = [];

#[test]
fn no_file_is_longer_than_five_hundred_lines_of_code() {
    let mut findings = Vec::new();
    for file in sources("rs") {
        let lines = without_tests(&file.text).lines().filter(|line| is_code(line)).count();
        let excepted = EXCEPTIONS.iter().any(|(path, _)| *path == file.path);
        if lines > LINES && !excepted {
            findings.push(format!("{}: {lines} lines", file.path));
        }
        if lines <= LINES && excepted {
            findings.push(format!("{}: {lines} lines, the exception is no longer needed", file.path));
        }
    }
    assert_none("split these by what they do:", &findings);
}

fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//")
}
