//! `muster group`.

use axum::http::Method;
use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::api::v1::types::GroupBody;
use crate::base::hostlist::fold;
use crate::cli::client::{Client, escape};
use crate::cli::{Global, table};

/// List, show, change and remove groups
#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// List groups with their members
    List,
    /// Show a group
    Show { name: String },
    /// Make or change a group
    #[command(after_help = "Example:\n  muster group set gpu --priority 10 --loader ipxe-amd64.efi")]
    Set {
        name: String,
        #[arg(long)]
        description: Option<String>,
        /// Of two groups of a node the higher one wins
        #[arg(long, allow_hyphen_values = true)]
        priority: Option<i32>,
        /// Loader of the members; an empty value clears it
        #[arg(long)]
        loader: Option<String>,
    },
    /// Put nodes into a group, which is made if it is not there
    #[command(after_help = "Example:\n  muster group add compute 'nid[001-128]'")]
    Add { name: String, set: String },
    /// Take nodes out of a group
    Remove { name: String, set: String },
    /// Remove a group; its members stay
    Rm { name: String },
}

impl Group {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let path = |name: &str| format!("/groups/{}", escape(name));
        let group: GroupBody = match self {
            Group::List => {
                let groups: Vec<GroupBody> = client.get("/groups")?;
                return if global.json { table::json(&groups) } else { list(&groups) };
            }
            Group::Show { name } => client.get(&path(&name))?,
            Group::Set { name, description, priority, loader } => {
                let mut patch = Map::new();
                patch.extend(description.map(|text| ("description".to_owned(), json!(text))));
                patch.extend(priority.map(|number| ("priority".to_owned(), json!(number))));
                let loader = loader.map(|file| if file.is_empty() { Value::Null } else { json!(file) });
                patch.extend(loader.map(|file| ("loader".to_owned(), file)));
                client.json(Method::PATCH, &path(&name), &Value::Object(patch))?
            }
            Group::Add { name, set } => {
                let path = format!("{}/members?set={}", path(&name), escape(&set));
                serde_json::from_slice(&client.bare(Method::POST, &path)?)?
            }
            Group::Remove { name, set } => {
                let path = format!("{}/members?set={}", path(&name), escape(&set));
                serde_json::from_slice(&client.bare(Method::DELETE, &path)?)?
            }
            Group::Rm { name } => {
                client.bare(Method::DELETE, &path(&name))?;
                return table::print(&format!("group {name} removed\n"));
            }
        };
        if global.json { table::json(&group) } else { list(std::slice::from_ref(&group)) }
    }
}

fn list(groups: &[GroupBody]) -> anyhow::Result<()> {
    let row = |group: &GroupBody| {
        vec![
            group.name.clone(),
            group.priority.to_string(),
            group.members.len().to_string(),
            table::dash(Some(fold(group.members.iter().map(String::as_str))).filter(|text| !text.is_empty())),
            table::dash(group.loader.as_ref()),
            group.description.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = groups.iter().map(row).collect();
    table::rows(&["name", "priority", "count", "members", "loader", "description"], &rows, "no groups")
}
