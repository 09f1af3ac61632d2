//! A file that grows: the part of staging that is the same inside a file store and in a local directory.
//!
//! It writes, reads and syncs; where the file goes when it is published is not its business.

use std::collections::HashMap;
use std::fs::File;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keepfs_store::{ObjectName, Result, Space, StoreError, check_stageable};
use parking_lot::Mutex;
use rustix::fs::{Advice, AtFlags, FallocateFlags, FlockOperation, OFlags};
use rustix::io::Errno;

use crate::os::{FILE_MODE, each_entry, errno_of, space_of, store_error, sync_directory};

/// Space reserved ahead of the end of a growing file, in bytes, so that it lies in few
/// pieces on the disk and a sync has less to record: a third faster on ext4 than without.
const RESERVE_LEN: u64 = 16 << 20;

/// The kernel is asked to write what has grown by this many bytes, so that the disk works while later bytes are
/// still being sealed and a sync finds little left to do.
const PUSH_LEN: u64 = 4 << 20;

/// Longest staged file, in bytes.
const STAGED_LEN_MAX: u64 = 1 << 40;

/// A directory of growing files, each named by the 26 opaque characters of its object.
#[derive(Clone)]
pub(crate) struct StageDirectory {
    directory: Arc<OwnedFd>,
    open_here: OpenHere,
}

/// How many handles to each staged object this process has. A discarded object may have some left, beside
/// those of a new one of the same name.
pub(crate) type OpenHere = Arc<Mutex<HashMap<ObjectName, usize>>>;

impl StageDirectory {
    /// `open_here` is shared by all who work in the directory within this process.
    pub(crate) fn new(directory: OwnedFd, open_here: OpenHere) -> Self {
        StageDirectory { directory: Arc::new(directory), open_here }
    }

    /// A new file; `Exists` if there is one.
    pub(crate) fn create(&self, name: &ObjectName) -> Result<StageFile> {
        self.open(name, OFlags::CREATE | OFlags::EXCL)
    }

    /// One that an earlier process left behind.
    pub(crate) fn reopen(&self, name: &ObjectName) -> Result<StageFile> {
        self.open(name, OFlags::empty())
    }

    pub(crate) fn list(&self) -> Result<Vec<ObjectName>> {
        let mut names = Vec::new();
        let mut take = |file: &str| {
            names.extend(ObjectName::immutable(file));
            Ok(std::ops::ControlFlow::Continue(()))
        };
        let failed = |errno| store_error(None, "listing staged objects", errno);
        let _ = each_entry(self.directory.as_fd(), &mut take, &failed)?;
        Ok(names)
    }

    pub(crate) fn discard(&self, name: &ObjectName) -> Result<()> {
        check_stageable(name)?;
        // The lock tells a living owner in another process; one's own handle may stay open.
        let own = self.open_here.lock().contains_key(name);
        let guard = match own {
            true => None,
            false => match self.open(name, OFlags::empty()) {
                Ok(file) => Some(file),
                Err(StoreError::NotFound { .. }) => return Ok(()),
                Err(error) => return Err(error),
            },
        };
        let removed = self.remove(name);
        drop(guard);
        removed
    }

    /// Removes the entry of a file, which goes on working for whoever has it open.
    pub(crate) fn remove(&self, name: &ObjectName) -> Result<()> {
        match rustix::fs::unlinkat(&*self.directory, file_name(name), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(store_error(Some(name), &format!("discarding {name}"), errno)),
        }
    }

    pub(crate) fn sync(&self) -> rustix::io::Result<()> {
        sync_directory(&*self.directory)
    }

    /// Room where the files grow.
    pub(crate) fn space(&self) -> Result<Space> {
        space_of(&*self.directory).map_err(|errno| store_error(None, "asking for free space", errno))
    }

    fn open(&self, name: &ObjectName, flags: OFlags) -> Result<StageFile> {
        check_stageable(name)?;
        let open = |access: OFlags| {
            let flags = flags | access | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            rustix::fs::openat(&*self.directory, file_name(name), flags, FILE_MODE)
        };
        let opened = match open(OFlags::RDWR) {
            // What a crash left can be read where nothing can be written any more.
            Err(Errno::ROFS) if flags.is_empty() => open(OFlags::RDONLY),
            other => other,
        };
        let file = opened.map_err(|errno| store_error(Some(name), &format!("staging {name}"), errno))?;
        // A file system without locks protects nobody here; the lock is a guard against mistakes only.
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            let detail = format!("staged object {name} is open elsewhere");
            return Err(StoreError::Denied { detail });
        }
        *self.open_here.lock().entry(name.clone()).or_default() += 1;
        Ok(StageFile {
            name: name.clone(),
            file: File::from(file),
            directory: self.clone(),
            // One that was left behind may have been left before its entry was synced.
            entry_durable: AtomicBool::new(false),
            reserved: AtomicU64::new(0),
            pushed: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }
}

/// Name of the file of a staged object, in its directory.
pub(crate) fn file_name(name: &ObjectName) -> &str {
    name.id().unwrap_or(name.as_str())
}

/// One growing file.
pub(crate) struct StageFile {
    name: ObjectName,
    file: File,
    directory: StageDirectory,
    /// Whether the entry in the directory is synced.
    entry_durable: AtomicBool,
    /// Up to where space is reserved, in bytes; `u64::MAX` if the file system cannot.
    reserved: AtomicU64,
    /// Up to where the kernel was asked to write, in bytes.
    pushed: AtomicU64,
    /// A sync has failed: the kernel may have dropped the bytes, and would call the next sync a success.
    broken: AtomicBool,
    /// Published: takes no more writes.
    closed: AtomicBool,
}

impl Drop for StageFile {
    fn drop(&mut self) {
        let mut open_here = self.directory.open_here.lock();
        if let Some(handles) = open_here.get_mut(&self.name) {
            *handles -= 1;
            if *handles == 0 {
                open_here.remove(&self.name);
            }
        }
    }
}

impl StageFile {
    pub(crate) fn name(&self) -> &ObjectName {
        &self.name
    }

