//! The flight recorder: evidence of all that machines ask in, boot attempts with their verdicts out.
//!
//! An automaton without sockets: `on_evidence` when something was seen, `on_deadline` when `next_deadline` has
//! come, `poll_writes` for what the store should hear. Which attempt a packet belongs to is `begin.rs`, what it
//! says `attempt`, what is waited for `awaits.rs`, for how long `patience.rs`, and what a failure means `rules.rs`.

pub mod attempt;
mod awaits;
mod begin;
mod book;
pub mod evidence;
pub mod judge;
mod known;
mod patience;
pub mod rules;
pub mod siblings;
pub mod why;

pub use book::{Book, Keep, News, Write};
pub use evidence::{DhcpSeen, Evidence, ScriptSeen, Target, TftpFate, TftpSeen, What, Who};
pub use siblings::Siblings;

#[cfg(test)]
mod tests;
