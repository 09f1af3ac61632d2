//! A store in a directory of a file system.

mod descriptors;
mod listing;
mod place;
mod root;
mod shards;
mod staging;
mod store;

pub use store::{FileOptions, FileStore};
