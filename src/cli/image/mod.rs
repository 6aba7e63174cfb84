//! Images on the command line.

mod upload;
