//! `tributary demo` is the first thing that a newcomer runs: it must end well, and show what it says it shows.

use std::fs;

use tests::program;

#[test]
fn the_demo_shows_the_whole_product() {
    let folder = program::target_folder().join("test-servers").join(format!("demo_{}", std::process::id()));
    fs::create_dir_all(&folder).expect("the target folder is writable");
    let output = program::run(&folder, &["demo", "--once", "--listen", "127.0.0.1:0"]);
    for shown in ["/health-data/medisante", "/oauth/authorize", "/oauth/token", "/fhir/Observation", "code_challenge"] {
        assert!(output.contains(shown), "the demo does not show {shown}:\n{output}");
    }
    for vendor in ["Validic tells", "Smart Meter is asked", "Smartz is asked", "A phone posts"] {
        assert!(output.contains(vendor), "the demo does not show that {vendor}:\n{output}");
    }
    fs::remove_dir_all(&folder).expect("the demo's folder can be removed");
}
