//! The project's files.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are not ours, or not source.
const NOT_OURS: [&str; 7] =
    [".git", "target", "data", "profiles/vendor", "docs/book", "adapters/fixtures", "node_modules"];

/// One file of the project.
pub(crate) struct Source {
    /// Path from the project's root, with slashes.
    pub(crate) path: String,
    /// Its content.
    pub(crate) text: String,
}

/// The project's root folder.
pub(crate) fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the manifest lies two folders below the root")
}

/// All our files with this extension, sorted by path.
pub(crate) fn sources(extension: &str) -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    collect(&root, &root, extension, &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(!found.is_empty(), "no .{extension} file under {}", root.display());
    found
}

/// All our Rust files but unit tests that lie in files of their own.
pub(crate) fn product_sources() -> Vec<Source> {
    let all = sources("rs");
    let test_only: Vec<String> = all.iter().flat_map(test_modules).collect();
    all.into_iter()
        .filter(|file| {
            !test_only
                .iter()
                .any(|module| file.path == format!("{module}.rs") || file.path.starts_with(&format!("{module}/")))
        })
        .collect()
}

/// Paths, without ending, of the modules that a file declares under `#[cfg(test)]`.
fn test_modules(file: &Source) -> Vec<String> {
    let folder = match file.path.rsplit_once('/') {
        Some((folder, "lib.rs" | "main.rs")) => folder,
        _ => file.path.trim_end_matches(".rs"),
    };
    let declared = file.text.split("#[cfg(test)]\n").skip(1).filter_map(|rest| rest.split(';').next());
    let names = declared.filter_map(|declaration| declaration.trim_start_matches("pub(crate) ").strip_prefix("mod "));
    names.filter(|name| !name.contains('{')).map(|name| format!("{folder}/{name}")).collect()
}

/// The part of a Rust file before its unit tests.
pub(crate) fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text)
}

/// Fails with all findings, not only the first.
#[track_caller]
pub(crate) fn assert_none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}\n  {}", findings.join("\n  "));
}

fn collect(root: &Path, folder: &Path, extension: &str, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("the project's folders are readable").flatten() {
        let path = entry.path();
        let name = path.strip_prefix(root).expect("lies below the root").to_string_lossy().replace('\\', "/");
        if NOT_OURS.contains(&name.as_str()) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, extension, found);
        } else if path.extension().is_some_and(|ending| ending == extension) {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
            found.push(Source { path: name, text });
        }
    }
}
