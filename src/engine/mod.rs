//! Floor 2: decisions, without I/O, clock or dice. Two shapes: an *oracle* is a function of its arguments
//! (`respond`, `decide`, `answer`, `plan`); an *automaton* is a struct with `on_*` (something happened),
//! `poll_*` (drain until None) and `next_deadline` (wake me then).
//!
//! What the world sends causes no `Err`: a refusal is a value with a name.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod attest;
pub mod audit;
pub mod boot;
pub mod cloud_init;
pub mod dhcp;
pub mod dns;
pub mod egress;
pub mod explain;
pub mod image;
pub mod inventory;
pub mod nbd;
pub mod record;
pub mod replay;
pub mod swarm;
pub mod tftp;
pub mod token;
pub mod trust;
