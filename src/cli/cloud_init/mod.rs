//! `muster cloud-init`.

mod patch;
mod render;

use axum::http::Method;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::v1::cloud_init::{CallBody, DefaultsBody, GroupDataBody, NodeDataBody, PreviewBody};
use crate::api::v1::types::ReportBody;
use crate::base::Level;
use crate::cli::client::{Client, escape};
use crate::cli::cloud_init::patch::Patch;
use crate::cli::cloud_init::render::{render, reports, warn};
use crate::cli::{Global, table};

/// Say what cloud-init on nodes reads, and see what a node will see
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  muster cloud-init group set compute --file compute.yaml --meta syslog=172.16.0.254
  muster cloud-init node set nid001 --hostname login1
  muster cloud-init render nid001                     every document, templates rendered
  muster cloud-init render nid001 compute.yaml        one of them, to pipe on
  muster cloud-init reinstall @compute                do everything again at the next boot")]
pub(crate) enum CloudInit {
    /// What every node has unless its groups or itself say otherwise
    #[command(subcommand)]
    Defaults(Defaults),
    /// What groups lend to their members
    #[command(subcommand)]
    Group(Group),
    /// What one node has of its own
    #[command(subcommand)]
    Node(Node),
    /// Show what a node will see, templates rendered, and the source of every value
    #[command(after_help = "Example:\n  muster cloud-init render nid001 compute.yaml")]
    Render {
        node: String,
        /// Only this one: meta-data, user-data, vendor-data, network-config, GROUP.yaml
        document: Option<String>,
        /// Only the values of the meta-data and where they come from
        #[arg(long, conflicts_with = "document")]
        values: bool,
    },
    /// Give nodes new instance-ids: cloud-init does everything again at their next boot
    #[command(after_help = "Example:\n  muster cloud-init reinstall nid[001-016] --dry-run")]
    Reinstall {
        set: String,
        #[command(flatten)]
        dry: Dry,
    },
    /// List what nodes said when they were done (phone_home)
    #[command(after_help = "Example:\n  muster cloud-init reports")]
    Reports,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Dry {
    /// Change nothing, only say what would be
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Defaults {
    /// Show the defaults
    #[command(after_help = "Example:\n  muster cloud-init defaults show")]
    Show,
    /// Change defaults; an empty value clears one
    #[command(after_help = "\
Examples:
  muster cloud-init defaults set --public-key \"$(cat ~/.ssh/id_ed25519.pub)\"
  muster cloud-init defaults set --short-name nid --nid-length 3     host names nid001, nid002 …")]
    Set(DefaultsOptions),
}

#[derive(Debug, Args)]
pub(crate) struct DefaultsOptions {
    /// Who runs the machines, as meta-data tells it
    #[arg(long)]
    cloud_provider: Option<String>,
    /// Where they stand
    #[arg(long)]
    region: Option<String>,
    /// What fails together with them
    #[arg(long)]
    availability_zone: Option<String>,
    /// What the cluster is called in meta-data; its first letters begin host names
    #[arg(long)]
    cluster_name: Option<String>,
    /// Where nodes find the head, if it is not the head's own address: http://HOST:8081/cloud-init
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Prefix of host names that are made from the nid
    #[arg(long)]
    short_name: Option<String>,
    /// Digits of the nid in such a name
    #[arg(long)]
    nid_length: Option<u8>,
    /// SSH key; may be given several times, and replaces those there are
    #[arg(long = "public-key", value_name = "KEY")]
    public_keys: Option<Vec<String>>,
    #[command(flatten)]
    dry: Dry,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// List groups with cloud-init data
    #[command(after_help = "Example:\n  muster cloud-init group list")]
    List,
    /// Show a group's data and file
    #[command(after_help = "Example:\n  muster cloud-init group show compute")]
    Show { name: String },
    /// Make or change a group's data
    #[command(after_help = "\
Example:
  muster cloud-init group set compute --file compute.yaml --meta syslog=172.16.0.254

  muster cloud-init group set compute --file munge.yaml --min-level 2

A file that begins with `## template: jinja` may use ds.meta_data.instance_data.v1.… of `render --values`. One that
asks for secrets, {{ secret('NAME') }} or {{ secret('NAME', 'base64') }}, is given on the secure path alone.")]
    Set {
        name: String,
        #[command(flatten)]
        content: Content,
        #[arg(long)]
        description: Option<String>,
        #[command(flatten)]
        dry: Dry,
    },
    /// Remove a group's data; the group stays
    #[command(after_help = "Example:\n  muster cloud-init group rm compute")]
    Rm {
        name: String,
        #[command(flatten)]
        dry: Dry,
    },
}

/// A file and keys of meta-data.
#[derive(Debug, Args)]
pub(crate) struct Content {
    /// cloud-config, script or other file for cloud-init; an empty value clears it
    #[arg(long, value_name = "FILE")]
    file: Option<String>,
    /// What a node must have reached to read the file: 0, 1, 2 or 2p; above 0 it is on the secure path alone
    #[arg(long, value_name = "LEVEL")]
    min_level: Option<Level>,
    /// KEY=VALUE for the meta-data, JSON or text; KEY= removes it; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    meta: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// List nodes with data of their own
    #[command(after_help = "Example:\n  muster cloud-init node list")]
    List,
    /// Show a node's data
    #[command(after_help = "Example:\n  muster cloud-init node show nid001")]
    Show { name: String },
    /// Change a node's data; an empty value clears one
    #[command(
        after_help = "Example:\n  muster cloud-init node set nid001 --hostname login1 --file login.yaml"
    )]
    Set {
        name: String,
        #[command(flatten)]
        content: Content,
        /// Host name that the node gives itself
        #[arg(long)]
        hostname: Option<String>,
        /// The node does everything again if this differs from what it last saw
        #[arg(long)]
        instance_id: Option<String>,
        /// What kind of machine it is, as meta-data tells it
        #[arg(long)]
        instance_type: Option<String>,
        #[command(flatten)]
        dry: Dry,
    },
    /// Remove a node's data
    #[command(after_help = "Example:\n  muster cloud-init node rm nid001")]
    Rm {
        name: String,
        #[command(flatten)]
        dry: Dry,
    },
}

