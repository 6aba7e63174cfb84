//! `muster bmc`.

use axum::http::Method;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::api::v1::types::BmcBody;
use crate::cli::client::{Client, escape};
use crate::cli::watch::Watch;
use crate::cli::write::{DryRun, Writer};
use crate::cli::{Global, edit, table};

/// List, show, change and remove BMCs, the controllers by which nodes are switched on
#[derive(Debug, Subcommand)]
pub(crate) enum Bmc {
    /// List BMCs
    #[command(after_help = "Example:\n  muster bmc list")]
    List {
        #[command(flatten)]
        watch: Watch,
    },
    /// Show a BMC
    #[command(after_help = "Example:\n  muster bmc show nid001-bmc")]
    Show {
        name: String,
        #[command(flatten)]
        watch: Watch,
    },
    Set(Set),
    /// Change all of a BMC in an editor (VISUAL, EDITOR, or vi)
    #[command(after_help = "Example:\n  muster bmc edit nid001-bmc")]
    Edit {
        name: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Remove a BMC that no node names
    #[command(after_help = "Example:\n  muster bmc rm nid001-bmc")]
    Rm {
        name: String,
        #[command(flatten)]
        dry: DryRun,
    },
}

/// Declare or change a BMC; an empty value clears a field
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  muster bmc set nid001-bmc --mac 52:54:00:b0:00:01 --ip 172.16.0.101
  muster node set nid001 --bmc nid001-bmc            whose it is")]
pub(crate) struct Set {
    name: String,
    #[arg(long)]
    mac: Option<String>,
    #[arg(long)]
    ip: Option<String>,
    /// Place in the racks, such as x1000c0s0b0
    #[arg(long)]
    xname: Option<String>,
    /// Name by which the site's own DNS knows it
    #[arg(long)]
    fqdn: Option<String>,
    #[command(flatten)]
    dry: DryRun,
}

impl Bmc {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let writer = |dry| Writer { client, global, dry };
        match self {
            Bmc::List { watch } => watch.show(|| {
                let bmcs: Vec<BmcBody> = client.get("/bmcs")?;
                if global.json { table::json_text(&bmcs) } else { Ok(list(&bmcs)) }
            }),
            Bmc::Show { name, watch } => watch.show(|| {
                let bmc: BmcBody = client.get(&path(&name))?;
                if global.json { table::json_text(&bmc) } else { Ok(list(&[bmc])) }
            }),
            Bmc::Set(set) => {
                let path = path(&set.name);
                // A PUT takes the whole of it: what was not said stays.
                let old: Option<Value> = client.get_if_there(&path)?;
                let bmc: Option<BmcBody> = writer(set.dry).send(Method::PUT, &path, &set.body(old))?;
                match bmc {
                    Some(bmc) if global.json => table::json(&bmc),
                    Some(bmc) => table::print(&list(&[bmc])),
                    None => Ok(()),
                }
            }
            Bmc::Edit { name, dry } => edit::edit(&writer(dry), &path(&name)),
            Bmc::Rm { name, dry } => writer(dry).remove(&path(&name), &format!("bmc {name}")),
        }
    }
}

impl Set {
    fn body(&self, old: Option<Value>) -> Value {
        let mut body = match old {
            Some(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        body.insert("name".to_owned(), json!(self.name));
        for (key, value) in
            [("mac", &self.mac), ("address", &self.ip), ("xname", &self.xname), ("fqdn", &self.fqdn)]
        {
            if let Some(text) = value {
                body.insert(key.to_owned(), if text.is_empty() { Value::Null } else { json!(text) });
            }
        }
        Value::Object(body)
    }
}

fn path(name: &str) -> String {
    format!("/bmcs/{}", escape(name))
}

fn list(bmcs: &[BmcBody]) -> String {
    let row = |bmc: &BmcBody| {
        let BmcBody { name, xname, mac, address, fqdn, annotations: _ } = bmc.clone();
        vec![name, table::dash(mac), table::dash(address), table::dash(xname), table::dash(fqdn)]
    };
    let rows: Vec<Vec<String>> = bmcs.iter().map(row).collect();
    table::grid(&["name", "mac", "address", "xname", "fqdn"], &rows, "no BMCs")
}
