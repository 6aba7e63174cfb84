//! DHCP on raw sockets.

mod counters;
mod frame;
pub mod handle;
mod ledger;
mod limiter;
mod links;
mod probes;
mod raw;
mod shadow;
mod task;
mod witness;

pub use counters::DhcpCounters;
pub use handle::{Command, Handle, NotRunning, Rogue};
pub use task::{Dhcp, DhcpError};
