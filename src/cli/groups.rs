//! `muster group`.

use axum::http::Method;
use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::api::v1::types::GroupBody;
use crate::base::hostlist::fold;
use crate::cli::client::{Client, escape};
use crate::cli::watch::Watch;
use crate::cli::write::{DryRun, Writer};
use crate::cli::{Global, edit, table};

/// List, show, change and remove groups
#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// List groups with their members
    #[command(after_help = "Example:\n  muster group list")]
    List {
        #[command(flatten)]
        watch: Watch,
    },
    /// Show a group
    #[command(after_help = "Example:\n  muster group show compute")]
    Show {
        name: String,
        #[command(flatten)]
        watch: Watch,
    },
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
        #[arg(long, value_name = "FILE")]
        loader: Option<String>,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Put nodes into a group, which is made if it is not there
    #[command(after_help = "Example:\n  muster group add compute 'nid[001-128]'")]
    Add {
        name: String,
        /// Node set
        set: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Take nodes out of a group
    #[command(after_help = "Example:\n  muster group remove compute 'nid[120-128]'")]
    Remove {
        name: String,
        /// Node set
        set: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Change all of a group but its members in an editor (VISUAL, EDITOR, or vi)
    #[command(after_help = "Example:\n  muster group edit gpu")]
    Edit {
        name: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Remove a group; its members stay
    #[command(after_help = "Example:\n  muster group rm gpu")]
    Rm {
        name: String,
        #[command(flatten)]
        dry: DryRun,
    },
}

impl Group {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let writer = |dry| Writer { client, global, dry };
        let group: Option<GroupBody> = match self {
            Group::List { watch } => {
                return watch.show(|| {
                    let groups: Vec<GroupBody> = client.get("/groups")?;
                    if global.json { table::json_text(&groups) } else { Ok(list(&groups)) }
                });
            }
            Group::Show { name, watch } => {
                return watch.show(|| {
                    let group: GroupBody = client.get(&path(&name))?;
                    if global.json { table::json_text(&group) } else { Ok(list(&[group])) }
                });
            }
            Group::Set { name, description, priority, loader, dry } => {
                let mut patch = Map::new();
                patch.extend(description.map(|text| ("description".to_owned(), json!(text))));
                patch.extend(priority.map(|number| ("priority".to_owned(), json!(number))));
                let loader = loader.map(|file| if file.is_empty() { Value::Null } else { json!(file) });
                patch.extend(loader.map(|file| ("loader".to_owned(), file)));
                writer(dry).send(Method::PATCH, &path(&name), &Value::Object(patch))?
            }
            Group::Add { name, set, dry } => writer(dry).bare(Method::POST, &members(&name, &set))?,
            Group::Remove { name, set, dry } => writer(dry).bare(Method::DELETE, &members(&name, &set))?,
            Group::Edit { name, dry } => return edit::edit(&writer(dry), &path(&name)),
            Group::Rm { name, dry } => return writer(dry).remove(&path(&name), &format!("group {name}")),
        };
        match group {
            Some(group) if global.json => table::json(&group),
            Some(group) => table::print(&list(&[group])),
            None => Ok(()),
        }
    }
}

fn path(name: &str) -> String {
    format!("/groups/{}", escape(name))
}

fn members(name: &str, set: &str) -> String {
    format!("{}/members?set={}", path(name), escape(set))
}

fn list(groups: &[GroupBody]) -> String {
    let row = |group: &GroupBody| {
        vec![
            group.name.clone(),
            group.priority.to_string(),
            group.members.len().to_string(),
            table::dash(Some(fold(group.members.iter().map(String::as_str)))),
            table::dash(group.loader.as_ref()),
            group.description.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = groups.iter().map(row).collect();
    table::grid(&["name", "priority", "count", "members", "loader", "description"], &rows, "no groups")
}
