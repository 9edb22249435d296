//! Tests that cannot run here say so, by name: a skipped test is counted, never silent.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Prints why a test does not run, and adds the line to the file that `tests/run` counts at its end.
pub fn skip(what: &str, why: &str) {
    let line = format!("skipped: {what} ({why})\n");
    print!("{line}");
    if let Some(path) = std::env::var_os("TRIBUTARY_TEST_SKIPPED") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list of skipped tests is writable");
    }
}
