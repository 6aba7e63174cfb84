//! DHCP on raw sockets.

pub mod handle;

pub use handle::{Command, Handle, NotRunning, Rogue};
