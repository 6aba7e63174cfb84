//! What a machine is to boot, and by which rule.

pub mod bss;
pub mod decide;
pub mod loader;
pub mod program;
pub mod script;
pub mod url;

pub use decide::{Decision, Outcome, Request, Rule, decide, decide_for};
pub use program::{Program, program};
