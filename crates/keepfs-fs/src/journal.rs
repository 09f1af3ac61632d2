//! The sealed journal: bytes in, durable on demand, the same bytes out after a crash.
//!
//! Owns the files of one directory. Knows nothing of what a record means, starts no threads, has no clock.
//!
//! A journal is a row of *records* in files of equal length that were filled with noise beforehand and are
//! overwritten in place, so that a commit is one write and one `fdatasync` that changes no length. A record lies
//! in one *frame* (see `frame.rs`), a long one in several. A file is used under a key of its own (see `file.rs`),
//! so nothing from an earlier use opens in a later one.
//!
//! # Invariants
//! - Every frame names the tag of the frame before it: what replays is one unbroken row.
//! - Every session begins a new file, whose head says where it took over and under which tag; so what one
//!   recovery counted as torn off stays off, and no place is ever sealed twice under one key.
//! - Every frame says up to where the journal was durable when it was sealed. A bad frame is a *torn tail*, and
//!   dropped, only if no valid frame behind it calls its place durable; else it is *damage*: the open fails and
//!   every file is kept.
//! - Positions only grow, over crashes and trimming too.
//! - After a failed write or sync the journal refuses everything until it is opened again; the open writes what no
//!   frame vouches for once more before it counts on it, since a failed sync leaves pages that only seem written.

mod file;
mod frame;
mod open;
mod reader;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use keepfs_format::env::Env;
use keepfs_format::local::LocalKeys;
use parking_lot::Mutex;

use crate::disk::LocalDisk;
use writer::State;

/// A cut between two records: behind one, before the next. Records up to here are *before* the cut.
///
/// Both the replay and an append give the position *behind* a record; stored as "applied up to here", it is what
/// the next [`Journal::open`] takes. Grows over the whole life of the state directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position(pub u64);

impl Position {
    /// Before every record there is: replay all that the files hold.
    pub const OLDEST: Self = Self(0);
}

/// Longest record, in bytes.
pub const RECORD_LEN_MAX: usize = 64 << 20;

/// Shortest journal file, in bytes.
pub const FILE_LEN_MIN: u64 = 16 << 10;

/// Why the journal could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The disk failed. After a write or sync, let go of the journal and open it again; after
    /// [`Journal::prepare`], or if there was no space for another file, try again later.
    #[error("journal: {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// An earlier write or sync failed, so nothing is known of what followed. Open the journal again.
    #[error("journal: refuses to go on after a failed write; it must be opened again")]
    Poisoned,
    /// The files hold as much as they may. Write a checkpoint, [`trim`](Journal::trim), try again.
    #[error("journal: full: {len_live} bytes wait for a checkpoint")]
    Full {
        /// Bytes between the trim point and the end.
        len_live: u64,
    },
    /// The record is longer than [`RECORD_LEN_MAX`]. The caller splits it.
    #[error("journal: a record of {len} bytes is too long")]
    TooLong {
        /// Length of the record in bytes.
        len: usize,
    },
    /// Something that was durable is gone or changed. Tell the user, keep the files; never go on without them
    /// unasked.
    #[error("journal: damaged at {position:?} in {}: {reason}", path.display())]
    Damaged {
        /// The file, or the directory if a file is missing.
        path: PathBuf,
        /// Where the good part ends.
        position: Position,
        /// What is wrong.
        reason: &'static str,
    },
    /// No file opens under this key: the wrong key, another journal's files, or every file damaged. Check the key.
    #[error("journal: {} was not written with this key", path.display())]
    WrongKey {
        /// The directory.
        path: PathBuf,
    },
    /// Another process, or another `Journal` of this one, has it open. Let go of that one first.
    #[error("journal: {} is in use", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The caller's replay function gave up; the files are as they were.
    #[error("journal: replay: {0}")]
    Replay(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl JournalError {
    /// Nothing was written for want of space; the same call works when there is some.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }
}

/// Sizes, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct JournalOptions {
    /// Length of one file; rounded up to whole pages, at least [`FILE_LEN_MIN`].
    pub file_len: u64,
    /// What all files together may take.
    pub total_len_max: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { file_len: 16 << 20, total_len_max: 1 << 30 }
    }
}

/// Where a journal is and what it needs.
pub struct JournalPlace {
    /// The disk.
    pub disk: Arc<dyn LocalDisk>,
    /// The journal's own directory; made if its parent is there.
    pub dir: PathBuf,
    /// The keys of the state directory.
    pub keys: Arc<LocalKeys>,
    /// Where salts come from.
    pub env: Arc<dyn Env>,
    /// Sizes.
    pub options: JournalOptions,
}

/// What an open found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct ReplayReport {
    /// Records handed to the caller.
    pub records: u64,
    /// Their lengths, together, in bytes.
    pub bytes: u64,
    /// There was no journal, and a new one was made. Unexpected if the database vouches for a position: then
    /// somebody removed the files, and with them perhaps what was not yet in the database.
    pub created: bool,
    /// The last frames were torn and dropped; none of them had been acknowledged.
    pub torn_tail: bool,
    /// Where the journal goes on.
    pub end: Position,
}

/// The sealed journal. All methods from any thread; each record is durable only with all records before it.
pub struct Journal {
    folder: file::Folder,
    files_max: u64,
    state: Mutex<State>,
    /// Held by the one who syncs; whoever waits for it finds its own records synced, mostly.
    syncing: Mutex<()>,
    /// Held by the one who makes or retires files. Taken before `state`.
    preparing: Mutex<()>,
    _lock: Box<dyn Send + Sync>,
}

#[cfg(test)]
mod tests;
