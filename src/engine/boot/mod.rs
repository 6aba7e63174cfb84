//! What a machine is to boot, and by which rule.

pub mod loader;
pub mod url;
