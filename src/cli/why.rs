//! `muster why`: why a node did not boot, in five lines; or whole racks, by cause.

use clap::Args;

use crate::api::v1::types::record::{CauseBody, WhyBody};
use crate::base::hostlist;
use crate::cli::client::{Client, escape};
use crate::cli::screen::{Look, Screen};
use crate::cli::watch::Watch;
use crate::cli::{Global, table};

/// Say why a node did not boot: the step that failed, what was seen, the likely cause, what to look at next
#[derive(Debug, Args)]
#[command(after_help = "\
Of what the head saw: DHCP, TFTP, HTTP, cloud-init, what machines log. A verdict says how sure it is.

Examples:
  muster why nid007
  muster why 52:54:00:be:ef:01
  muster why --all                failed machines by cause
  muster why --all --set @rack7")]
pub(crate) struct Why {
    /// The node, by name or xname, or a machine by its hardware address or address
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    node: Option<String>,
    /// Every machine whose last boot failed, by cause
    #[arg(long)]
    all: bool,
    /// With --all: only these nodes
    #[arg(long, value_name = "SET", requires = "all")]
    set: Option<String>,
    #[command(flatten)]
    watch: Watch,
}

impl Why {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let Why { node, all: _, set, watch } = self;
        watch.show(|| match &node {
            Some(node) => {
                let why: WhyBody = client.get(&format!("/why/{}", escape(node)))?;
                if global.json { table::json_text(&why) } else { Ok(one(Screen::stdout(), &why)) }
            }
            None => {
                let query = set.as_ref().map_or_else(String::new, |set| format!("?set={}", escape(set)));
                let causes: Vec<CauseBody> = client.get(&format!("/why{query}"))?;
                if global.json { table::json_text(&causes) } else { Ok(by_cause(Screen::stdout(), &causes)) }
            }
        })
    }
}

/// What machines call themselves stands in some texts.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn sureness(sure: Option<&String>) -> String {
    sure.map_or_else(String::new, |sure| format!(" ({sure})"))
}

/// Verdict, step, evidence, cause, next check; a line each, without those that would be empty.
pub(crate) fn one(screen: Screen, why: &WhyBody) -> String {
    let head = format!("{} {}{}", why.who, why.verdict, sureness(why.sure.as_ref()));
    let mut text = format!("{}\n", screen.paint(Look::Bold, &clean(&head)));
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<9} {}\n", clean(value)));
        }
    };
    line("step", &why.step);
    line("seen", &why.evidence.join("; "));
    let cause = match (why.cause.as_str(), why.siblings.as_str()) {
        ("", siblings) => siblings.to_owned(),
        (cause, "") => cause.to_owned(),
        (cause, siblings) => format!("{cause}. Siblings: {siblings}"),
    };
    line("cause", &cause);
    line("check", &why.check);
    if let Some(before) = &why.before {
        text.push_str(&format!("The attempt before: {}", one(screen, before)));
    }
    text
}

fn by_cause(screen: Screen, causes: &[CauseBody]) -> String {
    if causes.is_empty() {
        return "no machine's last boot failed\n".to_owned();
    }
    let mut text = String::new();
    for cause in causes {
        let head = format!("{} × {} ({})", cause.count, cause.summary, cause.sure);
        text.push_str(&format!("{}\n", screen.paint(Look::Bold, &clean(&head))));
        let names: Vec<String> = cause.who.iter().map(|who| clean(who)).collect();
        let who = hostlist::fold(names.iter().map(String::as_str));
        for (name, value) in
            [("step", &cause.step), ("who", &who), ("cause", &cause.cause), ("check", &cause.check)]
        {
            text.push_str(&format!("  {name:<9} {}\n", clean(value)));
        }
    }
    text
}
