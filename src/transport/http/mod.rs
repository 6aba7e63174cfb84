//! HTTP listeners and file streams.
