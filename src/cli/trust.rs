//! `muster trust`: boot sessions, and how far nodes are trusted.

use axum::http::Method;
use clap::Subcommand;
use serde_json::json;

use crate::api::v1::trust::{EpochBody, NodeTrustBody, SessionBody};
use crate::cli::client::{Client, escape};
use crate::cli::tpm::Tpm;
use crate::cli::watch::Watch;
use crate::cli::{Global, table, tpm};

/// See how far nodes are trusted in their boots, and end that
#[derive(Debug, Subcommand)]
pub(crate) enum Trust {
    /// List boot sessions
    #[command(after_help = "\
Examples:
  muster trust sessions
  muster trust sessions --watch")]
    Sessions {
        #[command(flatten)]
        watch: Watch,
    },
    /// Show the level that a node reached, why not more, and what happened
    #[command(after_help = "Example:\n  muster trust show nid007")]
    Show {
        node: String,
        #[command(flatten)]
        watch: Watch,
    },
    #[command(subcommand)]
    Tpm(Tpm),
    /// List the values of secrets that a node ever had
    #[command(after_help = "Example:\n  muster trust held nid007")]
    Held { node: String },
    /// End the boot session of a node: it gets nothing more in this boot
    #[command(after_help = "\
To take its trust from a node for good, as when it is lost: muster node revoke.

Example:
  muster trust revoke nid007")]
    Revoke { node: String },
    /// Make everything void that nodes were given to redeem, after a whole data directory was restored
    #[command(after_help = "\
The head sees by itself that its store alone was restored. It cannot see that all of its data directory was.

Example:
  muster trust void")]
    Void,
}

impl Trust {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        match self {
            Trust::Sessions { watch } => watch.show(|| {
                let sessions: Vec<SessionBody> = client.get("/trust/sessions")?;
                if global.json { table::json_text(&sessions) } else { Ok(list(&sessions)) }
            }),
            Trust::Show { node, watch } => watch.show(|| {
                let trust: NodeTrustBody = client.get(&format!("/trust/nodes/{}", escape(&node)))?;
                if global.json { table::json_text(&trust) } else { Ok(shown(&trust)) }
            }),
            Trust::Tpm(command) => command.run(client, global),
            Trust::Held { node } => tpm::held(&node, client, global),
            Trust::Revoke { node } => {
                let path = format!("/trust/nodes/{}/revoke", escape(&node));
                let session: SessionBody = client.json(Method::POST, &path, &json!({}))?;
                said(&session, global)
            }
            Trust::Void => {
                let EpochBody { epoch } = client.json(Method::POST, "/trust/void", &json!({}))?;
                if global.json {
                    return table::json(&EpochBody { epoch });
                }
                table::print(&format!("all boot sessions are void; this is epoch {epoch}\n"))
            }
        }
    }
}

/// `muster node arm`.
pub(crate) fn arm(node: &str, client: &Client, global: &Global) -> anyhow::Result<()> {
    let path = format!("/trust/nodes/{}/arm", escape(node));
    let session: SessionBody = client.json(Method::POST, &path, &json!({}))?;
    said(&session, global)
}

fn said(session: &SessionBody, global: &Global) -> anyhow::Result<()> {
    if global.json {
        return table::json(session);
    }
    let SessionBody { id, node, state, expires, .. } = session;
    table::print(&format!("{node}: boot session {id} is {state}, until {expires}\n"))
}

fn list(sessions: &[SessionBody]) -> String {
    let row = |session: &SessionBody| {
        let held = session.held.as_ref().map(|held| format!("held: {held}"));
        vec![
            session.node.clone(),
            session.state.clone(),
            session.level.clone(),
            table::dash(session.address.as_ref()),
            session.armed_by.clone(),
            session.delivered.len().to_string(),
            session.withheld.len().to_string(),
            session.made.clone(),
            table::dash(held),
        ]
    };
    let rows: Vec<Vec<String>> = sessions.iter().map(row).collect();
    let header = ["node", "state", "level", "address", "armed by", "given", "withheld", "began", "note"];
    table::grid(&header, &rows, "no boot sessions")
}

fn shown(trust: &NodeTrustBody) -> String {
    let mut text = format!("{}: level {}\n", trust.node, trust.level);
    for why in &trust.why {
        text.push_str(&format!("  not more: {why}\n"));
    }
    for session in &trust.sessions {
        let SessionBody { id, state, level, made, .. } = session;
        text.push_str(&format!("\nboot session {id}: {state}, level {level}, began {made}\n"));
        for given in &session.delivered {
            text.push_str(&format!(
                "  {}  gave {} version {} to {}\n",
                given.at, given.secret, given.version, given.to
            ));
        }
        for name in &session.withheld {
            text.push_str(&format!("  withheld: {name}\n"));
        }
        for event in &session.events {
            let mark = if event.alarm { "ALARM: " } else { "" };
            text.push_str(&format!("  {}  {mark}{}\n", event.at, event.text));
        }
    }
    text
}
