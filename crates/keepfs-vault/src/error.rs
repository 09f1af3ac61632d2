//! What can go wrong in the chunk space, told so that the caller knows what to do next.

use keepfs_format::ids::PackId;
use keepfs_store::{Retry, StoreError};

/// What the methods of the chunk space return.
pub type Result<T, E = VaultError> = std::result::Result<T, E>;

/// Why the chunk space did not do what it was asked. Each variant says what the caller should do.
#[non_exhaustive]
#[derive(Clone, Debug, thiserror::Error)]
pub enum VaultError {
    /// The store or the staging place failed. Do as its retry class says; nothing was lost, the plaintext
    /// or the job is still with whoever had it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Bytes of a pack are not what was written, and fetching them again did not help. Report pack and
    /// object; another copy of the chunk may exist. Retrying is useless.
    #[error("pack {:#x} ({object}) is damaged: {what}", pack.0)]
    Damaged {
        /// The pack.
        pack: PackId,
        /// Its object's name.
        object: String,
        /// Which part, and how it showed.
        what: String,
    },
    /// The store does not have a pack that it should have. Report it like damage; it may also not have
    /// arrived yet, so a later read is worth a try. It never means that the data is empty.
    #[error("pack {:#x} ({object}) is not on the store", pack.0)]
    Missing {
        /// The pack.
        pack: PackId,
        /// Its object's name.
        object: String,
    },
    /// A chunk longer than a chunk can be was put or asked for. It is a bug of the caller, or a locator
    /// from outside that was not checked.
    #[error("a chunk of {len} bytes; at most {limit} are possible")]
    ChunkLength {
        /// Its length in bytes.
        len: usize,
        /// The longest possible, in bytes.
        limit: usize,
    },
    /// A read reaches beyond its chunk, or a locator beyond its pack. The caller's manifest is wrong:
    /// report it like damage.
    #[error("bytes {start} to {end} of a chunk of {len} bytes were asked for")]
    Range {
        /// First byte that was asked for.
        start: u64,
        /// End of what was asked for.
        end: u64,
        /// Length of what there is.
        len: u64,
    },
    /// A chunk that was just sealed did not open to the same bytes: memory, processor or a library is
    /// faulty. The plaintext is still with the caller; retry once, then tell the user about the machine.
    #[error("a chunk that was just sealed does not open to the same bytes: {what}")]
    Faulty {
        /// How it showed.
        what: String,
    },
    /// An earlier write could not be made durable, so nothing may be acknowledged any more. Reads go on.
    /// Close and open again: recovery tells what is whole.
    #[error("a sync failed: {what}")]
    Poisoned {
        /// The error that stopped it.
        what: String,
    },
    /// Another object stands under a name that only this machine writes: its identity is in use twice (a
    /// cloned disk, a restored backup). Tell the user; this machine must enrol anew.
    #[error("another object stands on the store under a name of this machine ({object})")]
    NameTaken {
        /// The object's name.
        object: String,
    },
    /// The caller's index of chunks failed. Its own error says what to do.
    #[error("the chunk index failed: {what}")]
    Index {
        /// What failed, for people.
        what: String,
    },
    /// The operating system has no thread to give, or one stopped in the middle. Retry later.
    #[error("a thread could not do its work: {what}")]
    Thread {
        /// What failed, for people.
        what: String,
    },
}

impl VaultError {
    /// When the same call may be tried again.
    pub fn retry(&self) -> Retry {
        match self {
            VaultError::Store(error) => error.retry(),
            VaultError::Faulty { .. } | VaultError::Thread { .. } => Retry::Soon,
            _ => Retry::Never,
        }
    }
}
