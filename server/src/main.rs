//! The `tributary` binary: everything is in the library, so that tests can start a server in-process.

use std::process::ExitCode;

/// Many small allocations a request: this allocator costs measurably less than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tributary::command::main()
}
