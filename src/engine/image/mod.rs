//! Images: what their files are called, what their manifests say, and which bytes of a file a request gets.

pub mod diff;
pub mod find;
pub mod garbage;
pub mod gate;
pub mod manifest;
pub mod names;
pub mod pace;
pub mod path;
pub mod serve;
pub mod sniff;
