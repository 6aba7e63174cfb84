//! `muster claim`.

use axum::http::Method;
use clap::Args;

use crate::api::auth::types::{ClaimBody, ClaimedBody};
use crate::cli::client::Client;
use crate::cli::user::new_password;
use crate::cli::{Global, table};

/// Claim a new head: make its first administrator
#[derive(Debug, Args)]
#[command(after_help = "\
On the head itself no code is needed; from elsewhere it is the one in its journal. With auth.claim = \"required\" a
head serves nobody before.

Examples:
  sudo muster claim
  sudo muster claim --name alice < password.txt
  muster claim --url https://172.16.0.254:8443 --code 4jx2… --cacert ca.crt")]
pub(crate) struct Claim {
    /// Name of the first administrator
    #[arg(long, default_value = "admin")]
    name: String,
    /// The code on the head's console
    #[arg(long, default_value = "")]
    code: String,
}

impl Claim {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let password = new_password()?.to_string();
        let body = ClaimBody { code: self.code, name: self.name, password };
        let claimed: ClaimedBody = client.json(Method::POST, "/claim", &body)?;
        if global.json {
            return table::json(&claimed);
        }
        let ClaimedBody { name, role: _, ca_sha256 } = claimed;
        table::print(&format!(
            "this head is claimed; {name} is its first administrator\n\
             fingerprint of its certificate authority (SHA-256), to compare in a browser:\n  {ca_sha256}\n"
        ))
    }
}
