//! A text of a record: what stands at a path, or the same in all records.

use super::file::{Entry, File};
use super::path::{Path, Scope};

/// Where a text comes from: `"device.serial"` is a path, `{ is = "Lungo" }` a text.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// What stands there.
    At(Path),
    /// Always this.
    Always(String),
}

impl Said {
    /// Reads one.
    pub(super) fn read(file: &mut File<'_>, entry: &Entry<'_, '_>) -> Option<Self> {
        if !entry.is_table() {
            return file.path(entry).map(Said::At);
        }
        let table = file.table(entry, &["is"])?;
        let is = file.required(&table, "is")?;
        file.text(&is).map(Said::Always)
    }

    /// Where in the message it stands.
    pub(super) fn place(&self, scope: &Scope<'_>) -> String {
        match self {
            Said::At(path) => path.place(scope),
            Said::Always(_) => scope.place.clone(),
        }
    }

    /// The text; nothing if it is not there or empty.
    pub(super) fn text(&self, scope: &Scope<'_>) -> Option<String> {
        match self {
            Said::At(path) => path.text(scope),
            Said::Always(text) => Some(text.clone()),
        }
    }
}
