//! What all calls share: the tree, the contents, the ways to disk and store, and the order of locks.
//!
//! Locks are taken in this order and released before any wait for a store:
//! order of the journal → drains → gate → a file → the tree → maps inside.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use keepfs_format::env::Env;
use keepfs_format::ids::MachineTag;
use keepfs_format::keys::NamespaceKeys;
use keepfs_format::op::Op;
use keepfs_store::Store;
use keepfs_vault::{ChunkSpace, StagingPlace};
use parking_lot::{Mutex, RwLock};

use crate::api::Handles;
use crate::content::Contents;
use crate::damage::Damage;
use crate::database::Database;
use crate::durable::{Committer, Cuts, Outbox, RecoveryReport, Work};
use crate::error::{FsError, Result};
use crate::home::Unlocked;
use crate::journal::Journal;
use crate::options::Options;
use crate::space_watch::SpaceWatch;
use crate::tree::Tree;

/// One open namespace. Frontends hold it through [`crate::Fs`].
pub(crate) struct Core {
    pub options: Options,
    pub env: Arc<dyn Env>,
    pub store: Arc<dyn Store>,
    pub unlocked: Arc<Unlocked>,
    pub keys: Arc<NamespaceKeys>,
    pub machine: MachineTag,
    pub tree: Mutex<Tree>,
    pub contents: Contents,
    pub space: Arc<ChunkSpace>,
    /// Where packs grow, if not in the store.
    pub staging: Option<StagingPlace>,
    pub database: Arc<Database>,
    pub journal: Journal,
    pub handles: Handles,
    /// Held shared by every call that changes something, for as long as the change takes; held alone for the
    /// moment that a commit or a cut takes along.
    pub gate: RwLock<()>,
    /// Held shared by drains; held alone where bytes on their way into chunks must have arrived.
    pub drain_gate: RwLock<()>,
    /// Entries reach the journal in the order in which they were gathered.
    pub journal_order: Mutex<()>,
    /// Gathered entries that the journal does not have yet.
    pub unwritten: Mutex<VecDeque<Vec<u8>>>,
    pub committer: Committer,
    pub cuts: Cuts,
    pub outbox: Outbox,
    /// Highest segment in the database.
    pub database_segment: AtomicU64,
    pub damage: Damage,
    pub free_space: SpaceWatch,
    pub recovered: RecoveryReport,
    pub work: Work,
    /// Why writing stopped, once it has.
    pub poisoned: OnceLock<String>,
}

impl Core {
    /// Applies operations that were checked against `tree` and puts them into the log. A failure in the
    /// middle leaves a tree that nobody may build on: writing stops.
    pub(crate) fn perform(&self, tree: &mut Tree, now: keepfs_format::ids::Time, ops: Vec<Op>) -> Result<()> {
        tree.perform(&self.contents, now, ops).map_err(|error| match error {
            FsError::Format(_) => error,
            _ => self.poison(error),
        })
    }

    /// Lets the contents go of files that lost their last name. Called after the tree's lock is released.
    pub(crate) fn let_go(&self, dropped: Vec<(keepfs_format::ids::Ino, bool)>) {
        for (ino, open) in dropped {
            self.contents.unlink(ino, open);
        }
    }
}
