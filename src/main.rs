//! The binary `muster`: parses, calls, exits. Everything testable is in the library.

use std::process::ExitCode;

/// The system's allocator took a fifth of the time of a boot script under load, half of it waiting for its own locks
/// between threads. Without huge pages, which make 62 MB of 43 for 10,000 nodes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    muster::cli::run(std::env::args_os())
}
