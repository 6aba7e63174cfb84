//! Files that are made on the way to an image. What nobody keeps is removed, whatever way the work ends.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A folder of the caller's, and what was put there.
pub(crate) struct Scratch {
    folder: PathBuf,
    made: RefCell<Vec<PathBuf>>,
}

impl Scratch {
    pub(crate) fn new(folder: &Path) -> Scratch {
        Scratch { folder: folder.to_owned(), made: RefCell::new(Vec::new()) }
    }

    /// A new, empty file. `name` is ours, never a stranger's; dice keep names apart.
    pub(crate) fn create(&self, name: &str) -> anyhow::Result<(File, PathBuf)> {
        let path = self.folder.join(format!("{:016x}-{name}", fastrand::u64(..)));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("cannot create {}", path.display()))?;
        self.made.borrow_mut().push(path.clone());
        Ok((file, path))
    }

    /// Gives these files to the caller; one that was never made here is the user's own and stays anyway.
    pub(crate) fn keep<'a>(&self, kept: impl IntoIterator<Item = &'a Path>) {
        let kept: Vec<&Path> = kept.into_iter().collect();
        self.made.borrow_mut().retain(|made| !kept.contains(&made.as_path()));
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for path in self.made.borrow().iter() {
            // Already gone is as good.
            let _ = std::fs::remove_file(path);
        }
    }
}
