//! Which bytes of a file a request gets.

pub mod path;
pub mod serve;
