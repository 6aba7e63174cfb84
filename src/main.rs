//! The binary `muster`: parses, calls, exits. Everything testable is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster::cli::run(std::env::args_os())
}
