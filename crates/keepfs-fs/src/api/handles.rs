//! Open files and directories.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keepfs_format::ids::Ino;
use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use crate::content::File;
use crate::error::{FsError, Result};
use crate::types::Handle;

/// One open file or directory.
pub(crate) struct Open {
    /// Its inode.
    pub ino: Ino,
    /// Its bytes; `None` for a directory.
    pub file: Option<Arc<File>>,
    /// Opened for writing.
    pub writable: bool,
    /// Opened with `O_APPEND`, by a kernel that leaves the position to us.
    pub append: bool,
    /// Where the last read ended, to see sequential readers.
    pub read_end: AtomicU64,
    /// Up to where bytes were asked for ahead of the reader.
    pub ahead_end: AtomicU64,
}

/// The table of handles.
#[derive(Default)]
pub(crate) struct Handles {
    open: RwLock<FxHashMap<u64, Arc<Open>>>,
    next: AtomicU64,
}

impl Handles {
    /// A new handle. Handles are never used twice.
    pub(crate) fn insert(&self, open: Open) -> Handle {
        let handle = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.open.write().insert(handle, Arc::new(open));
        Handle(handle)
    }

    /// What a handle stands for.
    pub(crate) fn get(&self, handle: Handle) -> Result<Arc<Open>> {
        self.open.read().get(&handle.0).cloned().ok_or(FsError::BadHandle)
    }

    /// The file of a handle.
    pub(crate) fn file(&self, handle: Handle) -> Result<(Arc<Open>, Arc<File>)> {
        let open = self.get(handle)?;
        let file = open.file.clone().ok_or(FsError::BadHandle)?;
        Ok((open, file))
    }

    /// Closes a handle.
    pub(crate) fn remove(&self, handle: Handle) -> Option<Arc<Open>> {
        self.open.write().remove(&handle.0)
    }

    /// Number of open handles.
    pub(crate) fn count(&self) -> usize {
        self.open.read().len()
    }
}
