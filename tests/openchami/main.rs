//! The APIs of the replaced stack, held to what its clients and services say to each other.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bss;
mod captures;
mod cloud_init;
#[path = "../head/mod.rs"]
mod head;
mod smd_core;
mod smd_discover;
mod smd_rest;
