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
  muster key rotate token --end                 a key was stolen: no older token counts any more
  muster key rotate ca                          publish the next authorities; they sign a day later
  muster key rotate site                        publish the next site key; it signs a day later
  muster key rotate node                        new keys for what nodes get in their boots
  muster key rotate ca --end                    a key was stolen: new authorities at once, no overlap")]
    Rotate {
        which: Which,
        /// What was signed with the old keys counts no longer
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
    /// What signs the certificates of HTTPS. Asked again before the day is over: they sign at once
    Ca,
    /// What signs manifests, the audit log and the list of keys that nodes believe. In the same steps
    Site,
    /// What signs the bundles and tokens of nodes
    Node,
}

impl Key {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let Key::Rotate { which, end } = self;
        let name = match which {
            Which::Kek => "kek",
            Which::Token => "token",
            Which::Ca => "ca",
            Which::Site => "site",
            Which::Node => "node",
        };
        let done: RotatedBody =
            client.json(Method::POST, &format!("/keys/{name}/rotate"), &RotateBody { end })?;
        if global.json { table::json(&done) } else { table::print(&format!("{}\n", done.text)) }
    }
}
