//! HTTP listeners and file streams.

pub mod file;
pub mod front;
mod head;
pub mod listener;
mod relay;
mod send;
pub mod streams;
pub mod tls;

pub use file::{ImageRoot, OpenError, OpenedFile};
pub use front::Files;
pub use listener::{Http, HttpCounters, Peer, Secure};
pub use send::FileFound;
pub use streams::{StreamSettings, Streams};
pub use tls::Certificates;
