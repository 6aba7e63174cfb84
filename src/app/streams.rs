//! Files on their way to machines: what the configuration says of them, who finds them, and who hears of them.

use std::sync::Arc;

use crate::api::boot::images::{PREFIXES, file};
use crate::app::config::Config;
use crate::app::routes::Parts;
use crate::model::snapshot::Machine;
use crate::model::{Snapshot, SnapshotCell};
use crate::transport::clock::now;
use crate::transport::http::front::{Files, threads};
use crate::transport::http::streams::{Ended, Streams};
use crate::transport::journal::{Entry, Journal};
use crate::transport::tasks::Tasks;

/// The book of downloads, whose ends are written to the journal.
pub(crate) fn open(config: &Config, cell: &Arc<SnapshotCell>, journal: &Journal) -> Streams {
    let (cell, journal) = (Arc::clone(cell), journal.clone());
    Streams::new(&config.streams, Arc::new(move |ended| journal.write(entry(&cell.load(), &ended))))
}

/// What the front of plain listeners needs.
///
/// # Errors
/// The system has no more threads to give.
pub(crate) fn files(parts: &Parts, tasks: &Tasks) -> std::io::Result<Files> {
    let (machines, streams) = (parts.machines(), parts.context.streams.clone());
    let find = Arc::new(move |path: &str, _| file(&machines, path));
    Ok(Files { prefixes: PREFIXES, find, streams, runtime: threads(tasks)? })
}

fn entry(snapshot: &Snapshot, ended: &Ended) -> Entry {
    let Ended { peer, label, sent, total, duration } = ended;
    let node = match peer {
        std::net::IpAddr::V4(address) => snapshot.by_address(*address),
        std::net::IpAddr::V6(_) => None,
    };
    let node = match node {
        Some(Machine::Node { node, .. }) => Some(node.name.as_str()),
        Some(Machine::Bmc(_)) | None => None,
    };
    let who = node.map_or_else(|| peer.to_string(), str::to_owned);
    let seconds = duration.0 / 1000;
    let told = if sent >= total {
        format!("{who} has {label}: {total} bytes in {seconds} s")
    } else {
        format!("{who} broke off {label} at {sent} of {total} bytes after {seconds} s")
    };
    let entry = Entry::new(now(), "boot", told).node(node).with("peer", peer).with("file", label);
    entry.with("bytes", sent).with("of", total).with("ms", duration.0)
}
