#![doc = include_str!("ARCHITECTURE.md")]

pub mod api;
pub mod app;
pub mod base;
pub mod cli;
pub mod engine;
pub mod model;
pub mod store;
pub mod transport;
pub mod wire;
