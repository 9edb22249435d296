//! Reference pages that the executable itself writes: what is stated works, what works is stated (invariant 4).
//! `UPDATE=1 cargo test -p tests --test scenarios generated` rewrites them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use fhir::json::Json;
use search::generate::{Generated, Generator, Place};
use search::parse::{Options, parse};
use search::registry::Parameter;
use tests::{Engine, TestServer, data, program, server};

#[test]
fn the_page_of_commands_is_up_to_date() {
    let top = help(&[]);
    let mut page = String::from("# Commands and settings\n\nWhat `tributary --help` says; written by a test.\n");
    let _ = write!(page, "\n## tributary\n\n```text\n{top}\n```\n");
    let common = flags(&top);
    for command in commands(&top) {
        add(&mut page, &[&command], &common);
    }
    check("commands.md", &page);
}

#[test]
fn the_page_of_search_parameters_is_up_to_date() {
    let statement = server::block_on(async {
        let server = TestServer::start(Engine::Sqlite).await;
        server.anonymous().get("metadata").await.expect_status(200).json()
    });
    let mut page = String::from(
        "# Resource types and search parameters\n\nWhat `GET /fhir/metadata` states; written by a test.\n\n\
         | type | interactions | search parameters |\n|---|---|---|\n",
    );
    let rest = statement.list("rest").first().expect("the statement has a rest part");
    let names = |list: &[Json], member| {
        let names: Vec<_> = list.iter().filter_map(|item| item.str(member)).map(str::to_owned).collect();
        names.join(", ")
    };
    for resource in rest.list("resource") {
        let _ = writeln!(
            page,
            "| {} | {} | {} |",
            resource.str("type").unwrap_or_default(),
            names(resource.list("interaction"), "code"),
            names(resource.list("searchParam"), "name"),
        );
    }
    add_modifiers(&mut page);
    check("search-parameters.md", &page);
}

/// A test that asks what a cell says.
struct Proof {
    /// How cells name it.
    label: &'static str,
    /// File below the repository.
    file: &'static str,
    /// Its name.
    test: &'static str,
    /// What it does.
    what: &'static str,
}

/// The tests that cells link to.
const PROOFS: [Proof; 5] = [
    Proof {
        label: "oracle",
        file: "tests/oracle/main.rs",
        test: "engines_and_oracle_agree_on_the_official_examples",
        what: "asks both engines and the oracle, over HL7's official examples, at least once for every parameter of every \
               type with each of its modifiers and prefixes; composites, chains, `_has`, includes and sorts too",
    },
    Proof {
        label: "terminology",
        file: "tests/rest/search_terminology.rs",
        test: "value_sets_and_hierarchies",
        what: "asks both engines for tokens by value set and code system",
    },
    Proof {
        label: "special",
        file: "tests/rest/search_special.rs",
        test: "conditions",
        what: "asks both engines for `near`, `_text`, `_content`, `_list`, `_filter` and `_has`",
    },
    Proof {
        label: "identity",
        file: "tests/rest/search_special.rs",
        test: "ids_and_instants",
        what: "asks both engines for what depends on the server's clock and ids",
    },
    Proof {
        label: "trail",
        file: "tests/rest/audit_search.rs",
        test: "every_form_of_every_parameter_finds_what_the_evaluator_finds",
        what: "asks both engines and the oracle for the events of the audit trail, as for all other types",
    },
];

impl Proof {
    /// The text of its file; the test must be there.
    fn source(&self) -> String {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(self.file);
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", self.file));
        assert!(text.contains(&format!("fn {}(", self.test)), "{} has no test {}", self.file, self.test);
        text
    }
}

/// A parameter of the definitions that is always refused, and so is not in the table.
const REFUSED: &str = "_query";

/// Every parameter with what it understands, from the tables that the parser runs on.
fn add_modifiers(page: &mut String) {
    page.push_str(
        "\n## Modifiers and prefixes\n\nWhat each parameter understands; what is not here is refused. Each cell links to \
         the test that asks it; a cell without one fails `tests/scenarios/generated.rs`. `[type]` is a type that the \
         reference may point at.\n\n",
    );
    for Proof { label, file, test, what } in &PROOFS {
        let _ = writeln!(page, "- [{test}][{label}] in `{file}` {what}.");
    }
    let registry = search::registry::registry();
    for resource_type in fhir::definitions::resource_types() {
        let _ =
            write!(page, "\n### {resource_type}\n\n| parameter | kind | modifiers | prefixes |\n|---|---|---|---|\n");
        for parameter in registry.parameters(resource_type).filter(|it| it.code != REFUSED) {
            let prefixes = parameter.param().map_or(&[][..], |param| search::parse::prefixes(param.kind));
            let modifiers = cells(resource_type, parameter, &search::parse::modifiers(parameter), ":");
            let prefixes = if parameter.param().is_none() {
                "[special][special]".to_owned()
            } else {
                cells(resource_type, parameter, prefixes, "")
            };
            let (code, kind) = (&parameter.code, parameter.kind.as_str());
            let _ = writeln!(page, "| {code} | {kind} | {modifiers} | {prefixes} |");
        }
    }
    page.push('\n');
    for Proof { label, file, test, .. } in &PROOFS {
        let _ = writeln!(page, "[{label}]: ../../../{file} \"{test}\"");
    }
}

