//! `tributary ucum`: units at the command line.

use tests::program;

/// What it prints to standard output and to standard error, and how it ends.
fn ucum(arguments: &[&str]) -> (String, String, Option<i32>) {
    let output = program::command(&[&["ucum"], arguments].concat()).output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[test]
fn answers() {
    for (arguments, expected) in [
        (&["validate", "mg/dL"][..], "mg/dL is valid: (milligram) / (deciliter)"),
        (
            &["validate", "mm[Hg]", "--json"],
            r#"{"valid":true,"code":"mm[Hg]","display":"(millimeter of mercury column)"}"#,
        ),
        (&["convert", "1", "[lb_av]", "kg"], "0.45359237 kg"),
        (&["convert", "-40", "[degF]", "Cel", "--json"], r#"{"value":-40,"code":"Cel"}"#),
        (&["convert", "98.6", "[degF]", "Cel"], "37 Cel"),
        (&["canonical", "120", "mm[Hg]"], "15998640 g.m-1.s-2"),
        (&["canonical", "5.40", "mmol/L", "--json"], r#"{"value":3251956010400000000000000,"code":"m-3"}"#),
    ] {
        assert_eq!(ucum(arguments), (expected.to_owned(), String::new(), Some(0)), "{arguments:?}");
    }
}

#[test]
fn refusals() {
    for (arguments, stdout, stderr, code) in [
        (&["validate", "iU"][..], "", "there is no unit iU; [iU] is one (at character 0)", 1),
        (
            &["validate", "g/12h", "--json"],
            r#"{"valid":false,"code":"g/12h","offset":2,"message":"after the number 12 comes . or /; write 12.h"}"#,
            "after the number 12 comes . or /; write 12.h (at character 2)",
            1,
        ),
        (&["convert", "1", "kg", "m"], "", "kg does not convert to m: it is g, not m (at character 0)", 1),
        (&["canonical", "1,5", "kg"], "", "1,5 is no decimal number; write one as in JSON: 5, 0.25, 1e-3", 2),
    ] {
        let expected = (stdout.to_owned(), format!("tributary: {stderr}"), Some(code));
        assert_eq!(ucum(arguments), expected, "{arguments:?}");
    }
}
