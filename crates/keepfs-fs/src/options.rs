//! How a namespace is opened.

use std::path::PathBuf;
use std::time::Duration;

use keepfs_format::compress::Compression;

use crate::journal::JournalOptions;

/// What `fsync` waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// This machine's disk.
    #[default]
    Local,
    /// The store as well.
    Remote,
}

/// Settings of one open namespace; the defaults are what the binary uses.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where this machine keeps its state of the vault.
    pub state_dir: PathBuf,
    /// Nothing is written.
    pub read_only: bool,
    /// What `fsync` waits for.
    pub durability: Durability,
    /// How new chunks are compressed.
    pub compression: Compression,
    /// Most bytes of sealed objects kept on the local disk when the store is not local.
    pub cache_len_max: u64,
    /// Most bytes of opened blocks kept in memory.
    pub block_cache_len_max: usize,
    /// Most bytes of the database kept in memory.
    pub database_cache_len: usize,
    /// Longest time that a change stays in memory only.
    pub commit_interval: Duration,
    /// Time from a change to its publishing.
    pub publish_interval: Duration,
    /// How long a caller who waits for the store puts up with errors before being told of them.
    pub store_patience: Duration,
    /// User and group that own the root of a new tree.
    pub owner: (u32, u32),
    /// Sizes of the journal.
    pub journal: JournalOptions,
    /// Whether threads of its own commit, drain, publish and look after caches. Without them, as in a
    /// simulated world, only calls do, and a call that waits for the store runs the publisher itself.
    pub background: bool,
    /// Threads that open chunks ahead of sequential readers.
    pub prefetch_threads: usize,
    /// Operations in the log after which a checkpoint of the tree goes to the store.
    pub checkpoint_operations: u64,
}

impl Options {
    /// The defaults, for a state directory.
    pub fn new(state_dir: PathBuf) -> Self {
        Self {
            state_dir,
            read_only: false,
            durability: Durability::Local,
            compression: Compression::Zstd(1),
            cache_len_max: 10 << 30,
            block_cache_len_max: 64 << 20,
            database_cache_len: 32 << 20,
            commit_interval: Duration::from_secs(1),
            publish_interval: Duration::from_secs(5),
            store_patience: Duration::from_secs(30),
            owner: (0, 0),
            journal: JournalOptions::default(),
            background: true,
            prefetch_threads: 2,
            checkpoint_operations: 10_000,
        }
    }
}
