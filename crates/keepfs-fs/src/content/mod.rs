//! The bytes of files: what is in chunks, what is not yet, and the way from one to the other.

mod dirty;
mod extents;

pub(crate) use dirty::Dirty;
pub(crate) use extents::{Extent, Extents, Run};
