//! `muster node`.

use axum::http::Method;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::api::v1::types::{NodeBody, ReportBody};
use crate::base::hostlist;
use crate::cli::client::{Client, escape};
use crate::cli::{Global, inventory, table};

/// List, show, change and remove nodes
#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// List nodes
    #[command(after_help = "Examples:\n  muster node list\n  muster node list '@compute!nid003'")]
    List {
        /// Node set; all nodes without one
        set: Option<String>,
    },
    /// Show all of a node
    Show {
        name: String,
    },
    Set(Box<Set>),
    /// Remove nodes
    #[command(after_help = "Example:\n  muster node rm 'nid[005-008]'")]
    Rm {
        set: String,
    },
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
    /// Hardware address of the boot interface
    #[arg(long)]
    mac: Option<String>,
    /// Addresses of the boot interface; an empty value: one from the pool
    #[arg(long)]
    ip: Option<Vec<String>>,
    #[arg(long)]
    nid: Option<String>,
    #[arg(long)]
    xname: Option<String>,
    #[arg(long)]
    uuid: Option<String>,
    /// x86_64, arm64, …
    #[arg(long)]
    arch: Option<String>,
    #[arg(long)]
    role: Option<String>,
    /// All groups of the nodes (see also: muster group add)
    #[arg(long = "group")]
    groups: Option<Vec<String>>,
    /// Name of the BMC
    #[arg(long)]
    bmc: Option<String>,
    /// serve, ignore, local
    #[arg(long)]
    policy: Option<String>,
    #[arg(long)]
    loader: Option<String>,
    /// New name, for one node
    #[arg(long)]
    rename: Option<String>,
}

impl Node {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        match self {
            Node::List { set } => {
                let query = set.map(|set| format!("?set={}", escape(&set))).unwrap_or_default();
                let nodes: Vec<NodeBody> = client.get(&format!("/nodes{query}"))?;
                if global.json { table::json(&nodes) } else { list(&nodes) }
            }
            Node::Show { name } => {
                let node: NodeBody = client.get(&format!("/nodes/{}", escape(&name)))?;
                if global.json { table::json(&node) } else { show(&node) }
            }
            Node::Set(set) => set.run(client, global),
            Node::Rm { set } => {
                let answer = client.bare(Method::DELETE, &format!("/nodes?set={}", escape(&set)))?;
                let report: ReportBody = serde_json::from_slice(&answer)?;
                if global.json { table::json(&report) } else { inventory::print(&report) }
            }
        }
    }
}

fn list(nodes: &[NodeBody]) -> anyhow::Result<()> {
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
    table::rows(&["name", "mac", "address", "groups", "nid", "xname", "policy"], &rows, "no nodes")
}

fn dash_empty(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn show(node: &NodeBody) -> anyhow::Result<()> {
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
    table::print(&text)
}

impl Set {
    fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let single = hostlist::expand(&self.set).is_ok_and(|names| names.len() == 1)
            && !self.set.contains(['@', '*', ',', '!', '&']);
        anyhow::ensure!(
            single || (self.mac.is_none() && self.ip.is_none() && self.rename.is_none()),
            "--mac, --ip and --rename are for one node at a time"
        );
        if !single {
            let path = format!("/nodes?set={}", escape(&self.set));
            let report: ReportBody = client.json(Method::PATCH, &path, &self.patch(None)?)?;
            return if global.json { table::json(&report) } else { inventory::print(&report) };
        }
        let path = format!("/nodes/{}", escape(&self.set));
        // The daemon knows the node by every name a person may use; its other interfaces must stay.
        let old: Option<NodeBody> = client.get_if_there(&path)?;
        let node: NodeBody = client.json(Method::PATCH, &path, &self.patch(old.as_ref())?)?;
        if global.json { table::json(&node) } else { show(&node) }
    }

    /// The options as a merge patch. An empty value is null, which clears the field.
    fn patch(&self, old: Option<&NodeBody>) -> anyhow::Result<Value> {
        let mut patch = Map::new();
        let nid = self
            .nid
            .as_ref()
            .map(|nid| if nid.is_empty() { Ok(Value::Null) } else { nid.parse::<u32>().map(Value::from) });
        patch.extend(nid.transpose()?.map(|nid| ("nid".to_owned(), nid)));
        for (key, value) in [
            ("xname", &self.xname),
            ("uuid", &self.uuid),
            ("arch", &self.arch),
            ("role", &self.role),
            ("bmc", &self.bmc),
            ("policy", &self.policy),
            ("loader", &self.loader),
            ("name", &self.rename),
        ] {
            let value = value.as_ref().map(|text| if text.is_empty() { Value::Null } else { json!(text) });
            patch.extend(value.map(|value| (key.to_owned(), value)));
        }
        if let Some(groups) = &self.groups {
            let groups: Vec<&String> = groups.iter().filter(|group| !group.is_empty()).collect();
            patch.insert("groups".to_owned(), json!(groups));
        }
        if self.mac.is_some() || self.ip.is_some() {
            let mut interfaces = old.map(|node| node.interfaces.clone()).unwrap_or_default();
            let mac = self.mac.clone().or_else(|| interfaces.first().map(|first| first.mac.clone()));
            let mac = mac.ok_or_else(|| anyhow::anyhow!("--mac is needed: the node has no interface yet"))?;
            let addresses = match &self.ip {
                Some(texts) => texts
                    .iter()
                    .filter(|text| !text.is_empty())
                    .map(|text| {
                        text.parse().map_err(|_| anyhow::anyhow!("--ip: {text:?} is not an IPv4 address"))
                    })
                    .collect::<anyhow::Result<_>>()?,
                None => interfaces.first().map(|first| first.addresses.clone()).unwrap_or_default(),
            };
            let name = interfaces.first().and_then(|first| first.name.clone());
            let first = crate::api::v1::types::InterfaceBody { name, mac, addresses };
            match interfaces.first_mut() {
                Some(old) => *old = first,
                None => interfaces.push(first),
            }
            patch.insert("interfaces".to_owned(), serde_json::to_value(interfaces)?);
        }
        Ok(Value::Object(patch))
    }
}
