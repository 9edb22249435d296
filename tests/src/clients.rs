//! Libraries that apps are made with: where they are installed, and running a script with one of them.
//!
//! `tests/clients/install` gets them, and `tests/run` names their folder in `TRIBUTARY_TEST_CLIENTS`; where there is
//! none, tests that need them are skipped by name.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::skipped;

/// Where the libraries are installed.
#[derive(Clone, Debug)]
pub struct Libraries(PathBuf);

/// The libraries; where there are none, the test is skipped by its name.
pub fn libraries(test: &str) -> Option<Libraries> {
    let folder = env::var_os("TRIBUTARY_TEST_CLIENTS").map(PathBuf::from);
    let installed = folder.filter(|folder| folder.join("installed").is_file());
    if installed.is_none() {
        skipped::skip(test, "the client libraries are not installed, see tests/clients/install");
    }
    installed.map(Libraries)
}

impl Libraries {
    /// A file of an installed package of npm.
    pub fn package_file(&self, path: &str) -> PathBuf {
        self.0.join("node_modules").join(path)
    }

    /// A script for Node in `tests/clients`, with the libraries at hand.
    pub fn node(&self, script: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(source(script)).current_dir(&self.0).stdin(Stdio::null());
        command
    }

    /// A script for Python in `tests/clients`, with the libraries at hand.
    pub fn python(&self, script: &str) -> Command {
        let mut command = Command::new(self.0.join("python/bin/python"));
        command.arg("-B").arg(source(script)).stdin(Stdio::null());
        command
    }
}

/// A file in `tests/clients`.
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(path)
}

/// Runs a script to its end; what it printed is JSON.
pub fn json_of(command: &mut Command) -> Value {
    let output = command.output().expect("the script can be started");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} ended with {}:\n{said}{complained}", output.status);
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{command:?}: {error}: {said}"))
}
