//! `muster token`.

use std::str::FromStr;

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::api::auth::types::{ClientBody, IssueBody, NewClientBody, TokenBody};
use crate::cli::client::{Client, escape};
use crate::cli::{Global, table};
use crate::engine::token::Algorithm;
use crate::model::Role;

/// Issue, list and revoke tokens, and register clients that fetch their own
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    Issue(Issue),
    /// List tokens that were issued or revoked, newest first
    #[command(after_help = "Example:\n  muster token list")]
    List,
    /// Revoke a token, from the next request on
    #[command(after_help = "\
Examples:
  muster token revoke \"$DEMO_ACCESS_TOKEN\"
  muster token revoke 5wd0-E3d…         an id of muster token list")]
    Revoke {
        /// The token itself, or its id
        token: String,
    },
    /// Clients that fetch tokens for themselves, at /oauth2/token
    #[command(subcommand)]
    Client(Register),
}

/// Issue a token and print it
#[derive(Debug, Args)]
#[command(after_help = "\
viewer reads, operator changes the inventory and boots nodes, admin gives tokens too.

Examples:
  export DEMO_ACCESS_TOKEN=$(muster token issue --role operator)
  muster token issue --role viewer --subject grafana --ttl 90d
  muster token issue --role operator --name 'nightly build' --area images --area uploads
  muster token issue --role operator --alg RS256        for clients that know no EdDSA")]
pub(crate) struct Issue {
    /// What its bearer may do: viewer, operator, admin
    #[arg(long)]
    pub(crate) role: Role,
    /// Who will bear it; your own name if it is not there
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// How long it lives: 30m, 8h, 90d
    #[arg(long, default_value = "8h")]
    pub(crate) ttl: Span,
    /// How it is signed: EdDSA, RS256
    #[arg(long, value_name = "ALG", default_value = "EdDSA")]
    pub(crate) alg: Algorithm,
    /// What it is for, to tell it from others in muster token list
    #[arg(long, default_value = "")]
    pub(crate) name: String,
    /// Limit it to this area of the API, such as images; may be given several times
    #[arg(long = "area", value_name = "AREA")]
    pub(crate) areas: Vec<String>,
}

/// Add, list and remove clients
#[derive(Debug, Subcommand)]
pub(crate) enum Register {
    /// Register a client and print its secret, which cannot be shown again
    #[command(after_help = "\
Example:
  muster token client add deploy --role operator
  curl -u deploy:SECRET -d grant_type=client_credentials https://HEAD:8443/oauth2/token")]
    Add {
        id: String,
        /// What its tokens allow: viewer, operator, admin
        #[arg(long)]
        role: Role,
        /// How they are signed: EdDSA, RS256
        #[arg(long, value_name = "ALG", default_value = "EdDSA")]
        alg: Algorithm,
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List clients
    #[command(after_help = "Example:\n  muster token client list")]
    List,
    /// Remove a client; its tokens end with it
    #[command(after_help = "Example:\n  muster token client rm deploy")]
    Rm { id: String },
}

/// A span of time in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span(pub(crate) u64);

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "expected a number and a unit such as 90s, 30m, 8h, 90d";
        let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
        let split = |(unit, factor)| text.strip_suffix(unit).map(|number| (number, factor));
        let (number, factor) = units.into_iter().find_map(split).ok_or(WANTED)?;
        let number: u64 = number.parse().map_err(|_| WANTED)?;
        number.checked_mul(factor).filter(|seconds| *seconds > 0).map(Span).ok_or(WANTED)
    }
}

impl Token {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        match self {
            Token::Issue(issue) => {
                let made = issue.ask(client)?;
                if global.json {
                    return table::json(&made);
                }
                table::print(&format!("{}\n", made.token.unwrap_or_default()))
            }
            Token::List => {
                let tokens: Vec<TokenBody> = client.get("/tokens")?;
                if global.json { table::json(&tokens) } else { list(&tokens) }
            }
            Token::Revoke { token } => {
                let id = id_of(&token)?;
                client.bare(Method::DELETE, &format!("/tokens/{}", escape(&id)))?;
                table::print(&format!("token {id} revoked\n"))
            }
            Token::Client(register) => register.run(client, global),
        }
    }
}

