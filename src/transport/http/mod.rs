//! HTTP listeners and file streams.

pub mod file;
pub mod listener;
pub mod tls;

pub use file::{ImageRoot, OpenError, OpenedFile};
pub use listener::{Http, HttpCounters, Peer};
pub use tls::Certificates;
