//! What proves the claims from outside: external suites and the benchmark, against a real server. See README.md.

use std::process::ExitCode;

use clap::Parser;

mod bench;

/// Proves from outside what Tributary claims.
#[derive(Parser)]
#[command(name = "conformance", version)]
enum Command {
    /// Measure the server's binary against the ceilings of what it is built on, and print a table.
    Bench(bench::Arguments),
    /// Send a vendor's readings several times each while the server is killed, and count what became of them.
    Ingest(bench::IngestArguments),
    /// Serve the bare ceilings over HTTP; the benchmark starts this by itself.
    #[command(hide = true)]
    Ceiling(bench::CeilingArguments),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Ingest(arguments) => bench::ingest(&arguments),
        Command::Ceiling(arguments) => bench::serve_ceiling(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