impl Issue {
    /// Has the head issue the token.
    pub(crate) fn ask(self, client: &Client) -> anyhow::Result<TokenBody> {
        let body = IssueBody {
            subject: self.subject.unwrap_or_else(user),
            role: self.role.to_string(),
            ttl: Some(self.ttl.0),
            algorithm: Some(self.alg.to_string()),
            name: self.name,
            areas: self.areas,
        };
        client.json(Method::POST, "/tokens", &body)
    }
}

impl Register {
    fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        match self {
            Register::Add { id, role, alg, description } => {
                let algorithm = Some(alg.to_string());
                let body = NewClientBody { id, role: role.to_string(), algorithm, description };
                let made: ClientBody = client.json(Method::POST, "/token-clients", &body)?;
                if global.json {
                    return table::json(&made);
                }
                table::print(&format!("{}\n", made.secret.unwrap_or_default()))
            }
            Register::List => {
                let clients: Vec<ClientBody> = client.get("/token-clients")?;
                if global.json {
                    return table::json(&clients);
                }
                let row = |client: &ClientBody| {
                    let ClientBody { id, role, algorithm, created, description, secret: _ } = client.clone();
                    vec![id, role, algorithm, created, description]
                };
                let rows: Vec<Vec<String>> = clients.iter().map(row).collect();
                table::rows(&["id", "role", "algorithm", "created", "description"], &rows, "no clients")
            }
            Register::Rm { id } => {
                client.bare(Method::DELETE, &format!("/token-clients/{}", escape(&id)))?;
                table::print(&format!("client {id} removed; its tokens count no longer\n"))
            }
        }
    }
}

fn list(tokens: &[TokenBody]) -> anyhow::Result<()> {
    let row = |token: &TokenBody| {
        let subject = Some(token.subject.clone()).filter(|subject| !subject.is_empty());
        vec![
            token.id.clone(),
            table::dash(subject),
            table::dash(Some(token.role.clone()).filter(|role| !role.is_empty())),
            table::dash(Some(token.name.clone())),
            table::dash(Some(token.areas.join(","))),
            token.issued.clone(),
            token.expires.clone(),
            table::dash(token.revoked.clone()),
        ]
    };
    let rows: Vec<Vec<String>> = tokens.iter().map(row).collect();
    table::rows(
        &["id", "subject", "role", "name", "areas", "issued", "expires", "revoked"],
        &rows,
        "no tokens were issued",
    )
}

/// The id of a token, or what is an id already.
fn id_of(text: &str) -> anyhow::Result<String> {
    let text = text.trim();
    let mut parts = text.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Ok(text.to_owned());
    };
    let claims = URL_SAFE_NO_PAD.decode(payload).ok();
    let claims = claims.and_then(|claims| serde_json::from_slice::<Value>(&claims).ok());
    let id = claims.as_ref().and_then(|claims| claims.get("jti")).and_then(Value::as_str);
    id.map(str::to_owned)
        .ok_or_else(|| anyhow::anyhow!("this token has no id (jti), by which it could be revoked"))
}

/// Who asks, for the record.
fn user() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    user.map_or_else(|| "root".to_owned(), |user| user.name)
}

#[cfg(test)]
mod tests {
    use crate::cli::token::{Span, id_of};

    #[test]
    fn a_token_is_revoked_by_itself_or_by_its_id() {
        assert_eq!(id_of("5wd0-E3d").unwrap(), "5wd0-E3d");
        assert_eq!(id_of("e30.eyJqdGkiOiJvbmUifQ.x\n").unwrap(), "one");
        assert!(id_of("e30.e30.x").is_err() && id_of("a.!.b").is_err());
    }

    #[test]
    fn spans_have_units() {
        assert_eq!(
            ["90s", "30m", "8h", "2d"].map(|text| text.parse::<Span>().unwrap().0),
            [90, 1800, 28_800, 172_800]
        );
        for text in ["", "8", "h", "0h", "-1h", "8hh", "99999999999999999999d", "é"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
