//! What all commands that change something share: the dry run, and what is said afterwards.

use axum::http::Method;
use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::v1::types::ReportBody;
use crate::cli::client::Client;
use crate::cli::{Global, inventory, table};

/// Whether to change anything.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct DryRun {
    /// Show what would change, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Sends changes to the daemon, and tells what a dry run would have done.
pub(crate) struct Writer<'a> {
    pub(crate) client: &'a Client,
    pub(crate) global: &'a Global,
    pub(crate) dry: DryRun,
}

impl Writer<'_> {
    /// Sends a change that is answered with what it made. None: it was a dry run and has been told.
    pub(crate) fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<Option<T>> {
        if !self.dry.dry_run {
            return self.client.json(method, path, body).map(Some);
        }
        self.told(&self.client.json(method, &dry(path), body)?).map(|()| None)
    }

    /// Sends a change that is answered with a report, and prints the report.
    pub(crate) fn report(&self, method: Method, path: &str, body: &impl Serialize) -> anyhow::Result<()> {
        match self.send::<ReportBody>(method, path, body)? {
            Some(report) => self.say(&report),
            None => Ok(()),
        }
    }

    /// The same without a body.
    pub(crate) fn report_bare(&self, method: Method, path: &str) -> anyhow::Result<()> {
        match self.bare::<ReportBody>(method, path)? {
            Some(report) => self.say(&report),
            None => Ok(()),
        }
    }

    /// Sends a request without a body that is answered with what it made.
    pub(crate) fn bare<T: DeserializeOwned>(&self, method: Method, path: &str) -> anyhow::Result<Option<T>> {
        if !self.dry.dry_run {
            return Ok(Some(serde_json::from_slice(&self.client.bare(method, path)?)?));
        }
        let report = self.client.bare(method, &dry(path))?;
        self.told(&serde_json::from_slice(&report)?).map(|()| None)
    }

    /// Removes what a path names.
    pub(crate) fn remove(&self, path: &str, what: &str) -> anyhow::Result<()> {
        if self.dry.dry_run {
            let report = self.client.bare(Method::DELETE, &dry(path))?;
            return self.told(&serde_json::from_slice(&report)?);
        }
        self.client.bare(Method::DELETE, path)?;
        if self.global.json {
            return table::json(&serde_json::json!({ "removed": [what] }));
        }
        table::print(&format!("{what} removed\n"))
    }

    fn told(&self, report: &ReportBody) -> anyhow::Result<()> {
        // An older daemon would have done it.
        anyhow::ensure!(report.dry_run, "the daemon does not know dry runs and has made the change");
        self.say(report)
    }

    fn say(&self, report: &ReportBody) -> anyhow::Result<()> {
        if self.global.json { table::json(report) } else { inventory::print(report) }
    }
}

fn dry(path: &str) -> String {
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}dry_run")
}
