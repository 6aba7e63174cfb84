//! What attackers try, by the numbers of the catalogue in README.md beside this file: what the tests of the rooms
//! do not show already. In one process where that shows it, else against the real daemon.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod boot;
mod daemon;
#[path = "../head/mod.rs"]
mod head;
mod leaks;
#[path = "../netns/mod.rs"]
mod netns;
mod nodes;
mod paths;
mod people;
mod tokens;
