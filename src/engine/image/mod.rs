//! Which bytes of a file a request gets.
