//! `muster key`: the head's own keys.

use axum::http::Method;
use clap::{Subcommand, ValueEnum};

use crate::api::auth::keys::{RotateBody, RotatedBody};
use crate::cli::client::Client;
use crate::cli::{Global, table};

/// Rotate the head's own keys
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Replace a key, while what was made with the old one still counts
    #[command(after_help = "\
A key encryption key in a file is replaced by a new one. One that systemd gives is replaced there: give
the new one as credential muster.kek and the old one as muster.kek.old, restart, run this, and take the
old one away. The same moves it from the file into a credential.

Examples:
  muster key rotate kek
  muster key rotate token
  muster key rotate token --end                 a key was stolen: no older token counts any more")]
    Rotate {
        which: Which,
        /// Of tokens: those signed with the old keys count no longer
        #[arg(long)]
        end: bool,
    },
}

/// A key of the head.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Which {
    /// What seals private keys and secrets on the disk
    Kek,
    /// What signs API tokens
    Token,
}

impl Key {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let Key::Rotate { which, end } = self;
        let name = match which {
            Which::Kek => "kek",
            Which::Token => "token",
        };
        let done: RotatedBody =
            client.json(Method::POST, &format!("/keys/{name}/rotate"), &RotateBody { end })?;
        if global.json { table::json(&done) } else { table::print(&format!("{}\n", done.text)) }
    }
}
