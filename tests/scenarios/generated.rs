//! Reference pages that the executable itself writes: what is stated works, what works is stated (invariant 4).
//! `UPDATE=1 cargo test -p tests --test scenarios generated` rewrites them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use fhir::json::Json;
use tests::{Engine, TestServer, program, server};

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

/// Which tests ask what, by the kind of parameter; headings are what the table links to.
const TESTS: &[(&str, &str)] = &[
    (
        "Asked of both engines and the oracle",
        "`:missing`, `:not`, `:text`, `:of-type`, `:exact`, `:contains`, `:identifier`, `[type]`, `:above` and `:below` of \
         references and URIs, all prefixes, composites, chains, `_has` and sorts:\n\
         `engines_and_oracle_agree_on_every_form_of_every_parameter` in `tests/oracle/main.rs` makes at least one search \
         for each parameter and each of its forms.",
    ),
    (
        "Asked of a terminology",
        "`:in`, `:not-in`, `:above` and `:below` of tokens: `compositions` and `subsumption` in \
         `server/search/src/terminology/tests.rs` expand, `tests/rest/search_terminology.rs` asks both engines.",
    ),
    (
        "Special",
        "`near`, `_text`, `_content`, `_list`, `_filter`, `_has`: `special_parameters`, `chains` and `expressions` in \
         `server/search/src/parse/tests`, and `tests/rest/search_special.rs`.",
    ),
];

/// Every parameter with what it understands, from the tables that the parser runs on.
fn add_modifiers(page: &mut String) {
    const ORACLE: &str = "#asked-of-both-engines-and-the-oracle";
    const TERMINOLOGY: &str = "#asked-of-a-terminology";
    page.push_str(
        "\n## Modifiers and prefixes\n\nWhat each parameter understands; what is not here is refused. Each cell links to \
         the test that covers it. `[type]` is a type that the reference may point at.\n",
    );
    for (heading, text) in TESTS {
        let _ = write!(page, "\n### {heading}\n\n{text}\n");
    }
    let registry = search::registry::registry();
    for resource_type in fhir::definitions::resource_types() {
        let _ =
            write!(page, "\n### {resource_type}\n\n| parameter | kind | modifiers | prefixes |\n|---|---|---|---|\n");
        for parameter in registry.parameters(resource_type) {
            let kind = parameter.kind.as_str();
            let (asked, answered): (Vec<_>, Vec<_>) = search::parse::modifiers(parameter)
                .into_iter()
                .partition(|it| kind == "token" && matches!(*it, "in" | "not-in" | "above" | "below"));
            let cell = |names: &[&str], mark: &str, anchor: &str| match names {
                [] => None,
                names => Some(format!("[{mark}{}]({anchor})", names.join(&format!(" {mark}")))),
            };
            let modifiers = [cell(&answered, ":", ORACLE), cell(&asked, ":", TERMINOLOGY)];
            let modifiers = modifiers.into_iter().flatten().collect::<Vec<_>>().join(" ");
            let prefixes = match parameter.param() {
                Some(param) => cell(search::parse::prefixes(param.kind), "", ORACLE).unwrap_or_default(),
                None => "[special](#special)".to_owned(),
            };
            let code = &parameter.code;
            let _ = writeln!(page, "| {code} | {kind} | {} | {prefixes} |", modifiers.replace(":[type]", "`:[type]`"));
        }
    }
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
