//! What a node that boots was given, and what its firmware and its kernel measure of that.

use zeroize::Zeroizing;

use crate::api::context::Context;
use crate::base::Digest;
use crate::base::limits::COMMAND_LINE_BYTES_MAX;
use crate::engine::boot::script::{Reach, granted, kernel_line};
use crate::engine::boot::{Decision, Outcome, Program, Request};
use crate::engine::image::find::{Found, find};
use crate::engine::image::path::clean;
use crate::model::Site;
use crate::model::boot_session::Given;
use crate::transport::http::OpenedFile;

/// What a script boots, before the grant is added to it.
pub(crate) fn given(decision: &Decision, request: &Request, site: &Site, reach: Reach) -> Given {
    let Outcome::Boot(Program::Linux { kernel, initrds, .. }) = &decision.outcome else {
        return Given::default();
    };
    // The line counts the grant's archive as well, whatever its name.
    let whole = granted(decision.clone(), String::new());
    let line = kernel_line(&whole, request, site, reach).filter(|line| line.len() <= COMMAND_LINE_BYTES_MAX);
    Given {
        command_line: line.unwrap_or_default(),
        kernel: kernel.clone(),
        initrds: initrds.clone(),
        ..Given::default()
    }
}

/// The digests of a session's kernel, and of its initrds with this archive behind them. None: a file is not ours or
/// cannot be read, and nobody can tell what the node should measure.
pub(crate) async fn measured(
    context: &Context,
    given: &Given,
    archive: &Zeroizing<Vec<u8>>,
) -> (Option<Digest>, Option<Digest>) {
    let measures = &context.trust.dossiers.measures;
    let names: Vec<&String> = std::iter::once(&given.kernel).chain(&given.initrds).collect();
    let own = (context.clone(), names.into_iter().cloned().collect::<Vec<_>>());
    let opened = tokio::task::spawn_blocking(move || {
        own.1.iter().map(|name| open(&own.0, name)).collect::<Option<Vec<OpenedFile>>>()
    });
    let Ok(Some(files)) = opened.await else { return (None, None) };
    let mut files = files.into_iter();
    let Some(kernel) = files.next() else { return (None, None) };
    let kernel = measures.kernel(kernel).await;
    let initrds = measures.initrds(files.collect(), archive).await;
    let told = |error: &std::io::Error| tracing::warn!(%error, "what a node boots cannot be measured");
    (kernel.inspect_err(told).ok().flatten(), initrds.inspect_err(told).ok())
}

/// A file that a script names, if it is ours.
fn open(context: &Context, name: &str) -> Option<OpenedFile> {
    if name.contains("://") || name.starts_with("${") {
        return None;
    }
    let path = clean(name.trim_start_matches('/'))?;
    match find(&context.snapshot.load().inventory, &path) {
        Found::File { file, .. } => context.blobs.file(&file.digest).ok(),
        Found::NotOurs => context.trust.dossiers.measures.images.as_ref()?.file(&path).ok(),
        Found::Manifest(_) | Found::Signature(_) | Found::Missing(_) => None,
    }
}
