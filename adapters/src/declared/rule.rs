//! Rules about a message: what stands at a path.

use super::file::{Entry, File};
use super::path::{Path, Scope};

/// Rules in one place at most.
const MAX_RULES: usize = 16;

/// Values of one rule at most.
const MAX_VALUES: usize = 100;

/// What must hold of the value at a path.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    path: Path,
    condition: Condition,
}

#[derive(Clone, Debug)]
enum Condition {
    Is(Vec<String>),
    StartsWith(Vec<String>),
    Present(bool),
}

impl Rule {
    /// Whether it holds.
    pub(super) fn holds(&self, scope: &Scope<'_>) -> bool {
        let text = || self.path.text(scope);
        match &self.condition {
            Condition::Is(values) => text().is_some_and(|text| values.contains(&text)),
            Condition::StartsWith(starts) => text().is_some_and(|text| starts.iter().any(|it| text.starts_with(it))),
            Condition::Present(wanted) => self.path.get(scope).is_some() == *wanted,
        }
    }
}

/// Reads one rule or a list of them, all of which must hold.
pub(super) fn rules(file: &mut File<'_>, entry: &Entry<'_, '_>) -> Vec<Rule> {
    file.list(entry, MAX_RULES).iter().filter_map(|entry| rule(file, entry)).collect()
}

fn rule(file: &mut File<'_>, entry: &Entry<'_, '_>) -> Option<Rule> {
    let table = file.table(entry, &["path", "is", "starts-with", "present"])?;
    let path = file.required(&table, "path").and_then(|entry| file.path(&entry));
    let mut values = |name: &str| {
        let entry = table.get(name)?;
        let values: Vec<String> = file.list(&entry, MAX_VALUES).iter().filter_map(|entry| file.word(entry)).collect();
        Some(values)
    };
    let (is, starts) = (values("is"), values("starts-with"));
    let present = table.get("present").and_then(|entry| file.flag(&entry));
    let condition = match (is, starts, present) {
        (Some(values), None, None) => Condition::Is(values),
        (None, Some(starts), None) => Condition::StartsWith(starts),
        (None, None, Some(present)) => Condition::Present(present),
        _ => {
            file.wrong_table(&table, "a rule has one of is, starts-with and present");
            return None;
        }
    };
    Some(Rule { path: path?, condition })
}
