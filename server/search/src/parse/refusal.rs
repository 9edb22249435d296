//! Why a search parameter is refused.

use fhir::outcome::{Issue, IssueCode};

/// A refused parameter.
#[derive(Debug)]
pub(super) struct Refusal {
    code: IssueCode,
    text: String,
    weight: Weight,
}

/// What may be done about it other than to refuse the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// `Prefer: handling=lenient` leaves the parameter out.
    Ignorable,
    /// Nothing: "Server SHALL reject any search request that … is suffixed by a modifier that the server does not
    /// support". Only a chain that names no type asks the other types that it may lead to.
    Firm,
    /// Nothing at all.
    Fatal,
}

impl Refusal {
    /// The name means nothing here.
    pub(super) fn unknown(text: String) -> Self {
        Refusal { code: IssueCode::Invalid, text, weight: Weight::Ignorable }
    }

    /// R4 defines it, this server does not do it.
    pub(super) fn not_supported(text: String) -> Self {
        Refusal { code: IssueCode::NotSupported, text, weight: Weight::Ignorable }
    }

    /// The value cannot be read.
    pub(super) fn invalid(text: String) -> Self {
        Refusal { code: IssueCode::Invalid, text, weight: Weight::Fatal }
    }

    /// Beyond a limit. (IN-17)
    pub(super) fn too_costly(text: String) -> Self {
        Refusal { code: IssueCode::TooCostly, text, weight: Weight::Fatal }
    }

    /// The same, with where it stands.
    pub(super) fn within(self, place: &str) -> Self {
        let text = if self.text.starts_with("_filter") { self.text } else { format!("{place}: {}", self.text) };
        Refusal { text, ..self }
    }

    /// The same, but never left out: what R4 says SHALL be refused, and what stands within a greater whole.
    /// <https://hl7.org/fhir/R4/search.html#modifiers>
    pub(super) fn firm(self) -> Self {
        let weight = if self.weight == Weight::Ignorable { Weight::Firm } else { self.weight };
        Refusal { weight, ..self }
    }

    /// Whether `Prefer: handling=lenient` may leave the parameter out.
    pub(super) fn is_ignorable(&self) -> bool {
        self.weight == Weight::Ignorable
    }

    /// Whether it concerns one of the types that a chain may lead to, so that others can be asked still.
    pub(super) fn is_of_type(&self) -> bool {
        self.weight != Weight::Fatal
    }

    /// As an error.
    pub(super) fn error(self) -> Issue {
        Issue::error(self.code, self.text)
    }

    /// As a warning.
    pub(super) fn warning(self) -> Issue {
        Issue::warning(self.code, format!("ignored: {}", self.text))
    }
}

/// The three names that take the fewest edits to write, as a list for a sentence.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<(usize, &str)> = known.map(|it| (distance(name, it), it)).collect();
    known.sort_unstable();
    known.dedup();
    let names: Vec<&str> = known.into_iter().take(3).map(|(_, it)| it).collect();
    names.join(", ")
}

/// Edits between two names, case ignored, as far as a name should be long.
fn distance(left: &str, right: &str) -> usize {
    let [left, right] = [left, right].map(|name| name.chars().take(64).collect::<String>().to_ascii_lowercase());
    fhir::nearest::distance(&left, &right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (left, right, edits) in
            [("", "", 0), ("a", "", 1), ("birthdat", "birthdate", 1), ("subjcet", "subject", 1), ("DATE", "date", 0)]
        {
            assert_eq!(distance(left, right), edits, "{left} {right}");
        }
        assert_eq!(nearest("famly", ["given", "family", "name"].into_iter()), "family, name, given");
    }
}
