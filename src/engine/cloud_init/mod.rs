//! What cloud-init on a node reads: meta-data, user-data, vendor-data and network-config, each made from the
//! snapshot when it is asked for. Group data, node instance data and site defaults are declared state, kept as
//! documents of the inventory; `entry` is their form.
//!
//! **Instance-id.** Derived from the site's name, the node's number and how often a new installation was asked
//! for: the same after a restart and on every head, and changed only on request. A removed and re-declared
//! node is another node.

pub mod calls;
pub mod check;
pub mod entry;
mod fields;
mod meta;
mod network;
pub mod preview;
pub mod secure;
pub mod template;
pub mod view;
pub mod yaml;

pub use entry::{Defaults, Encoding, File, GroupData, NodeData, Wrong};
pub use meta::{MetaData, Origin, Source};
pub use view::{Tree, View};

#[cfg(test)]
mod tests;
