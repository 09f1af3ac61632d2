//! The root directory of a file store, held open and known by its identity.
//!
//! A disk that is unplugged leaves an empty mount point behind. Working by path there, every object would
//! seem to be deleted and every new one would land on the wrong disk. So all work is relative to the open
//! directory, and "not found" counts only while the path still leads to that same directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use rustix::io::Errno;

use crate::os::open_directory_at;

/// The directory whose presence tells a store from an empty mount point.
pub(super) const OBJECTS: &str = "o";

/// One opened root directory.
pub(super) struct Root {
    directory: OwnedFd,
    identity: (u64, u64),
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Root {
    fn open(path: &Path) -> rustix::io::Result<Self> {
        let directory = open_directory_at(path)?;
        let stat = rustix::fs::fstat(&directory)?;
        Ok(Root { directory, identity: (stat.st_dev, stat.st_ino) })
    }

    /// The device that holds the directory.
    pub(super) fn device(&self) -> u64 {
        self.identity.0
    }
}

/// What became of the root directory.
pub(super) enum Presence {
    /// It is where it was.
    Same,
    /// The path led to another directory, which holds a store too (the disk is back): it is in use now.
    Replaced,
    /// The path leads nowhere, or to something that is no store.
    Gone,
}

/// The current root of a store; changes when a disk is unplugged and plugged in again.
pub(super) struct RootHolder(RwLock<Arc<Root>>);

impl RootHolder {
    pub(super) fn open(path: &Path) -> rustix::io::Result<Self> {
        Ok(RootHolder(RwLock::new(Arc::new(Root::open(path)?))))
    }

    pub(super) fn current(&self) -> Arc<Root> {
        self.0.read().clone()
    }

    /// Looks whether the path still leads to the root in use.
    pub(super) fn check(&self, path: &Path) -> Presence {
        let Ok(found) = Root::open(path) else { return Presence::Gone };
        let mut current = self.0.write();
        if found.identity == current.identity {
            return Presence::Same;
        }
        match rustix::fs::statat(&found, OBJECTS, rustix::fs::AtFlags::empty()) {
            Ok(_) => {
                *current = Arc::new(found);
                Presence::Replaced
            }
            Err(_) => Presence::Gone,
        }
    }
}

/// Errors that may mean that the whole root is gone, not only one object.
pub(super) fn may_be_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::IO | Errno::STALE | Errno::NODEV | Errno::NXIO | Errno::NOTCONN)
}
