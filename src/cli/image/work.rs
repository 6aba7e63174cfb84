//! A folder for what is unpacked on the way, gone at the end.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

/// Where to unpack.
#[derive(Clone, Debug, Args)]
pub(crate) struct WorkDir {
    /// Where to put files meanwhile; the image's size is needed
    #[arg(long, value_name = "DIR", default_value = "/var/tmp", env = "TMPDIR", hide_env_values = true)]
    work_dir: PathBuf,
}

/// A folder of our own.
pub(crate) struct Work(PathBuf);

impl WorkDir {
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn open(&self) -> anyhow::Result<Work> {
        let path = self.work_dir.join(format!("muster-image-{:016x}", fastrand::u64(..)));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Work(path))
    }
}

impl Work {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What cannot be removed is in a place for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
