//! Floor 5: assembly. Configuration, wiring, publishing of snapshots, start and stop.

pub mod config;
pub mod privileges;
pub mod publisher;
