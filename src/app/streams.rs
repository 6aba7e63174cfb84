//! Files on their way to machines: what the configuration says of them, who finds them, and who hears of them.

use std::sync::Arc;

use crate::api::boot::images::{PREFIXES, file};
use crate::app::config::Config;
use crate::app::routes::Parts;
use crate::engine::record::What;
use crate::model::{Snapshot, SnapshotCell};
use crate::transport::clock::now;
use crate::transport::http::front::{Files, threads};
use crate::transport::http::streams::{Ended, Streams};
use crate::transport::journal::{Entry, Journal};
use crate::transport::recorder::Recorder;
use crate::transport::tasks::Tasks;

/// The book of downloads, whose ends are written to the journal.
pub(crate) fn open(
    config: &Config,
    cell: &Arc<SnapshotCell>,
    journal: &Journal,
    recorder: &Recorder,
) -> Streams {
    let (cell, journal, recorder) = (Arc::clone(cell), journal.clone(), recorder.clone());
    let heard = move |ended: Ended| {
        let Ended { peer, label, sent, total, duration } = ended.clone();
        recorder.saw(Some(peer), What::File { label, sent, total, duration });
        if let Some(entry) = entry(&cell.load(), &ended) {
            journal.write(entry);
        }
    };
    Streams::new(&config.streams, Arc::new(heard))
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

/// What the journal is told: what nodes fetch belongs to their boots. Others are counted only, or whoever asks
/// for ranges of a file would push out what the journal remembers.
fn entry(snapshot: &Snapshot, ended: &Ended) -> Option<Entry> {
    let Ended { peer, label, sent, total, duration } = ended;
    let (who, seconds) = (snapshot.node_behind(*peer)?.name.as_str(), duration.0 / 1000);
    let told = if sent >= total {
        format!("{who} has {label}: {total} bytes in {seconds} s")
    } else {
        format!("{who} broke off {label} at {sent} of {total} bytes after {seconds} s")
    };
    let entry = Entry::new(now(), "boot", told).node(Some(who)).with("peer", peer).with("file", label);
    Some(entry.with("bytes", sent).with("of", total).with("ms", duration.0))
}
