//! Codes in words.

use super::grammar::{Component, Term};

/// `4 * (newton) / (ampère ^ 2)`
pub(super) fn term(term: &Term) -> String {
    let mut text = String::new();
    for part in &term.parts {
        match (text.is_empty(), part.divided) {
            (true, true) => text.push_str("1 / "),
            (true, false) => {}
            (false, true) => text.push_str(" / "),
            (false, false) => text.push_str(" * "),
        }
        text.push_str(&component(&part.component));
    }
    text
}

fn component(component: &Component) -> String {
    match component {
        Component::Number(number) => number.to_string(),
        Component::Annotation => "1".to_owned(),
        Component::Group(group) => format!("({})", term(group)),
        Component::Unit { prefix, atom, exponent } => {
            let prefix = prefix.map_or("", |prefix| &prefix.name);
            let exponent = if *exponent == 1 { String::new() } else { format!(" ^ {exponent}") };
            format!("({prefix}{}{exponent})", atom.name)
        }
    }
}
