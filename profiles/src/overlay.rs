//! Corrections of the vendored definitions: `profiles/overlay/*.toml`.

use serde::Deserialize;

/// Every overlay file, applied in this order.
const OVERLAYS: &[&str] = &[include_str!("../overlay/corrections.toml"), include_str!("../overlay/compartments.toml")];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Overlay {
    correction: Vec<Correction>,
}

/// One replacement in the text of one vendored file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Correction {
    file: String,
    id: Option<String>,
    #[expect(dead_code, reason = "for the people who read the file; that it is present is checked on reading")]
    reason: String,
    find: String,
    replace: String,
    times: usize,
}

/// The text of the vendored `file` with our corrections, in one pass: the largest file has twelve megabytes.
pub(crate) fn apply(file: &str, text: String) -> String {
    let mut edits = Vec::new();
    for correction in corrections().into_iter().filter(|correction| correction.file == file) {
        let (start, end) = correction.scope(&text);
        let found = text[start..end].match_indices(&correction.find).map(|(at, find)| (start + at, find.len()));
        let before = edits.len();
        edits.extend(found.map(|(at, length)| (at, length, correction.replace.clone())));
        assert_eq!(
            edits.len() - before,
            correction.times,
            "the correction of {file} {:?} does not fit the vendored text: {}",
            correction.id,
            correction.find
        );
    }
    if edits.is_empty() {
        return text;
    }
    edits.sort_unstable_by_key(|(at, ..)| *at);
    let mut corrected = String::with_capacity(text.len() + edits.iter().map(|(_, _, with)| with.len()).sum::<usize>());
    let mut done = 0;
    for (at, length, with) in edits {
        corrected.push_str(&text[done..at]);
        corrected.push_str(&with);
        done = at + length;
    }
    corrected.push_str(&text[done..]);
    corrected
}

fn corrections() -> Vec<Correction> {
    OVERLAYS
        .iter()
        .flat_map(|text| {
            toml::from_str::<Overlay>(text).expect("the overlay files are valid, a test reads each").correction
        })
        .collect()
}

impl Correction {
    /// Where the resource that is corrected stands in the text, or the whole text.
    fn scope(&self, text: &str) -> (usize, usize) {
        let Some(id) = &self.id else { return (0, text.len()) };
        let start = text.find(&format!("\",\"id\":\"{id}\",")).expect("a correction names a resource of its file");
        let end = text[start..].find('\n').map_or(text.len(), |length| start + length);
        (start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrections_are_applied_inside_their_resource_only() {
        let text = "{\"resourceType\":\"A\",\"id\":\"x\",\"target\":[\"Patient\",\"Group\"]}\n\
                    {\"resourceType\":\"A\",\"id\":\"clinical-patient\",\"target\":[\"Patient\",\"Group\"]}\n\
                    {\"resourceType\":\"A\",\"id\":\"DocumentReference-relationship\"}\n";
        let scope = corrections().into_iter().find(|it| it.id.as_deref() == Some("clinical-patient")).unwrap();
        let (start, end) = scope.scope(text);
        assert!(text[start..end].contains("clinical-patient"));
        assert!(!text[start..end].contains("relationship"));
    }

    #[test]
    fn every_correction_fits_the_vendored_text() {
        let files: std::collections::BTreeSet<String> = corrections().into_iter().map(|it| it.file).collect();
        for file in files {
            let (_, read) = crate::FILES.iter().find(|(name, _)| *name == file).expect("a vendored file");
            assert!(!read().is_empty());
        }
    }
}
