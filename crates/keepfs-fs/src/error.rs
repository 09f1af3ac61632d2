//! The one error type of this crate, and the one table that turns errors into POSIX numbers.
//!
//! It never prints and never decides whether to retry: storage errors carry their own retry class.

use keepfs_format::error::FormatError;
use keepfs_store::StoreError;
use keepfs_vault::VaultError;

use crate::journal::JournalError;
use crate::pages::PagesError;

/// Why a call failed.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// There is no such name or inode. Tell the caller ENOENT.
    #[error("there is no such file or directory")]
    NotFound,
    /// The name is taken.
    #[error("the name exists already")]
    Exists,
    /// A directory was needed.
    #[error("this is not a directory")]
    NotDirectory,
    /// Anything but a directory was needed.
    #[error("this is a directory")]
    IsDirectory,
    /// The directory still has entries.
    #[error("the directory is not empty")]
    NotEmpty,
    /// The arguments make no sense together; the caller must change them.
    #[error("the arguments are not valid")]
    InvalidArgument,
    /// A name longer than 255 bytes.
    #[error("the name is longer than 255 bytes")]
    NameTooLong,
    /// The kind of inode or file system cannot do this.
    #[error("this operation is not supported here")]
    NotSupported,
    /// Only the owner or root may do this.
    #[error("the caller may not do this")]
    NotPermitted,
    /// The file would be larger than can be addressed.
    #[error("the file would be too large")]
    FileTooLarge,
    /// More names than an inode can count.
    #[error("the inode has too many names")]
    TooManyLinks,
    /// There is no such extended attribute.
    #[error("there is no such extended attribute")]
    NoAttribute,
    /// An extended attribute is larger than the limit.
    #[error("the extended attribute is too large")]
    AttributeTooLarge,
    /// `SEEK_DATA` or `SEEK_HOLE` beyond the end.
    #[error("there is nothing at or beyond this offset")]
    NothingBeyond,
    /// The handle is not open, or not for this.
    #[error("the handle is not open for this")]
    BadHandle,
    /// The mount is read-only.
    #[error("the file system is mounted read-only")]
    ReadOnly,
    /// Neither the store nor the local disk has room; free space, then try again.
    #[error("no space is left: {detail}")]
    NoSpace {
        /// Which disk, and what it said.
        detail: String,
    },
    /// After a local I/O error nothing more is written until the vault is mounted anew.
    #[error("writing stopped after an error ({reason}); unmount, repair the disk and mount again")]
    Poisoned {
        /// The first error.
        reason: String,
    },
    /// Something local or on the store is damaged. Nothing was changed.
    #[error("{what} is damaged; {advice}")]
    Damaged {
        /// What, and where.
        what: String,
        /// What to do.
        advice: String,
    },
    /// No slot of the vault opens with this secret. Ask again.
    #[error("this password or recovery phrase does not open the vault; check it and type it again")]
    WrongSecret,
    /// An empty password would be none.
    #[error("the password is empty; choose one that cannot be guessed")]
    EmptyPassword,
    /// The store holds no vault. Check its address, or found a vault.
    #[error("there is no vault on this store; check the address, or make a vault with 'keepfs init'")]
    NoVault,
    /// The store holds a vault, but not the one that this machine's state belongs to.
    #[error("the store holds another vault than this machine's state belongs to; check the store's address")]
    OtherVault,
    /// The store holds a vault already. It was not touched.
    #[error("the store holds a vault already and was left as it is; use 'keepfs join', or another store")]
    VaultExists,
    /// The state directory belongs to a vault already. It was not touched.
    #[error("{} holds the state of a vault already and was left as it is; use another state directory", path.display())]
    StateExists {
        /// The state directory.
        path: std::path::PathBuf,
    },
    /// This machine has no state of the vault, or lost it. Join the vault: it gets a new identity.
    #[error("{} holds no state of a vault; attach this machine with 'keepfs join'", path.display())]
    NoState {
        /// The state directory.
        path: std::path::PathBuf,
    },
    /// Written by a newer program. Nothing was changed; use a newer program.
    #[error("{what} has version {found}, this program reads {supported}; use a newer keepfs")]
    NewerVersion {
        /// What.
        what: &'static str,
        /// Its version.
        found: u8,
        /// The newest version this program reads.
        supported: u8,
    },
    /// The store shows less, or something else, than this machine has seen: it was rolled back, or lies.
    #[error(
        "the store shows {seen} of the {what}, but {expected} was there before: it was rolled back or tampered \
         with; compare with another machine, and join anew only if you restored the store yourself"
    )]
    Rollback {
        /// What was rolled back.
        what: &'static str,
        /// What must be there.
        expected: String,
        /// What is there.
        seen: String,
    },
    /// This machine's state is older than what this machine has put on the store. Its numbers must not be used
    /// again: move the state away and join.
    #[error(
        "this machine's state ends at segment {known} of its own log, and the store has {seen}: it was restored from \
         a backup, or a copy of it runs elsewhere; mount with --read-only to look, or move the state directory away \
         and attach this machine again with 'keepfs join'"
    )]
    StateBehind {
        /// Where the state ends.
        known: u64,
        /// Where the log on the store ends.
        seen: u64,
    },
    /// A vault must keep one way in. Add another slot before.
    #[error("this is the last slot that opens the vault; add another one before it is removed")]
    LastSlot,
    /// The vault has no such slot. List them.
    #[error("the vault has no such slot; list them with 'keepfs key list'")]
    NoSlot,
    /// Others took every position that this machine tried. Try again.
    #[error("other machines change the roster without pause; try again")]
    Contended,
    /// Another machine wrote without having seen what this one wrote, or the reverse. Nothing was published.
    #[error(
        "machine '{machines}' changed the vault meanwhile, and only one machine may write at a time; what is only \
         here stays here: mount with --read-only, copy it away, then join again with a new state directory"
    )]
    Diverged {
        /// Who wrote.
        machines: String,
    },
    /// A log holds an operation that does not fit the tree it applies to.
    #[error("the log does not fit the tree: {0}")]
    Fold(#[from] keepfs_log::FoldError),
    /// The store does not take what waits for it. It stays queued; try again when the store works.
    #[error(
        "{bytes} bytes are not on the store yet ({detail}); they stay queued and go up when the store works again"
    )]
    Behind {
        /// How much waits.
        bytes: u64,
        /// What the store said last.
        detail: String,
    },
    /// A commit that several callers waited for failed; each of them is told.
    #[error("{0}")]
    Shared(std::sync::Arc<FsError>),
    /// The local disk failed.
    #[error("the local state directory failed: {0}")]
    Local(#[from] std::io::Error),
    /// The local database failed.
    #[error("the local database failed: {0}")]
    Database(String),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The file of the local database failed.
    #[error(transparent)]
    Pages(#[from] PagesError),
    /// The chunk space failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Bytes that do not decode.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// What every call of this crate returns.
pub type Result<T, E = FsError> = std::result::Result<T, E>;

impl FsError {
    /// Whether the store did not take or give something, while this machine is well.
    pub(crate) fn is_of_store(&self) -> bool {
        match self {
            Self::Store(_) | Self::Vault(VaultError::Store(_)) => true,
            Self::Shared(error) => error.is_of_store(),
            _ => false,
        }
    }

    /// The POSIX error number for this error: the only place where one is chosen.
    pub fn errno(&self) -> i32 {
        match self {
            Self::NotFound => libc::ENOENT,
            Self::Exists => libc::EEXIST,
            Self::NotDirectory => libc::ENOTDIR,
            Self::IsDirectory => libc::EISDIR,
            Self::NotEmpty => libc::ENOTEMPTY,
            Self::InvalidArgument => libc::EINVAL,
            Self::NameTooLong => libc::ENAMETOOLONG,
            Self::NotSupported => libc::EOPNOTSUPP,
            Self::NotPermitted => libc::EPERM,
            Self::FileTooLarge => libc::EFBIG,
            Self::TooManyLinks => libc::EMLINK,
            Self::NoAttribute => libc::ENODATA,
            Self::AttributeTooLarge => libc::E2BIG,
            Self::NothingBeyond => libc::ENXIO,
            Self::BadHandle => libc::EBADF,
            Self::ReadOnly => libc::EROFS,
            Self::WrongSecret | Self::EmptyPassword => libc::EACCES,
            Self::NoVault | Self::OtherVault | Self::NoState { .. } | Self::NoSlot => libc::ENOENT,
            Self::VaultExists | Self::StateExists { .. } => libc::EEXIST,
            Self::LastSlot => libc::EPERM,
            Self::Contended => libc::EAGAIN,
            Self::NoSpace { .. } | Self::Store(StoreError::Full { .. }) => libc::ENOSPC,
            Self::Store(StoreError::ReadOnly { .. }) => libc::EROFS,
            Self::Local(error) | Self::Journal(JournalError::Io { source: error, .. }) => {
                errno_of_disk(error)
            }
            Self::Journal(JournalError::Full { .. }) => libc::ENOSPC,
            Self::Shared(error) => error.errno(),
            Self::Vault(VaultError::Store(StoreError::Full { .. })) => libc::ENOSPC,
            _ => libc::EIO,
        }
    }
}

/// What a program is told of the local disk: want of room and a quota as they are, all else as a failure of the disk.
fn errno_of_disk(error: &std::io::Error) -> i32 {
    match error.raw_os_error() {
        Some(number @ (libc::ENOSPC | libc::EDQUOT | libc::EROFS)) => number,
        _ => libc::EIO,
    }
}
