//! `muster import --from`: takes over a live OpenCHAMI site. The inventory goes through the same import as a file,
//! all of it or nothing; boot parameters and cloud-init documents are sent to this head's own BSS and cloud-init
//! interfaces, which take them as the old ones did. Doing it again changes nothing.

mod convert;
mod fetch;
mod send;
mod site;

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::api::v1::types::ReportBody;
use crate::cli::client::Client;
use crate::cli::foreign::convert::convert;
use crate::cli::foreign::fetch::{Access, Source};
use crate::cli::foreign::send::Letters;
use crate::cli::foreign::site::{Places, Site};
use crate::cli::{Global, inventory, table};

/// Where an old site is, and how to be let in.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "From a live OpenCHAMI site")]
pub(crate) struct From {
    /// Its gateway, such as https://demo.openchami.cluster:8443
    #[arg(long, value_name = "URL", conflicts_with = "file")]
    pub(crate) from: Option<String>,
    /// SMD by itself, such as http://old-head:27779
    #[arg(long, value_name = "URL", conflicts_with = "file")]
    pub(crate) from_smd: Option<String>,
    /// BSS by itself, such as http://old-head:27778
    #[arg(long, value_name = "URL", conflicts_with = "file")]
    pub(crate) from_bss: Option<String>,
    /// cloud-init by itself, such as http://old-head:27777
    #[arg(long, value_name = "URL", conflicts_with = "file")]
    pub(crate) from_cloud_init: Option<String>,
    /// The site's access token
    #[arg(long, value_name = "TOKEN", env = "MUSTER_FROM_TOKEN", hide_env_values = true)]
    pub(crate) from_token: Option<String>,
    /// Root certificate of the site (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) from_cacert: Option<PathBuf>,
    /// Do not check the site's certificate
    #[arg(long, conflicts_with = "from_cacert")]
    pub(crate) from_insecure: bool,
}

impl From {
    pub(crate) fn run(self, dry_run: bool, client: &Client, global: &Global) -> anyhow::Result<()> {
        let places = Places::new(&self)?;
        let access =
            Access { token: self.from_token, cacert: self.from_cacert, insecure: self.from_insecure };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let source = Source::new(&access)?;
        let mut site = runtime.block_on(Site::read(&source, &places))?;
        let converted = convert(&site.inventory);
        site.notes.extend(converted.notes.iter().cloned());
        let letters = Letters::of(&site);
        if !global.json {
            let found = format!(
                "found {} nodes, {} BMCs, {} interfaces, {} groups; {}\n",
                converted.nodes,
                converted.bmcs,
                converted.interfaces,
                converted.groups,
                letters.counted()
            );
            table::print(&found)?;
            site.notes.iter().try_for_each(|note| table::print(&format!("note: {note}\n")))?;
        }
        let text = converted.document.to_string();
        // Before anything is written: the report of what would be, with every problem of it.
        let preview: ReportBody = client.post_text("/inventory/import?dry_run", text.clone())?;
        if dry_run {
            return if global.json {
                table::json(&json!({ "report": preview, "would_send": letters.sizes(), "notes": site.notes }))
            } else {
                inventory::print(&preview)
            };
        }
        let report: ReportBody = client.post_text("/inventory/import", text)?;
        let sent = letters.send(client)?;
        if global.json {
            return table::json(&json!({ "report": report, "sent": sent, "notes": site.notes }));
        }
        inventory::print(&report)?;
        table::print(&format!("sent {}\n", letters.counted()))
    }
}
