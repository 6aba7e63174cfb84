//! What the head knows of itself and no snapshot holds: where it listens, where its data lies, what loaders it
//! has. Fixed at start, but for the loaders, which SIGHUP reads again.

use std::path::PathBuf;
use std::sync::Arc;

use crate::transport::loaders::Loaders;

/// A listener that was opened.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Listener {
    /// `http`, `https`, `tftp`, `dns`, `unix`.
    pub protocol: &'static str,
    /// Address and port, or the socket's path.
    pub address: String,
}

/// What the head knows of itself.
#[derive(Default)]
pub struct About {
    pub listeners: Vec<Listener>,
    /// Where everything lies that must be backed up; none where the store is in memory.
    pub data_dir: Option<PathBuf>,
    /// None where nothing is served that would load them.
    pub loaders: Option<Arc<Loaders>>,
}
