//! Which package may name which: arrows point down, and the heavy words stay in their house. (docs/src/architecture.md)

use std::collections::BTreeSet;

use crate::tree::{assert_none, product_sources, sources, without_tests};

/// Folder, package, and the packages of ours that it may name.
const ARROWS: [(&str, &str, &[&str]); 13] = [
    ("profiles", "profiles", &[]),
    ("server/fhir", "fhir", &["profiles"]),
    ("server/search", "search", &["fhir", "profiles"]),
    ("server/validation", "validation", &["fhir"]),
    ("server/smart", "smart", &["fhir"]),
    ("adapters", "adapters", &["fhir"]),
    ("adapters/simulators", "simulators", &[]),
    ("migrations", "migrations", &[]),
    ("server/store", "store", &["fhir", "search", "smart", "migrations"]),
    (
        "server",
        "tributary",
        &["adapters", "fhir", "migrations", "profiles", "search", "simulators", "smart", "store", "validation"],
    ),
    ("tests", "tests", &["fhir", "search", "simulators", "smart"]),
    ("tests/tidy", "tidy", &[]),
    ("conformance", "conformance", &["fhir"]),
];

/// What only these packages depend on.
const HEAVY: [(&str, &[&str]); 9] = [
    ("actix-web", &["tributary", "conformance"]),
    ("sea-orm", &["store"]),
    ("sea-orm-migration", &["migrations", "store"]),
    ("rusqlite", &["store", "conformance"]),
    ("askama", &["tributary"]),
    ("openidconnect", &["tributary"]),
    // Nobody: jiff is our calendar, std has OnceLock, errors are typed with thiserror.
    ("chrono", &[]),
    ("lazy_static", &[]),
    ("anyhow", &[]),
];

/// The benchmark measures the server against the bare libraries, so there, and only there, it names them.
const CEILINGS: &str = "conformance/src/bench/ceiling";

/// Packages without IO, clock, threads or randomness. (invariant 7)
const PURE: [&str; 5] =
    ["server/fhir/src/", "server/search/src/", "server/validation/src/", "server/smart/src/", "adapters/src/"];

/// What a pure package does not name.
const IMPURE: [&str; 9] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "tokio::",
    "getrandom::",
];

#[test]
fn packages_depend_only_downwards() {
    let mut findings = Vec::new();
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(_, package, _)| *package).collect();
    let manifests: Vec<_> = sources("toml").into_iter().filter(|file| file.path.ends_with("/Cargo.toml")).collect();
    assert_eq!(manifests.len(), ARROWS.len(), "each package stands in the table of arrows");
    for (folder, package, allowed) in ARROWS {
        let path = format!("{folder}/Cargo.toml");
        let manifest = manifests.iter().find(|file| file.path == path);
        let manifest = manifest.unwrap_or_else(|| panic!("{path} does not exist"));
        for dependency in dependencies(&manifest.text) {
            if ours.contains(dependency) && !allowed.contains(&dependency) {
                findings.push(format!("{package} → {dependency}"));
            }
            if HEAVY.iter().any(|(heavy, owners)| *heavy == dependency && !owners.contains(&package)) {
                findings.push(format!("{package} → {dependency}"));
            }
        }
    }
    assert_none("these arrows are not in the picture of docs/src/architecture.md:", &findings);
}

#[test]
fn the_benchmark_names_the_bare_libraries_only_for_its_ceilings() {
    let mut findings = Vec::new();
    for file in sources("rs").iter().filter(|file| file.path.starts_with("conformance/")) {
        if !file.path.starts_with(CEILINGS) && ["actix_web", "rusqlite"].iter().any(|word| file.text.contains(word)) {
            findings.push(file.path.clone());
        }
    }
    assert_none("only conformance/src/bench/ceiling* measures bare libraries:", &findings);
}

#[test]
fn pure_packages_do_no_io_and_ask_no_clock() {
    let mut findings = Vec::new();
    for file in product_sources().iter().filter(|file| PURE.iter().any(|folder| file.path.starts_with(folder))) {
        for (index, line) in without_tests(&file.text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            findings.extend(
                IMPURE
                    .iter()
                    .filter(|word| code.contains(*word))
                    .map(|word| format!("{}:{}: {word}", file.path, index + 1)),
            );
        }
    }
    assert_none("pure packages take bytes and give values, nothing else:", &findings);
}

/// Names under `[dependencies]` and `[dev-dependencies]`.
fn dependencies(manifest: &str) -> BTreeSet<&str> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            names.extend((!name.is_empty() && !name.starts_with('#')).then_some(name));
        }
    }
    names
}
