//! The command line from outside: precedence of settings, refusals, and what commands print.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tributary::random::Random;

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Self {
        let path = std::env::temp_dir().join(format!("tributary-test-{}", Random::system().uuid()));
        std::fs::create_dir(&path).expect("a folder can be made");
        Folder(path)
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("a file can be written");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tributary(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRIBUTARY_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).args(arguments).envs(variables.iter().copied()).output().expect("the binary runs")
}

fn config(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> serde_json::Value {
    let output = tributary(folder, &[&["config", "--json"], arguments].concat(), variables);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON is printed")
}

fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "it should refuse to start");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let folder = Folder::make();
    let page_size = |config: &serde_json::Value| {
        let setting = &config["page-size"];
        (setting["value"].as_str().map(str::to_owned), setting["source"].as_str().map(str::to_owned))
    };
    let some = |value: &str, source: &str| (Some(value.to_owned()), Some(source.to_owned()));
    assert_eq!(page_size(&config(&folder.0, &[], &[])), some("50", "default"));
    folder.file("tributary.toml", "page-size = 11\n");
    assert_eq!(page_size(&config(&folder.0, &[], &[])), some("11", "file tributary.toml"));
    let variable = [("TRIBUTARY_PAGE_SIZE", "22")];
    assert_eq!(page_size(&config(&folder.0, &[], &variable)), some("22", "variable TRIBUTARY_PAGE_SIZE"));
    assert_eq!(page_size(&config(&folder.0, &["--page-size", "33"], &variable)), some("33", "flag"));
}

#[test]
fn flags_are_understood_before_and_after_the_command() {
    let folder = Folder::make();
    let before = tributary(&folder.0, &["--page-size", "33", "config", "--json"], &[]);
    let printed: serde_json::Value = serde_json::from_slice(&before.stdout).expect("JSON is printed");
    assert_eq!(printed, config(&folder.0, &["--page-size", "33"], &[]));
}

#[test]
fn a_named_file_is_read_and_must_exist() {
    let folder = Folder::make();
    folder.file("other.toml", "listen = \"127.0.0.1:9999\"\n");
    let printed = config(&folder.0, &["--config", "other.toml"], &[]);
    assert_eq!(printed["listen"]["value"], "127.0.0.1:9999");
    assert_eq!(printed["base-url"]["value"], "http://127.0.0.1:9999");
    let output = tributary(&folder.0, &["config", "--config", "missing.toml"], &[]);
    assert!(refusal(&output).contains("missing.toml"));
}

#[test]
fn unknown_keys_refuse_to_start_and_the_nearest_is_named() {
    let folder = Folder::make();
    folder.file("tributary.toml", "page-sise = 11\n");
    assert!(refusal(&tributary(&folder.0, &["config"], &[])).contains("did you mean page-size?"));
}

#[test]
fn unknown_variables_refuse_to_start_and_the_nearest_is_named() {
    let folder = Folder::make();
    let output = tributary(&folder.0, &["config"], &[("TRIBUTARY_LISTEM", "127.0.0.1:1")]);
    assert!(refusal(&output).contains("did you mean TRIBUTARY_LISTEN?"));
    assert!(tributary(&folder.0, &["config"], &[("TRIBUTARY_TEST_DATA", "x")]).status.success());
}

#[test]
fn a_wrong_value_in_the_file_is_blamed_on_the_file() {
    let folder = Folder::make();
    folder.file("tributary.toml", "listen = \"nowhere\"\n");
    assert!(refusal(&tributary(&folder.0, &["config"], &[])).contains("tributary.toml: listen = \"nowhere\""));
}

#[test]
fn secrets_are_not_printed() {
    let folder = Folder::make();
    let key = "0f".repeat(32);
    let variables = [("TRIBUTARY_SECRET_KEY", key.as_str()), ("TRIBUTARY_DATABASE", "postgres://me:hush@db/tributary")];
    for arguments in [&["config"][..], &["config", "--json"], &["--help"]] {
        let output = tributary(&folder.0, arguments, &variables);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success());
        assert!(!printed.contains(&key) && !printed.contains("hush"), "{printed}");
    }
}

#[test]
fn what_config_prints_is_a_file_that_gives_the_same_configuration() {
    let folder = Folder::make();
    let printed = tributary(&folder.0, &["config", "--max-body", "1MiB"], &[]);
    folder.file("again.toml", &String::from_utf8_lossy(&printed.stdout));
    let again = config(&folder.0, &["--config", "again.toml"], &[]);
    assert_eq!(again["max-body"]["value"], "1MiB");
    assert_eq!(again["max-body"]["source"], "file again.toml");
}

#[test]
fn migrate_makes_the_database_and_says_so_once() {
    let folder = Folder::make();
    let first = tributary(&folder.0, &["migrate", "--json"], &[]);
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let printed: serde_json::Value = serde_json::from_slice(&first.stdout).expect("JSON is printed");
    assert!(!printed["migrations"].as_array().expect("a list").is_empty());
    assert!(folder.0.join("data/tributary.sqlite").exists());
    let second = tributary(&folder.0, &["migrate", "--json"], &[]);
    let printed: serde_json::Value = serde_json::from_slice(&second.stdout).expect("JSON is printed");
    assert_eq!(printed["migrations"], serde_json::json!([]));
}

#[test]
fn doctor_finds_nothing_on_a_fresh_installation_and_changes_nothing() {
    let folder = Folder::make();
    let output = tributary(&folder.0, &["doctor", "--json"], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let left: Vec<_> = std::fs::read_dir(&folder.0).expect("there").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[cfg(unix)]
#[test]
fn doctor_fails_where_others_can_read_the_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::make();
    assert!(tributary(&folder.0, &["migrate"], &[]).status.success());
    assert!(tributary(&folder.0, &["doctor"], &[]).status.success());
    let key = folder.0.join("data/tributary.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("set");
    let output = tributary(&folder.0, &["doctor"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("chmod 600"));
}

#[test]
fn import_stores_what_is_good_and_lists_what_is_not() {
    let folder = Folder::make();
    folder.file(
        "patients.ndjson",
        "{\"resourceType\":\"Patient\",\"id\":\"a\"}\n\n{\"resourceType\":\"Patient\",\n{\"resourceType\":\"Patient\",\"id\":\"b\"}\n{\"resourceType\":\"Nonsense\",\"id\":\"c\"}\n",
    );
    let output = tributary(&folder.0, &["import", "--json", "patients.ndjson"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON is printed");
    assert_eq!(summary["resources"], 2);
    let lines: Vec<_> = summary["errors"].as_array().expect("a list").iter().map(|error| &error["line"]).collect();
    assert_eq!(lines, [3, 5]);
    let again = tributary(&folder.0, &["reindex", "--json"], &[]);
    let summary: serde_json::Value = serde_json::from_slice(&again.stdout).expect("JSON is printed");
    assert_eq!(summary["resources"], 2);
}

#[test]
fn the_demo_goes_through_every_step() {
    let folder = Folder::make();
    let output = tributary(&folder.0, &["demo", "--once", "--json", "--listen", "127.0.0.1:0"], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON is printed");
    assert_eq!(summary["ok"], true);
    assert!(summary["steps"].as_array().expect("a list").len() >= 10);
}