    pub(crate) fn directory(&self) -> &StageDirectory {
        &self.directory
    }

    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.check_writable()?;
        let end = self.checked_end(offset, bytes.len() as u64)?;
        self.reserve(end);
        self.file.write_all_at(bytes, offset).map_err(|error| self.failed("writing", errno_of(&error)))?;
        self.push(end);
        Ok(())
    }

    /// Has the kernel begin to write what is new before `end`, if that is much. It does not wait, and vouches for
    /// nothing: an error of the disk comes up at the next sync.
    fn push(&self, end: u64) {
        let pushed = self.pushed.load(Ordering::Acquire);
        let is_much = end >= pushed + PUSH_LEN;
        if is_much && self.pushed.compare_exchange(pushed, end, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            // "Not needed" begins to write dirty pages before it drops clean ones, posix_fadvise(2); there are none.
            let _ = rustix::fs::fadvise(&self.file, pushed, NonZeroU64::new(end - pushed), Advice::DontNeed);
        }
    }

    pub(crate) fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let len = out.len() as u64;
        let short = || StoreError::short(&self.name, offset, len);
        self.checked_end(offset, len).map_err(|_| short())?;
        self.file.read_exact_at(out, offset).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => short(),
            _ => self.failed("reading", errno_of(&error)),
        })
    }

    pub(crate) fn len(&self) -> Result<u64> {
        let metadata = self.file.metadata().map_err(|error| self.failed("measuring", errno_of(&error)))?;
        Ok(metadata.len())
    }

    pub(crate) fn truncate(&self, len: u64) -> Result<()> {
        self.check_writable()?;
        self.checked_end(len, 0)?;
        rustix::fs::ftruncate(&self.file, len).map_err(|errno| self.failed("truncating", errno))?;
        // Shortening gives back what was reserved behind the new end.
        let _ = self.reserved.fetch_update(Ordering::AcqRel, Ordering::Acquire, |reserved| {
            (reserved != u64::MAX).then_some(0)
        });
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.check_sound()?;
        rustix::fs::fdatasync(&self.file).map_err(|errno| self.break_down(errno))?;
        if !self.entry_durable.load(Ordering::Acquire) {
            self.directory.sync().map_err(|errno| self.break_down(errno))?;
            self.entry_durable.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Gives back the space reserved behind the end.
    pub(crate) fn trim(&self) -> Result<()> {
        self.check_sound()?;
        if !matches!(self.reserved.load(Ordering::Acquire), 0 | u64::MAX) {
            self.truncate(self.len()?)?;
        }
        Ok(())
    }

    /// From now on only reads.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Device and inode, to recognise the file under another name.
    pub(crate) fn identity(&self) -> Result<(u64, u64)> {
        let stat = rustix::fs::fstat(&self.file).map_err(|errno| self.failed("measuring", errno))?;
        Ok((stat.st_dev, stat.st_ino))
    }

    fn check_writable(&self) -> Result<()> {
        match self.is_closed() {
            true => Err(StoreError::invalid(format!("{} is published", self.name))),
            false => Ok(()),
        }
    }

    fn check_sound(&self) -> Result<()> {
        match self.broken.load(Ordering::Acquire) {
            true => Err(StoreError::io_never(format!("an earlier sync of {} failed", self.name))),
            false => Ok(()),
        }
    }

    fn checked_end(&self, offset: u64, len: u64) -> Result<u64> {
        match offset.checked_add(len) {
            Some(end) if end <= STAGED_LEN_MAX => Ok(end),
            end => Err(StoreError::too_large(&self.name, end.unwrap_or(u64::MAX), STAGED_LEN_MAX)),
        }
    }

    /// Reserves space up to well behind `end`. Failing to costs speed only: if the disk is full, the write
    /// that needs the space will say so.
    fn reserve(&self, end: u64) {
        let reserved = self.reserved.load(Ordering::Acquire);
        if end <= reserved {
            return;
        }
        let target = (end / RESERVE_LEN + 1) * RESERVE_LEN;
        // Two threads may both reserve the same space, which is the same as once.
        let result =
            rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, reserved, target - reserved);
        let known = if result.is_ok() { target } else { u64::MAX };
        self.reserved.fetch_max(known, Ordering::AcqRel);
    }

    fn break_down(&self, errno: Errno) -> StoreError {
        self.broken.store(true, Ordering::Release);
        match self.failed("syncing", errno) {
            StoreError::Io { detail, .. } => StoreError::io_never(detail),
            error => error,
        }
    }

    fn failed(&self, doing: &str, errno: Errno) -> StoreError {
        store_error(None, &format!("{doing} the staged object {}", self.name), errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::open_directory_at;

    #[test]
    fn no_sync_vouches_for_bytes_after_one_has_failed() {
        let directory = tempfile::tempdir().unwrap();
        let stage = StageDirectory::new(open_directory_at(directory.path()).unwrap(), OpenHere::default());
        let name = ObjectName::immutable("abcdefghijklmnopqrstuvwxyz").unwrap();
        let file = stage.create(&name).unwrap();
        file.write_at(0, b"bytes").unwrap();
        let first = file.break_down(Errno::IO);
        assert_eq!(first.retry(), keepfs_store::Retry::Never);
        for later in [file.sync(), file.trim(), file.sync()] {
            assert_eq!(later.unwrap_err().retry(), keepfs_store::Retry::Never);
        }
        file.write_at(5, b"more").unwrap();
        assert!(file.sync().is_err());
    }
}
