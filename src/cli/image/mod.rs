//! Images from the user's side.

mod inspect;
mod source;

pub(crate) use crate::cli::image::inspect::Inspect;
pub(crate) use crate::cli::image::source::{Options, Prepared, open};
