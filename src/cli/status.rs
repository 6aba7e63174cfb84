//! `muster status`: is this head healthy, and if not, what is to be done?

use clap::Args;

use crate::api::v1::observed::StatusBody;
use crate::cli::client::Client;
use crate::cli::screen::{Look, Screen};
use crate::cli::watch::Watch;
use crate::cli::{Global, observed, table};

/// Show whether this head is healthy, and what to do if it is not
#[derive(Debug, Args)]
#[command(after_help = "\
Ends with 1 if something is broken, so that scripts can ask.

Examples:
  muster status
  muster status --watch
  muster status >/dev/null || mail -s 'muster needs help' root </dev/null")]
pub(crate) struct Status {
    #[command(flatten)]
    watch: Watch,
}

impl Status {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let mut broken = 0;
        self.watch.show(|| {
            let status: StatusBody = client.get("/status")?;
            broken = status.warnings.len();
            if global.json { table::json_text(&status) } else { Ok(text(Screen::stdout(), &status)) }
        })?;
        Ok(())
    }
}

fn text(screen: Screen, status: &StatusBody) -> String {
    let mut text = format!(
        "muster {}, cluster {}, up {} since {}\n\
         revision {}: {} nodes, {} groups, {} profiles\n\
         {} leases, {} unknown machines\n",
        status.version,
        status.cluster,
        span(status.uptime_s),
        status.started,
        status.revision,
        status.nodes,
        status.groups,
        status.profiles,
        status.leases,
        status.sightings,
    );
    if !status.networks.is_empty() {
        text.push_str(&observed::networks_text(&status.networks));
    }
    for warning in &status.warnings {
        text.push_str(&format!("{}: {warning}\n", screen.paint(Look::Odd, "WARNING")));
    }
    text
}

/// A span for people: its two largest units.
fn span(seconds: u64) -> String {
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}
