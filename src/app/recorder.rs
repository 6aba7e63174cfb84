//! Wires the flight recorder: what it is made of, and who tells it what.

use std::sync::Arc;

use anyhow::Context as _;

use crate::api::context::Context;
use crate::app::config::Config;
use crate::app::tftp::is_near;
use crate::engine::record::{TftpFate, TftpSeen, What};
use crate::engine::tftp::Outcome;
use crate::model::SnapshotCell;
use crate::store::{Boots, Store};
use crate::transport::http::Streams;
use crate::transport::journal::Journal;
use crate::transport::logs::Logs;
use crate::transport::recorder::{Inbox, Parts as TaskParts, Recorder};
use crate::transport::tasks::Tasks;
use crate::transport::tftp::{Fate, TftpEvent};

/// What the recorder reaches.
pub(crate) struct Parts<'a> {
    pub(crate) cell: &'a Arc<SnapshotCell>,
    pub(crate) store: &'a Store,
    pub(crate) journal: &'a Journal,
    pub(crate) streams: &'a Streams,
}

/// Starts the recorder's task.
pub(crate) fn start(config: &Config, parts: Parts<'_>, boots: Boots, inbox: Inbox, tasks: &Tasks) {
    let Parts { cell, store, journal, streams } = parts;
    let streams = streams.clone();
    let parts = TaskParts {
        snapshot: Arc::clone(cell),
        store: store.clone(),
        journal: journal.clone(),
        keep: config.records,
        boots,
        busy: Arc::new(move || streams.peers()),
    };
    inbox.start(parts, tasks);
}

/// Opens the log ports.
///
/// # Errors
/// An address cannot be bound.
pub(crate) fn start_logs(config: &Config, context: &Context, tasks: &Tasks) -> anyhow::Result<()> {
    let snapshot = Arc::clone(&context.snapshot);
    let logs = Logs {
        listen: config.logs.clone(),
        allow: Arc::new(move |client| is_near(&snapshot.load().site, client)),
        recorder: context.recorder.clone(),
    };
    logs.start(tasks).context("set another address, or an empty list, in logs.listen")?;
    Ok(())
}

/// Tells of a request over TFTP that ended.
pub(crate) fn tftp(recorder: &Recorder, event: TftpEvent) {
    let TftpEvent { client, file, bytes, started: _, duration, fate, opened } = event;
    let fate = match fate {
        Fate::Ended(Outcome::Done | Outcome::Unconfirmed) => TftpFate::Done,
        Fate::Ended(Outcome::Probed) => TftpFate::Probed,
        Fate::Ended(Outcome::Aborted(code)) => TftpFate::Aborted(code),
        Fate::Ended(Outcome::Lost) => TftpFate::Lost { opened },
        Fate::NotFound => TftpFate::NotFound,
        Fate::Refused => TftpFate::Refused,
    };
    recorder.saw(Some(client.ip()), What::Tftp(TftpSeen { file, bytes, duration, fate }));
}
