//! What an image looks like once its layers lie upon one another: a tree in memory of which entry of which layer
//! stands at each path. Octets stay in the layers, nothing is followed, so nothing can lead outside.
//!
//! Layers are laid from the lowest to the highest, as the OCI image specification describes changesets. A whiteout
//! hides only what lies below its layer, wherever in the layer it stands; every node knows its layer for that.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};

use crate::base::limits::IMAGE_LINKS_FOLLOWED_MAX;
use crate::cli::image::source::archive::{Entry, Kind, Meta};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Bookkeeping of aufs that some old layers carry.
const AUFS: &[u8] = b".wh..wh.";

/// Where a file's octets are: the entry of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) layer: usize,
    pub(crate) index: u64,
}

#[derive(Debug)]
pub(crate) struct Node {
    layer: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Folder {
        meta: Meta,
        below: BTreeMap<Box<[u8]>, Node>,
    },
    /// Anything else. With the target if it is a symbolic link.
    Leaf {
        source: Source,
        target: Option<Box<[u8]>>,
    },
}

/// An image's root, and what is to be said about it.
#[derive(Debug)]
pub(crate) struct Tree {
    root: Node,
    /// Of folders that no layer describes.
    mtime: u64,
    /// The newest time in it, at least that.
    pub(crate) newest: u64,
    /// Entries with attributes that a root image cannot hold, and the first of them.
    pub(crate) left_out: Option<(u64, String)>,
}

/// What is to be written, parents before children; leaves in the order in which layers hold them.
pub(crate) type Folders<'a> = Vec<(Vec<u8>, &'a Meta)>;
pub(crate) type Leaves = Vec<(Source, Vec<u8>)>;

impl Tree {
    pub(crate) fn new(mtime: u64) -> Tree {
        Tree { root: folder(0, mtime), mtime, newest: mtime, left_out: None }
    }

    /// Lays one entry of a layer upon the tree. Layers come in order, entries in their layer's.
    ///
    /// # Errors
    /// Entries behind something that is no folder, hard links to nothing.
    pub(crate) fn lay(&mut self, layer: usize, entry: Entry) -> anyhow::Result<()> {
        let Entry { index, path, kind, meta, size: _, left_out } = entry;
        let (parent, name) = split(&path);
        if name.starts_with(WHITEOUT) {
            return self.hide(layer, parent, name);
        }
        self.newest = self.newest.max(meta.mtime);
        if left_out {
            let first = || String::from_utf8_lossy(&path).into_owned();
            self.left_out.get_or_insert_with(|| (0, first())).0 += 1;
        }
        let source = Source { layer, index };
        let what = match kind {
            Kind::Folder => return self.lay_folder(layer, &path, meta),
            Kind::Symlink(target) => What::Leaf { source, target: Some(target.into_boxed_slice()) },
            Kind::Hardlink(target) => self.linked(&target)?,
            Kind::File | Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Fifo => {
                What::Leaf { source, target: None }
            }
        };
        let below = self.descend(layer, parent)?;
        below.insert(name.into(), Node { layer, what });
        Ok(())
    }

    fn lay_folder(&mut self, layer: usize, path: &[u8], meta: Meta) -> anyhow::Result<()> {
        let (parent, name) = split(path);
        let node = if path.is_empty() {
            &mut self.root
        } else {
            let below = self.descend(layer, parent)?;
            below.entry(name.into()).or_insert_with(|| folder(layer, 0))
        };
        node.layer = layer;
        match &mut node.what {
            What::Folder { meta: own, below: _ } => *own = meta,
            leaf @ What::Leaf { .. } => *leaf = What::Folder { meta, below: BTreeMap::new() },
        }
        Ok(())
    }

    /// The same file under one more name. Its octets stay where they are, so that it keeps them if a higher layer
    /// replaces the first name.
    fn linked(&self, target: &[u8]) -> anyhow::Result<What> {
        match self.at(target).map(|node| &node.what) {
            Some(What::Leaf { source, target }) => Ok(What::Leaf { source: *source, target: target.clone() }),
            Some(What::Folder { .. }) => {
                bail!("a hard link to {:?}, which is a folder", String::from_utf8_lossy(target))
            }
            None => bail!("a hard link to {:?}, which is not in the image", String::from_utf8_lossy(target)),
        }
    }

    /// What a folder holds; missing ones are made, as container engines do.
    fn descend(&mut self, layer: usize, path: &[u8]) -> anyhow::Result<&mut BTreeMap<Box<[u8]>, Node>> {
        let mtime = self.mtime;
        let mut here = &mut self.root;
        let mut done = Vec::new();
        for name in names(path) {
            let below = here.below_mut().with_context(|| behind(&done))?;
            here = below.entry(name.into()).or_insert_with(|| folder(layer, mtime));
            done.push(name);
        }
        here.below_mut().with_context(|| behind(&done))
    }

