//! Floor 5: assembly. Configuration, wiring, publishing of snapshots, start and stop.

pub(crate) mod acme;
pub mod config;
pub mod config_file;
pub mod daemon;
pub mod door;
pub mod https;
pub mod journalist;
pub(crate) mod nbd;
pub mod privileges;
pub mod publisher;
pub(crate) mod recorder;
pub mod routes;
mod streams;
mod tftp;
mod trust;
