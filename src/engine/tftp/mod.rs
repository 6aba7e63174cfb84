//! TFTP: what a name means, and one transfer as an automaton.

pub mod catalog;
pub mod transfer;

pub use catalog::{Refusal, VirtualFile, Wanted};
pub use transfer::{Outcome, Segment, Terms, Transfer};