impl CloudInit {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        match self {
            CloudInit::Defaults(command) => command.run(client, global),
            CloudInit::Group(command) => command.run(client, global),
            CloudInit::Node(command) => command.run(client, global),
            CloudInit::Render { node, document, values } => {
                let preview: PreviewBody = client.get(&format!("/cloud-init/render/{}", escape(&node)))?;
                render(&preview, document.as_deref(), values, global)
            }
            CloudInit::Reinstall { set, dry } => {
                let query = if dry.dry_run { "&dry_run" } else { "" };
                let path = format!("/cloud-init/reinstall?set={}{query}", escape(&set));
                let report: ReportBody = serde_json::from_slice(&client.bare(Method::POST, &path)?)?;
                if global.json {
                    return table::json(&report);
                }
                let would = if report.dry_run { "would get" } else { "got" };
                table::print(&format!("{} nodes {would} new instance-ids\n", report.changed.len()))
            }
            CloudInit::Reports => {
                let calls: Vec<CallBody> = client.get("/cloud-init/phone-home")?;
                if global.json { table::json(&calls) } else { reports(&calls) }
            }
        }
    }
}

impl Dry {
    fn of(self, path: &str) -> String {
        if self.dry_run { format!("{path}?dry_run") } else { path.to_owned() }
    }
}

impl Defaults {
    fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let path = "/cloud-init/defaults";
        let defaults: DefaultsBody = match self {
            Defaults::Show => client.get(path)?,
            Defaults::Set(options) => {
                let DefaultsOptions { dry, public_keys, nid_length, .. } = options;
                let mut patch = Patch::default();
                patch.text("cloud_provider", options.cloud_provider);
                patch.text("region", options.region);
                patch.text("availability_zone", options.availability_zone);
                patch.text("cluster_name", options.cluster_name);
                patch.text("base_url", options.base_url);
                patch.text("short_name", options.short_name);
                patch.0.extend(nid_length.map(|length| ("nid_length".to_owned(), json!(length))));
                let keys = public_keys
                    .map(|keys| keys.into_iter().filter(|key| !key.is_empty()).collect::<Vec<_>>());
                patch.0.extend(keys.map(|keys| ("public_keys".to_owned(), json!(keys))));
                patch.send(client, &dry.of(path))?
            }
        };
        show(&defaults, global)
    }
}

