//! The local database: the tree as of one position of the journal, on sealed pages.
//!
//! It owns the tables and their rows. It is written by one transaction a checkpoint and read by lookups that
//! miss memory; it can be deleted at any time and is then rebuilt from the store and the journal.

mod changes;
mod progress;
mod records;
mod tables;

pub(crate) use changes::Changes;
pub(crate) use progress::Progress;
pub(crate) use tables::{Database, Snapshot};
