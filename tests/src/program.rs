//! The `tributary` executable under test: where it is, and running one of its commands.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The executable: `TRIBUTARY_TEST_BINARY`, which `tests/run` sets, or what cargo makes of the sources as they are.
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| std::env::var_os("TRIBUTARY_TEST_BINARY").map_or_else(build, PathBuf::from))
}

/// The executable with `arguments`, free of configuration that happens to stand in this environment.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(path());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TRIBUTARY_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command of the executable in `folder` to its end and returns what it printed; panics where it fails.
pub fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = command(arguments).current_dir(folder).output().expect("the tributary executable can be started");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "tributary {} ended with {}:\n{stdout}{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}

/// The folder with what cargo builds, in which this test executable lies too.
pub fn target_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    test.ancestors()
        .find(|folder| folder.ends_with("deps"))
        .and_then(Path::parent)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug"), Path::to_path_buf)
}

fn build() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "tributary", "--bin", "tributary"]);
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let status = cargo.status().expect("cargo can be started");
    assert!(status.success(), "the tributary executable does not build");
    target_folder().join("tributary")
}