/// The fields that hold something, one on a line.
fn show(body: &impl Serialize, global: &Global) -> anyhow::Result<()> {
    if global.json {
        return table::json(body);
    }
    let value = serde_json::to_value(body)?;
    let fields = value.as_object().cloned().unwrap_or_default();
    let rows: Vec<Vec<String>> = fields
        .iter()
        .filter(|(key, value)| !matches!(key.as_str(), "file" | "warnings") && !is_empty(value))
        .map(|(key, value)| {
            vec![key.clone(), value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)]
        })
        .collect();
    table::rows(&["field", "value"], &rows, "nothing is set")?;
    let content = value.pointer("/file/content").and_then(Value::as_str);
    content.map_or(Ok(()), |content| table::print(&format!("\n{content}")))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

impl Group {
    fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let path = |name: &str| format!("/cloud-init/groups/{}", escape(name));
        let group: GroupDataBody = match self {
            Group::List => {
                let groups: Vec<GroupDataBody> = client.get("/cloud-init/groups")?;
                return if global.json { table::json(&groups) } else { list(&groups) };
            }
            Group::Show { name } => client.get(&path(&name))?,
            Group::Set { name, content, description, dry } => {
                let mut patch = Patch::default();
                patch.0.extend(description.map(|text| ("description".to_owned(), json!(text))));
                patch.content(content)?;
                patch.send(client, &dry.of(&path(&name)))?
            }
            Group::Rm { name, dry } => {
                client.bare(Method::DELETE, &dry.of(&path(&name)))?;
                return table::print(&format!("cloud-init data of group {name} removed\n"));
            }
        };
        warn(&group.name, &group.warnings);
        show(&group, global)
    }
}

fn list(groups: &[GroupDataBody]) -> anyhow::Result<()> {
    let row = |group: &GroupDataBody| {
        let keys: Vec<&str> = group.meta_data.keys().map(String::as_str).collect();
        let lines = group.file.as_ref().map(|file| format!("{} lines", file.content.lines().count()));
        let keys = table::dash(Some(keys.join(",")).filter(|text| !text.is_empty()));
        vec![group.name.clone(), table::dash(lines), keys, group.description.clone()]
    };
    let rows: Vec<Vec<String>> = groups.iter().map(row).collect();
    table::rows(&["group", "file", "meta-data", "description"], &rows, "no group has cloud-init data")
}

impl Node {
    fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let path = |name: &str| format!("/cloud-init/nodes/{}", escape(name));
        let node: NodeDataBody = match self {
            Node::List => {
                let nodes: Vec<NodeDataBody> = client.get("/cloud-init/nodes")?;
                return if global.json { table::json(&nodes) } else { list_nodes(&nodes) };
            }
            Node::Show { name } => client.get(&path(&name))?,
            Node::Set { name, content, hostname, instance_id, instance_type, dry } => {
                let mut patch = Patch::default();
                patch.text("local_hostname", hostname);
                patch.text("instance_id", instance_id);
                patch.text("instance_type", instance_type);
                patch.content(content)?;
                patch.send(client, &dry.of(&path(&name)))?
            }
            Node::Rm { name, dry } => {
                client.bare(Method::DELETE, &dry.of(&path(&name)))?;
                return table::print(&format!("cloud-init data of node {name} removed\n"));
            }
        };
        warn(&node.node, &node.warnings);
        show(&node, global)
    }
}

fn list_nodes(nodes: &[NodeDataBody]) -> anyhow::Result<()> {
    let row = |node: &NodeDataBody| {
        let lines = node.file.as_ref().map(|file| format!("{} lines", file.content.lines().count()));
        let hostname = table::dash(node.local_hostname.as_ref());
        vec![node.node.clone(), node.effective_instance_id.clone(), hostname, table::dash(lines)]
    };
    let rows: Vec<Vec<String>> = nodes.iter().map(row).collect();
    table::rows(&["node", "instance-id", "hostname", "file"], &rows, "no node has cloud-init data of its own")
}
