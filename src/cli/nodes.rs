//! `muster node`.

mod fields;

use axum::http::Method;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::api::v1::types::NodeBody;
use crate::base::hostlist;
use crate::cli::client::{Client, escape};
use crate::cli::nodes::fields::Fields;
use crate::cli::watch::Watch;
use crate::cli::write::{DryRun, Writer};
use crate::cli::{Global, edit, table, tpm, trust};

/// List, show, declare, change and remove nodes
#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// List nodes
    #[command(after_help = "\
Examples:
  muster node list
  muster node list '@compute!nid003'
  muster --json node list | jq -r '.[].name'")]
    List {
        /// Node set; all nodes without one
        set: Option<String>,
        #[command(flatten)]
        watch: Watch,
    },
    /// Show all of a node, or of each in a set
    #[command(after_help = "\
A node is found by its name, its xname (a made-up one too), and its hardware addresses.

Examples:
  muster node show nid007
  muster node show 52:54:00:be:ef:07
  muster node show 'nid[007-009]'")]
    Show {
        /// Node or node set
        set: String,
        #[command(flatten)]
        watch: Watch,
    },
    Add(Box<Add>),
    Set(Box<Set>),
    /// Give a node another name; everything else stays with it
    #[command(after_help = "Example:\n  muster node rename nid007 login1")]
    Rename {
        name: String,
        new: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Change all of a node in an editor (VISUAL, EDITOR, or vi)
    #[command(after_help = "Example:\n  EDITOR='vim -n' muster node edit nid007")]
    Edit {
        name: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Vouch for the boot of a node: the one that is going on, or its next one
    #[command(after_help = "\
Needed where policy wants it (trust.arm_on = \"operator\"), and to release a boot that is held.
What a boot was given and what not: muster trust show NODE.

Example:
  muster node arm nid007")]
    Arm {
        name: String,
    },
    /// Take its trust from a node that is lost: it gets nothing any more, and what it had is listed
    #[command(after_help = "\
Its boot session ends, its TPM counts no more, and no other node gets in with that TPM. Every value of a secret that it
ever had is listed; those that it shares with others should be rotated. To undo it: muster trust tpm anew.

Examples:
  muster node revoke nid007
  muster node revoke nid007 --rotate")]
    Revoke {
        name: String,
        /// Have the head make new values at once, where it can
        #[arg(long)]
        rotate: bool,
    },
    /// Remove nodes
    #[command(after_help = "\
Examples:
  muster node rm 'nid[005-008]'
  muster node rm --dry-run '@old'")]
    Rm {
        /// Node set
        set: String,
        #[command(flatten)]
        dry: DryRun,
    },
}

/// Declare a node that is not there yet
#[derive(Debug, Args)]
#[command(after_help = "\
A name and a hardware address suffice. Many at once: muster import.

Examples:
  muster node add nid007 --mac 52:54:00:be:ef:07
  muster node add nid007 --mac 52:54:00:be:ef:07 --ip 172.16.0.7 --nid 7 --group compute")]
pub(crate) struct Add {
    name: String,
    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    dry: DryRun,
}

/// Declare or change nodes; an empty value clears a field
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  muster node set nid007 --mac 52:54:00:be:ef:07 --ip 172.16.0.7 --group compute
  muster node set '@compute' --policy local          boot the local disk from now on
  muster node set nid007 --loader ipxe-amd64.efi     instead of the loader for its firmware")]
pub(crate) struct Set {
    /// Node set; a new node must be named alone
    set: String,
    #[command(flatten)]
    fields: Fields,
    /// New name, for one node (see also: muster node rename)
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    #[command(flatten)]
    dry: DryRun,
}

impl Node {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let writer = |dry| Writer { client, global, dry };
        match self {
            Node::List { set, watch } => {
                let query = set.map(|set| format!("?set={}", escape(&set))).unwrap_or_default();
                let path = format!("/nodes{query}");
                watch.show(|| {
                    let nodes: Vec<NodeBody> = client.get(&path)?;
                    if global.json { table::json_text(&nodes) } else { Ok(list(&nodes)) }
                })
            }
            Node::Show { set, watch } => watch.show(|| view(client, global, &set)),
            Node::Add(add) => {
                let Add { name, fields, dry } = *add;
                let node: Option<NodeBody> =
                    writer(dry).send(Method::POST, "/nodes", &fields.body(&name)?)?;
                say(node, global)
            }
            Node::Set(set) => set.run(client, global),
            Node::Rename { name, new, dry } => {
                let body = json!({ "name": new });
                say(writer(dry).send(Method::PATCH, &path(&name), &body)?, global)
            }
            Node::Edit { name, dry } => edit::edit(&writer(dry), &path(&name)),
            Node::Arm { name } => trust::arm(&name, client, global),
            Node::Revoke { name, rotate } => tpm::revoke(&name, rotate, client, global),
            Node::Rm { set, dry } => {
                writer(dry).report_bare(Method::DELETE, &format!("/nodes?set={}", escape(&set)))
            }
        }
    }
}

fn path(name: &str) -> String {
    format!("/nodes/{}", escape(name))
}

/// Whether a text names one node rather than a set.
fn is_single(set: &str) -> bool {
    !set.contains(['@', '*', ',', '!', '&']) && hostlist::expand(set).is_ok_and(|names| names.len() == 1)
}

fn view(client: &Client, global: &Global, set: &str) -> anyhow::Result<String> {
    if is_single(set) {
        let node: NodeBody = client.get(&path(set))?;
        return if global.json { table::json_text(&node) } else { Ok(show(&node)) };
    }
    let nodes: Vec<NodeBody> = client.get(&format!("/nodes?set={}", escape(set)))?;
    if global.json {
        return table::json_text(&nodes);
    }
    Ok(nodes.iter().map(show).collect::<Vec<_>>().join("\n"))
}

/// Tells what became of a node; nothing after a dry run, which has told already.
fn say(node: Option<NodeBody>, global: &Global) -> anyhow::Result<()> {
    match node {
        Some(node) if global.json => table::json(&node),
        Some(node) => table::print(&show(&node)),
        None => Ok(()),
    }
}

fn list(nodes: &[NodeBody]) -> String {
    let row = |node: &NodeBody| {
        let macs: Vec<&str> = node.interfaces.iter().map(|interface| interface.mac.as_str()).collect();
        let addresses: Vec<String> = node
            .interfaces
            .iter()
            .flat_map(|interface| &interface.addresses)
            .map(ToString::to_string)
            .collect();
        let groups: Vec<&str> = node.groups.iter().map(String::as_str).collect();
        vec![
            node.name.clone(),
            dash_empty(macs.join(",")),
            dash_empty(addresses.join(",")),
            dash_empty(groups.join(",")),
            table::dash(node.nid),
            node.effective_xname.clone(),
            node.policy.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = nodes.iter().map(row).collect();
    table::grid(&["name", "mac", "address", "groups", "nid", "xname", "policy"], &rows, "no nodes")
}

fn dash_empty(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn show(node: &NodeBody) -> String {
    let declared = if node.xname.is_some() { "" } else { "  (made up: none is declared)" };
    let groups: Vec<&str> = node.groups.iter().map(String::as_str).collect();
    let mut text = format!(
        "name:    {}\nxname:   {}{declared}\nnid:     {}\nuuid:    {}\narch:    {}\nrole:    {}\ngroups:  {}\n\
         bmc:     {}\npolicy:  {}\nloader:  {}\n",
        node.name,
        node.effective_xname,
        table::dash(node.nid),
        table::dash(node.uuid.as_ref()),
        table::dash(node.arch.as_ref()),
        table::dash(node.role.as_ref()),
        dash_empty(groups.join(", ")),
        table::dash(node.bmc.as_ref()),
        node.policy,
        node.loader.as_deref().unwrap_or("- (the one for its firmware)"),
    );
    for interface in &node.interfaces {
        let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
        let name = interface.name.as_deref().unwrap_or("interface");
        let addresses = if addresses.is_empty() { "from the pool".to_owned() } else { addresses.join(", ") };
        text.push_str(&format!("{name}: {} {addresses}\n", interface.mac));
    }
    for (key, value) in &node.annotations {
        text.push_str(&format!("annotation {key}: {value}\n"));
    }
    text
}

impl Set {
    fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let Set { set, fields, rename, dry } = self;
        let writer = Writer { client, global, dry };
        let single = is_single(&set);
        anyhow::ensure!(
            single || (fields.mac.is_none() && fields.ip.is_none() && rename.is_none()),
            "--mac, --ip and --rename are for one node at a time"
        );
        if !single {
            let path = format!("/nodes?set={}", escape(&set));
            return writer.report(Method::PATCH, &path, &fields.patch(None)?);
        }
        let path = path(&set);
        // The daemon knows the node by every name a person may use; its other interfaces must stay.
        let old: Option<NodeBody> = client.get_if_there(&path)?;
        let mut patch = fields.patch(old.as_ref())?;
        if let (Some(name), Some(fields)) = (rename, patch.as_object_mut()) {
            fields.insert("name".to_owned(), json!(name));
        }
        say(writer.send(Method::PATCH, &path, &patch)?, global)
    }
}
