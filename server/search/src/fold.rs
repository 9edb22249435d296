//! Folds text for searching: case, accents and white space do not count. <https://hl7.org/fhir/R4/search.html#string>

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// The form in which strings are compared: compatibility-decomposed, without combining marks, lower case, `ß` as
/// `ss`, white space as single spaces and none at the ends. Folding twice changes nothing.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut space = false;
    let letters = text.nfkd().filter(|it| !is_combining_mark(*it)).flat_map(char::to_lowercase);
    for letter in letters.nfkd().filter(|it| !is_combining_mark(*it)) {
        if letter.is_whitespace() {
            space = !folded.is_empty();
            continue;
        }
        if std::mem::take(&mut space) {
            folded.push(' ');
        }
        match letter {
            'ß' => folded.push_str("ss"),
            'ς' => folded.push('σ'),
            other => folded.push(other),
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::fold;
    use proptest::prelude::*;

    #[test]
    fn folds() {
        for (text, folded) in [
            ("Müller", "muller"),
            ("  Anna \t Lena\n", "anna lena"),
            ("STRASSE", "strasse"),
            ("Straße", "strasse"),
            ("STRAẞE", "strasse"),
            ("İstanbul", "istanbul"),
            ("ΟΔΟΣ", "οδοσ"),
            ("οδος", "οδοσ"),
            ("ﬁne", "fine"),
            ("e\u{301}", "e"),
            ("Å", "a"),
            ("\u{a0}x", "x"),
            (" \u{301} ", ""),
        ] {
            assert_eq!(fold(text), folded, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in ".*") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }
    }
}
