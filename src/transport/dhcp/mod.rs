//! DHCP on raw sockets.

mod counters;
pub(crate) mod frame;
pub mod handle;
mod ledger;
mod limiter;
mod links;
mod probes;
pub(crate) mod raw;
mod shadow;
mod task;
mod witness;

pub use counters::DhcpCounters;
pub use handle::{Booting, Command, Handle, NotRunning, Rogue};
pub use task::{Dhcp, DhcpError};