    fn hide(&mut self, layer: usize, parent: &[u8], name: &[u8]) -> anyhow::Result<()> {
        let mut here = &mut self.root;
        for name in names(parent) {
            let Some(next) = here.below_mut().and_then(|below| below.get_mut(name)) else {
                return Ok(());
            };
            here = next;
        }
        let Some(below) = here.below_mut() else { return Ok(()) };
        if name == OPAQUE {
            below.retain(|_, node| node.survives(layer));
            return Ok(());
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        let hidden = &name[WHITEOUT.len()..];
        ensure!(!matches!(hidden, b"" | b"." | b".."), "a whiteout of nothing");
        if below.get_mut(hidden).is_some_and(|node| !node.survives(layer)) {
            below.remove(hidden);
        }
        Ok(())
    }

    /// What stands at a path; links are not followed.
    fn at(&self, path: &[u8]) -> Option<&Node> {
        names(path).try_fold(&self.root, |here, name| here.below()?.get(name))
    }

    /// What a path leads to if links are followed within the image, and where that is.
    pub(crate) fn resolve(&self, path: &[u8]) -> Option<(Vec<u8>, &Node)> {
        let mut ahead: Vec<Box<[u8]>> = names(path).rev().map(Into::into).collect();
        let mut done: Vec<Box<[u8]>> = Vec::new();
        let mut followed = 0;
        while let Some(name) = ahead.pop() {
            if &*name == b".." {
                done.pop();
                continue;
            }
            done.push(name);
            if let What::Leaf { target: Some(target), .. } = &self.at(&done.join(&b'/'))?.what {
                followed += 1;
                if followed > IMAGE_LINKS_FOLLOWED_MAX {
                    return None;
                }
                done.pop();
                if target.starts_with(b"/") {
                    done.clear();
                }
                ahead.extend(names(target).filter(|name| *name != b".").rev().map(Into::into));
            }
        }
        let path = done.join(&b'/');
        self.at(&path).map(|node| (path, node))
    }

    /// Where the octets of a path are, and its own name.
    pub(crate) fn file(&self, path: &[u8]) -> Option<(Vec<u8>, Source)> {
        match self.resolve(path) {
            Some((path, Node { what: What::Leaf { source, target: None }, .. })) => Some((path, *source)),
            _ => None,
        }
    }

    /// The names in a folder, links followed; none if it is no folder.
    pub(crate) fn list(&self, path: &[u8]) -> Vec<&[u8]> {
        let below = self.resolve(path).and_then(|(_, node)| node.below());
        below.map(|below| below.keys().map(|name| &**name).collect()).unwrap_or_default()
    }

    pub(crate) fn is_folder(&self, path: &[u8]) -> bool {
        self.resolve(path).is_some_and(|(_, node)| node.below().is_some())
    }

    /// Permissions of the root itself.
    pub(crate) fn mode(&self) -> u32 {
        match &self.root.what {
            What::Folder { meta, .. } => meta.mode,
            // Nothing is laid at the root but folders.
            What::Leaf { .. } => 0o755,
        }
    }

    /// Everything that shows.
    pub(crate) fn all(&self) -> (Folders<'_>, Leaves) {
        let (mut folders, mut leaves) = (Vec::new(), Vec::new());
        let mut pending = vec![(Vec::new(), &self.root)];
        while let Some((path, node)) = pending.pop() {
            match &node.what {
                What::Leaf { source, .. } => leaves.push((*source, path)),
                What::Folder { meta, below } => {
                    let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                    pending.extend(below.iter().map(|(name, node)| ([&path, slash, name].concat(), node)));
                    folders.push((path, meta));
                }
            }
        }
        folders.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        leaves.sort_unstable();
        (folders, leaves)
    }
}

impl Node {
    fn below(&self) -> Option<&BTreeMap<Box<[u8]>, Node>> {
        match &self.what {
            What::Folder { below, .. } => Some(below),
            What::Leaf { .. } => None,
        }
    }

    fn below_mut(&mut self) -> Option<&mut BTreeMap<Box<[u8]>, Node>> {
        match &mut self.what {
            What::Folder { below, .. } => Some(below),
            What::Leaf { .. } => None,
        }
    }

    /// Removes what lower layers brought; false: nothing is left. As deep as paths may be.
    fn survives(&mut self, layer: usize) -> bool {
        let own = self.layer == layer;
        match &mut self.what {
            What::Folder { below, .. } => {
                below.retain(|_, node| node.survives(layer));
                own || !below.is_empty()
            }
            What::Leaf { .. } => own,
        }
    }
}

fn folder(layer: usize, mtime: u64) -> Node {
    let meta = Meta { mode: 0o755, mtime, ..Meta::default() };
    Node { layer, what: What::Folder { meta, below: BTreeMap::new() } }
}

fn behind(done: &[&[u8]]) -> String {
    format!("it lies behind {:?}, which is no folder", String::from_utf8_lossy(&done.join(&b'/')))
}

fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|octet| *octet == b'/').filter(|name| !name.is_empty())
}

/// A path's folder and its own name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|octet| *octet == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}
