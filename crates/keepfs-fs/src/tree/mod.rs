//! The running truth about names and attributes, in memory over the database.

mod directories;
mod fold;
mod inodes;
mod log;
mod packs;
mod state;

pub(crate) use directories::ENTRIES_CACHED_MAX;
pub(crate) use fold::Fold;
pub(crate) use inodes::INODES_CACHED_MAX;
pub(crate) use log::OpLog;
pub(crate) use state::Tree;
