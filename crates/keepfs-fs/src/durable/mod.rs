//! How a change becomes durable: into chunks, into the journal, into the database, onto the store.

mod batch;
mod checkpoint;
mod commit;
mod cut;
mod drain;
pub(crate) mod load;
mod load_tree;
pub(crate) mod others;
mod publish;
pub(crate) mod recover;
mod runs;
mod tree_objects;
mod window;
mod work;

pub(crate) use commit::Committer;
pub(crate) use cut::Cuts;
pub(crate) use drain::{BULK_RUN_LEN, HowMuch};
pub(crate) use publish::Outbox;
pub use recover::RecoveryReport;
pub(crate) use work::Work;
