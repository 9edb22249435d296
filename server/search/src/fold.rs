//! Folds text for searching: case, accents, white space and punctuation do not count. <https://hl7.org/fhir/R4/search.html#string>

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// The form in which strings are compared: as [`with_punctuation`], without apostrophes, quotation marks, brackets and the
/// marks that end a phrase; a hyphen or dash is a space. Folding twice changes nothing.
pub fn fold(text: &str) -> String {
    let mut folded = Folded::default();
    for letter in letters(text) {
        match letter {
            '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' => folded.push(' '),
            ignored if is_ignored(ignored) => {}
            other => folded.push(other),
        }
    }
    folded.text
}

/// Text in which words are looked for: compatibility-decomposed, without combining marks, lower case, `ß` as `ss`, white
/// space as single spaces and none at the ends.
pub fn with_punctuation(text: &str) -> String {
    let mut folded = Folded::default();
    letters(text).for_each(|letter| folded.push(letter));
    folded.text
}

fn letters(text: &str) -> impl Iterator<Item = char> {
    let letters = text.nfkd().filter(|it| !is_combining_mark(*it)).flat_map(char::to_lowercase);
    letters.nfkd().filter(|it| !is_combining_mark(*it))
}

/// Signs that are part of a text, such as `%`, `_`, `+`, `&` and `/`, are not.
fn is_ignored(letter: char) -> bool {
    const ASCII: &str = "'\"`.,;:!?()[]{}";
    // What is typed for an apostrophe, quotation marks, and a hyphen that is shown at the end of a line alone.
    const OTHERS: &str = "\u{2018}\u{2019}\u{201a}\u{201b}\u{2bb}\u{2bc}\u{2032}\u{201c}\u{201d}\u{201e}\u{ab}\u{bb}\u{2039}\u{203a}\u{a1}\u{bf}\u{ad}";
    if letter.is_ascii() { ASCII.contains(letter) } else { OTHERS.contains(letter) }
}

/// A text that has spaces between its words alone.
#[derive(Default)]
struct Folded {
    text: String,
    space: bool,
}

impl Folded {
    fn push(&mut self, letter: char) {
        if letter.is_whitespace() {
            self.space = !self.text.is_empty();
            return;
        }
        if std::mem::take(&mut self.space) {
            self.text.push(' ');
        }
        match letter {
            'ß' => self.text.push_str("ss"),
            'ς' => self.text.push('σ'),
            other => self.text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{fold, with_punctuation};
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
            ("O'Brien", "obrien"),
            ("O\u{2019}Brien, Jr.", "obrien jr"),
            ("Mary-Ann", "mary ann"),
            ("- Smith\u{2013} -Jones -", "smith jones"),
            ("100% C++ a_b", "100% c++ a_b"),
            ("...", ""),
        ] {
            assert_eq!(fold(text), folded, "{text:?}");
        }
    }

    #[test]
    fn words_keep_their_punctuation() {
        assert_eq!(with_punctuation(" O'Brien,  Mary-Ann"), "o'brien, mary-ann");
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in ".*") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }
    }
}
