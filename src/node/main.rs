//! `muster-node`: what runs on a node, early in its boot, to get the node's secrets from its head.
//!
//! It redeems the grant that came in the initrd, shows the head the node's TPM if there is one, opens the sealed
//! bundles, writes the files in them, and closes the door behind it: a PCR is extended and the head is told, so
//! that nobody gets the same secrets again before the next boot, root on this node included.
//!
//! Static, small and without a runtime: it stands in an initramfs. What both sides must agree on (structures of
//! the TPM, bundles, grants) is the head's own code.

mod commands;
mod files;
mod http;
mod options;
mod state;
mod tpm;

use std::process::ExitCode;

use crate::options::{Asked, Options, USAGE};

fn main() -> ExitCode {
    let asked = match options::parse(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("muster-node: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match asked {
        Asked::Help => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Asked::Version => {
            println!("muster-node {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Asked::Do(options) => finish(&options),
    }
}

fn finish(options: &Options) -> ExitCode {
    match commands::perform(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("muster-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}
