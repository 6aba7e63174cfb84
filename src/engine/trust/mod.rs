//! Trust in nodes: what a node may have at the level that it reached.

pub mod choose;
