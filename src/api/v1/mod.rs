//! The REST API of muster itself.