/// The label of the test for a modifier or prefix of a parameter.
fn proof(resource_type: &str, parameter: &Parameter, form: &str) -> &'static str {
    match (parameter.code.as_str(), form) {
        ("_id" | "_lastUpdated", _) => "identity",
        (_, "in" | "not-in" | "above" | "below") if parameter.kind.as_str() == "token" => "terminology",
        _ if resource_type == "AuditEvent" => "trail",
        _ => "oracle",
    }
}

/// Modifiers or prefixes, grouped by the test that asks them.
fn cells(resource_type: &str, parameter: &Parameter, forms: &[&str], mark: &str) -> String {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for form in forms {
        let (label, name) =
            (proof(resource_type, parameter, form), format!("{mark}{form}").replace(":[type]", "`:[type]`"));
        match groups.iter_mut().find(|(known, _)| *known == label) {
            Some((_, names)) => names.push(name),
            None => groups.push((label, vec![name])),
        }
    }
    let links: Vec<_> = groups.into_iter().map(|(label, names)| format!("[{}][{label}]", names.join(" "))).collect();
    links.join(" ")
}

/// Every cell of the table stands for a search that the test it links to makes.
#[test]
fn every_cell_of_search_parameters_has_its_test() {
    let sources: BTreeMap<&str, String> = PROOFS.iter().map(|proof| (proof.label, proof.source())).collect();
    let Some(examples) = data::examples("every_cell_of_search_parameters_has_its_test") else { return };
    let references: Vec<_> = examples.iter().collect();
    let base = "http://base.test/fhir";
    let mut generator = Generator::new(&references, base, 6);
    let mut generated = generator.every();
    generated.extend(generator.absent());
    let options =
        Options { base: base.to_owned(), default_count: 10, max_count: 50, lenient: false, now: 1_700_000_000_000_000 };
    let is_answered = |search: &&Generated| match &search.place {
        Place::Type(name) => parse(name, &search.pairs, &options).is_ok(),
        _ => false,
    };
    let asked: BTreeSet<(String, String)> = generated.iter().filter(is_answered).flat_map(asked).collect();
    let registry = search::registry::registry();
    let mut missing = Vec::new();
    for resource_type in fhir::definitions::resource_types() {
        for parameter in registry.parameters(resource_type).filter(|it| it.code != REFUSED) {
            let code = &parameter.code;
            let prefixes = parameter.param().map_or(&[][..], |param| search::parse::prefixes(param.kind));
            let modifiers = search::parse::modifiers(parameter);
            let written = modifiers
                .iter()
                .map(|it| (*it, format!(":{it}=")))
                .chain(prefixes.iter().map(|it| (*it, format!("={it}"))));
            for (form, written) in written {
                let label = proof(resource_type, parameter, form);
                let is_asked = match label {
                    "oracle" | "trail" => asked.contains(&(resource_type.clone(), format!("{code}{written}"))),
                    "terminology" => sources[label].contains(&written),
                    _ => sources[label].contains(&format!("{code}{written}")),
                };
                if !is_asked {
                    missing.push(format!("{resource_type}?{code}{written} in {label}"));
                }
            }
            if parameter.param().is_none() && !sources["special"].contains(&format!("{code}=")) {
                missing.push(format!("{resource_type}?{code}= in special"));
            }
        }
    }
    assert!(missing.is_empty(), "{} cells without a test:\n{}", missing.len(), missing.join("\n"));
}

/// The modifier and the prefix of a search by one parameter, as `code:modifier=` and `code=prefix`.
fn asked(search: &Generated) -> Vec<(String, String)> {
    let (Place::Type(resource_type), [(name, value)]) = (&search.place, &search.pairs[..]) else { return Vec::new() };
    let modifier = match name.split_once(':') {
        Some((code, only)) if fhir::definitions::is_resource_type(only) => format!("{code}:[type]="),
        _ => format!("{name}="),
    };
    let prefix = value.get(..2).map(|prefix| (resource_type.clone(), format!("{name}={prefix}")));
    [(resource_type.clone(), modifier)].into_iter().chain(prefix).collect()
}

#[test]
fn the_page_of_errors_is_up_to_date() {
    check("errors.md", &program::run(Path::new("."), &["reference", "errors"]));
}

/// One command's help, without what all commands have, and the same for the commands below it.
fn add(page: &mut String, path: &[&str], common: &BTreeSet<String>) {
    let text = help(path);
    let own = without(&text, common);
    let _ = write!(page, "\n## tributary {}\n\n```text\n{}\n```\n", path.join(" "), own.trim_end());
    for command in commands(&text) {
        add(page, &[path, &[&command]].concat(), common);
    }
}

fn help(path: &[&str]) -> String {
    let text = program::run(Path::new("."), &[path, &["--help"]].concat());
    text.trim_end().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The names below `Commands:`.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let entries = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = entries.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

/// The long flags of a help text.
fn flags(help: &str) -> BTreeSet<String> {
    help.lines().filter_map(flag).map(str::to_owned).collect()
}

fn flag(line: &str) -> Option<&str> {
    let line = line.trim_start();
    if !line.starts_with('-') {
        return None;
    }
    line.split_whitespace().find(|word| word.starts_with("--"))
}

/// The help text without the options of these flags.
fn without(help: &str, flags: &BTreeSet<String>) -> String {
    let (mut kept, mut dropping) = (String::new(), false);
    for line in help.lines() {
        if let Some(flag) = flag(line) {
            dropping = flags.contains(flag);
        } else if !line.starts_with(' ') && !line.is_empty() {
            dropping = false;
        }
        if !dropping {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn check(name: &str, page: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/reference").join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, page).expect("the page is writable");
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == page, "docs/src/reference/{name} is out of date; UPDATE=1 rewrites it");
}
