//! The calls of the API, by subject.

mod attributes;
mod files;
mod handles;
mod names;
mod ranges;
mod whole;
mod xattrs;

pub(crate) use handles::Handles;
pub use whole::{Status, SyncProgress};
