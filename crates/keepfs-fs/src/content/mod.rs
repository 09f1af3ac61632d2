//! The bytes of files: what is in chunks, what is not yet, and the way from one to the other.

mod contents;
mod dirty;
mod extents;
mod file;

pub(crate) use contents::{Contents, HELD_LEN_MAX};
pub(crate) use extents::Extent;
pub(crate) use file::{File, FileState, Flight};
