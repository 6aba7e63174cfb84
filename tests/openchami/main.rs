//! The APIs of the replaced stack, held to what its clients and services say to each other.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../head/mod.rs"]
mod head;

mod bss;
