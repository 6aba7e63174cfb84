//! `muster boot`.

use axum::http::Method;
use clap::{Args, Subcommand};

use crate::api::v1::types::{AssignBody, BootBody, WhomBody};
use crate::cli::client::{Client, escape};
use crate::cli::profiles::{Target, sentence};
use crate::cli::watch::Watch;
use crate::cli::write::{DryRun, Writer};
use crate::cli::{Global, table};

/// Say what nodes boot, and see what they would
#[derive(Debug, Subcommand)]
pub(crate) enum Boot {
    /// Show what nodes boot now, and the rule that decides it
    #[command(after_help = "\
Examples:
  muster boot show @compute
  muster boot show 'nid[001-016]' --watch")]
    Show {
        /// Node set; all nodes without one
        set: Option<String>,
        #[command(flatten)]
        watch: Watch,
    },
    Set(Set),
    /// Take assignments back
    #[command(after_help = "Example:\n  muster boot clear nid007")]
    Clear {
        #[command(flatten)]
        whom: Whom,
        /// Only the one-shot
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        dry: DryRun,
    },
}

/// Assign a profile or a target
#[derive(Debug, Args)]
#[command(after_help = "\
Precedence: one-shots before lasting ones; MAC, node, group (by priority), role, default.

Examples:
  muster boot set @compute --image compute:prod       follows the tag
  muster boot set @compute --profile compute
  muster boot set 'nid[001-004]' --kernel vmlinuz --initrd initrd.img --params 'console=ttyS0'
  muster boot set nid007 --profile rescue --once      for its next boot only
  muster boot set --default --local")]
pub(crate) struct Set {
    #[command(flatten)]
    whom: Whom,
    /// Name of the profile
    #[arg(long, conflicts_with_all = ["image", "kernel", "script", "chain", "local"])]
    profile: Option<String>,
    #[command(flatten)]
    target: Target,
    /// For one boot
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    dry: DryRun,
}

/// For whom.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Whom {
    /// Node set; @GROUP alone also holds for nodes that join later
    set: Option<String>,
    /// One interface, declared or not
    #[arg(long)]
    mac: Option<String>,
    /// Nodes of a role
    #[arg(long)]
    role: Option<String>,
    /// Every declared node
    #[arg(long)]
    default: bool,
}

impl Boot {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let writer = |dry| Writer { client, global, dry };
        match self {
            Boot::Show { set, watch } => {
                let query = set.map(|set| format!("?set={}", escape(&set))).unwrap_or_default();
                let path = format!("/boot{query}");
                watch.show(|| {
                    let boots: Vec<BootBody> = client.get(&path)?;
                    if global.json { table::json_text(&boots) } else { Ok(show(&boots)) }
                })
            }
            Boot::Set(Set { whom, profile, target, once, dry }) => {
                let target = target.body(client)?;
                anyhow::ensure!(
                    profile.is_some() || target.is_some(),
                    "give one of --profile, --kernel, --script, --chain, --local"
                );
                let Whom { set, mac, role, default } = whom;
                let body = AssignBody { whom: WhomBody { set, mac, role, default }, once, profile, target };
                writer(dry).report(Method::PUT, "/boot", &body)
            }
            Boot::Clear { whom, once, dry } => {
                let Whom { set, mac, role, default } = whom;
                let mut query: Vec<String> = [("set", set), ("mac", mac), ("role", role)]
                    .into_iter()
                    .filter_map(|(key, value)| Some(format!("{key}={}", escape(&value?))))
                    .collect();
                query.extend(default.then(|| "default".to_owned()));
                query.extend(once.then(|| "once".to_owned()));
                writer(dry).report_bare(Method::DELETE, &format!("/boot?{}", query.join("&")))
            }
        }
    }
}

fn show(boots: &[BootBody]) -> String {
    let row = |boot: &BootBody| {
        let what = match (boot.outcome.as_str(), &boot.target) {
            (_, Some(target)) => sentence(target),
            ("hold", None) => "waits".to_owned(),
            (outcome, None) => outcome.to_owned(),
        };
        vec![boot.node.clone(), what, boot.rule.clone()]
    };
    let rows: Vec<Vec<String>> = boots.iter().map(row).collect();
    table::grid(&["node", "boots", "because"], &rows, "no nodes")
}
