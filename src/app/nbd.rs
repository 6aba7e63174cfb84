//! Root images over NBD: which names lead to what, and what the journal hears of their use.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::api::context::Context;
use crate::app::config::Config;
use crate::app::tftp::is_near;
use crate::base::Digest;
use crate::base::limits::NBD_NAMES_MAX;
use crate::engine::image::find::{Found, Kind, find};
use crate::engine::image::names;
use crate::engine::image::path::clean;
use crate::engine::record::What;
use crate::model::Snapshot;
use crate::transport::clock::now;
use crate::transport::http::{ImageRoot, OpenError};
use crate::transport::journal::Entry;
use crate::transport::nbd::{Ended, Export, Held, Nbd, threads};
use crate::transport::tasks::Tasks;

/// Folders within folders that are looked into for the list of names.
const DEPTH_MAX: usize = 4;

/// Serves what is configured; without listeners nothing is started, no thread either.
///
/// # Errors
/// A listener or the image root cannot be opened, or the system has no more threads to give.
pub(crate) fn start(config: &Config, context: &Context, tasks: &Tasks) -> anyhow::Result<()> {
    if config.nbd.is_empty() {
        return Ok(());
    }
    let root = config.image_root()?;
    let (listed, allowed) = (root.clone(), Arc::clone(&context.snapshot));
    let (images, tagged) = (context.clone(), context.clone());
    let (told, journal) = (Arc::clone(&context.snapshot), context.journal.clone());
    let recorder = context.recorder.clone();
    let nbd = Nbd {
        listen: config.nbd.clone(),
        open: Arc::new(move |name, _| of_image(&images, name).or_else(|| open(root.as_ref()?, name))),
        names: Arc::new(move |_| {
            let tags = tagged.snapshot.load().inventory.tags.keys().map(ToString::to_string).collect();
            [tags, files(listed.as_ref())].concat()
        }),
        allow: Arc::new(move |client| is_near(&allowed.load().site, client)),
        on_end: Arc::new(move |ended| {
            recorder.saw(Some(ended.client.ip()), seen(&ended));
            journal.write(entry(&told.load(), &ended));
        }),
        runtime: threads(tasks).context("there are no threads to serve NBD on")?,
    };
    nbd.start(tasks).context("set another address, or an empty list, in nbd.listen")?;
    Ok(())
}

/// The root of an image: by its content's digest, as boot scripts name it, or by the image's tag.
fn of_image(context: &Context, name: &str) -> Option<Export> {
    let snapshot = context.snapshot.load();
    let inventory = &snapshot.inventory;
    let (image, file) = match name.parse::<Digest>() {
        Ok(digest) => match find(inventory, &names::by_content(&digest, "root")) {
            Found::File { image, file, kind: Kind::Root } => (image, file),
            Found::File { .. }
            | Found::Manifest(_)
            | Found::Signature(_)
            | Found::Missing(_)
            | Found::NotOurs => return None,
        },
        Err(_) => {
            let image = Arc::clone(inventory.image(&name.parse().ok()?)?);
            let file = image.root?.file;
            (image, file)
        }
    };
    match context.blobs.file(&file.digest) {
        Ok(opened) => Some(Export {
            size: opened.size,
            file: opened.into_std(),
            label: format!("{} root", image.name),
            // As long as a machine has its root on it, it is no garbage.
            held: Some(Held(Box::new(context.images.mount(file.digest)))),
        }),
        Err(error) => {
            tracing::error!(image = %image.key(), %error, "the root of an image cannot be served");
            None
        }
    }
}

/// A file of the image root by its path.
fn open(root: &ImageRoot, name: &str) -> Option<Export> {
    let path = clean(name)?;
    match root.file(&path) {
        Ok(file) => Some(Export { size: file.size, file: file.into_std(), label: path, held: None }),
        Err(OpenError::NotFound | OpenError::NotAFile) => None,
        Err(OpenError::Io(error)) => {
            tracing::warn!(path, %error, "an image file cannot be read");
            None
        }
    }
}

fn files(root: Option<&ImageRoot>) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(root) = root {
        walk(&root.path(), "", DEPTH_MAX, &mut names);
    }
    names.sort();
    names
}

/// Files below a folder. Links are left out: where they lead is only known when they are opened.
fn walk(folder: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.take(NBD_NAMES_MAX).flatten() {
        let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else { continue };
        let path = format!("{prefix}{name}");
        if names.len() >= NBD_NAMES_MAX || name.starts_with('.') {
            continue;
        } else if kind.is_file() {
            names.push(path);
        } else if kind.is_dir() && depth > 0 {
            walk(&entry.path(), &format!("{path}/"), depth.saturating_sub(1), names);
        }
    }
}

/// A root that was used block by block is whole for whoever took leave of it.
fn seen(ended: &Ended) -> What {
    let total = if ended.parted { ended.touched } else { ended.size };
    let label = ended.label.as_str().into();
    What::File { label, sent: ended.touched, total, duration: ended.duration }
}

fn entry(snapshot: &Snapshot, ended: &Ended) -> Entry {
    let address = ended.client.ip().to_canonical();
    let node = snapshot.node_behind(address).map(|node| node.name.as_str());
    let who = node.map_or_else(|| address.to_string(), str::to_owned);
    let Ended { label, size, read, touched, requests, duration, parted, .. } = ended;
    let part = u128::from(*touched).saturating_mul(100) / u128::from(*size).max(1);
    let end = if *parted { "used" } else { "lost its connection to" };
    let seconds = duration.0 / 1000;
    let text = format!("{who} {end} {label}: touched {part} % of {size} bytes in {seconds} s");
    let entry = Entry::new(now(), "boot", text).node(node).with("peer", address).with("file", label);
    let entry = entry.with("bytes", read).with("touched", touched).with("of", size);
    entry.with("requests", requests).with("ms", duration.0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::app::nbd::{files, open};
    use crate::base::limits::NBD_NAMES_MAX;
    use crate::transport::http::ImageRoot;

    #[test]
    fn exports_are_the_files_below_the_root_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("compute/1")).unwrap();
        fs::write(root.join("compute/1/rootfs.squashfs"), "content").unwrap();
        fs::write(root.join(".hidden"), "x").unwrap();
        fs::write(folder.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
        let root = ImageRoot::open(&root).unwrap();
        assert_eq!(files(Some(&root)), ["compute/1/rootfs.squashfs"]);
        let export = open(&root, "compute/1/rootfs.squashfs").unwrap();
        assert_eq!((export.size, export.label.as_str()), (7, "compute/1/rootfs.squashfs"));
        for name in ["", "/", "compute", "absent", "../secret", "link", "compute/../../secret", "a\0b"] {
            assert!(open(&root, name).is_none(), "{name:?}");
        }
        assert!(files(None).is_empty());
    }

    #[test]
    fn the_list_of_names_ends() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..NBD_NAMES_MAX + 5 {
            fs::write(folder.path().join(number.to_string()), "").unwrap();
        }
        let root = ImageRoot::open(folder.path()).unwrap();
        assert_eq!(files(Some(&root)).len(), NBD_NAMES_MAX);
    }
}
