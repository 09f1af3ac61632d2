//! How an object comes into its place: written aside, synced, moved there in one step, and the move synced.
//!
//! Everybody who looks under the final name sees nothing or the whole object, in this and every other
//! process, and after a crash.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keepfs_store::{ObjectName, PutMode, Result, Retry, StoreError};
use rustix::fs::{AtFlags, OFlags, RenameFlags};
use rustix::io::Errno;

use super::descriptors::Descriptors;
use super::root::{OBJECTS, Presence, Root, RootHolder, may_be_gone};
use super::shards::{HEADS, Shards, parent};
use crate::os::{
    FILE_MODE, errno_of, make_directory, open_directory, store_error, sync_directory, temporary_name,
};

/// Where files are written before they have a name.
const TEMPORARY: &str = "tmp";

/// Where objects grow.
pub(super) const STAGE: &str = "stage";

/// A temporary file of this age has no living owner.
const TEMPORARY_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How this file system moves a file to a name only if the name is free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CreateBy {
    /// `renameat2` with `RENAME_NOREPLACE`.
    Rename,
    /// `link`, then `unlink` of the old name.
    Link,
    /// Neither works: look, then rename. Two processes can get in between.
    Look,
}

/// The directory tree of one file store.
pub(super) struct Place {
    path: PathBuf,
    root: RootHolder,
    shards: Shards,
    create_by: CreateBy,
    pub(super) descriptors: Descriptors,
}

impl Place {
    /// Opens the tree under an absolute path, and makes the directories it lacks if it can be written.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |errno| store_error(None, &format!("opening the directory {}", path.display()), errno);
        let root = RootHolder::open(path).map_err(failed)?;
        let create_by = match prepare(&root.current()) {
            Ok(create_by) => create_by,
            // A store that can only be read is a store; every put will say why it cannot be written.
            Err(Errno::ROFS | Errno::ACCESS | Errno::PERM) => CreateBy::Rename,
            Err(errno) => return Err(failed(errno)),
        };
        Ok(Place {
            path: path.to_owned(),
            root,
            shards: Shards::new(),
            create_by,
            descriptors: Descriptors::default(),
        })
    }

    /// Works as on a file system that can do no more than this.
    #[cfg(test)]
    pub(super) fn pretend_to_create_by(&mut self, create_by: CreateBy) {
        self.create_by = create_by;
    }

    pub(super) fn root(&self) -> Arc<Root> {
        self.root.current()
    }

    pub(super) fn create_is_atomic(&self) -> bool {
        self.create_by != CreateBy::Look
    }

    /// The store error for a failed call, after a look at whether the whole store is still there.
    pub(super) fn failed(&self, name: Option<&ObjectName>, doing: &str, errno: Errno) -> StoreError {
        if may_be_gone(errno)
            && let Some(error) = self.absence()
        {
            return error;
        }
        match name {
            Some(object) => store_error(name, &format!("{doing} {object}"), errno),
            None => store_error(name, doing, errno),
        }
    }

    /// `Unavailable` if the root directory is not the one in use.
    pub(super) fn absence(&self) -> Option<StoreError> {
        let what = match self.root.check(&self.path) {
            Presence::Same => return None,
            Presence::Replaced => {
                self.shards.forget();
                self.descriptors.clear();
                "was gone and is back"
            }
            Presence::Gone => "is gone (is the disk plugged in and mounted?)",
        };
        let detail = format!("the directory {} {what}", self.path.display());
        Some(StoreError::Unavailable { detail, retry: Retry::Soon })
    }

    /// Opens an object for reading, and gives its length.
    pub(super) fn open_object(&self, name: &ObjectName) -> Result<(File, u64)> {
        let failed = |errno| self.failed(Some(name), "opening", errno);
        // Whoever can write into the directory could plant a pipe, on which opening waits for ever, or a
        // symbolic link out of the store.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = rustix::fs::openat(self.root(), name.as_str(), flags, rustix::fs::Mode::empty());
        let file = File::from(opened.map_err(failed)?);
        let metadata = file.metadata().map_err(|error| failed(errno_of(&error)))?;
        if !metadata.is_file() {
            return Err(StoreError::io_never(format!("{name} is not a regular file")));
        }
        Ok((file, metadata.len()))
    }

    /// Puts an object whose bytes `fill` writes into the file it is given.
    pub(super) fn put(
        &self,
        name: &ObjectName,
        mode: PutMode,
        fill: &mut dyn FnMut(&mut File) -> Result<()>,
    ) -> Result<()> {
        let root = self.root();
        let temporary = format!("{TEMPORARY}/{}", temporary_name());
        let mut file = make_file(&root, &temporary).map_err(|errno| self.failed_aside(name, errno))?;
        let result = fill(&mut file)
            .and_then(|()| rustix::fs::fdatasync(&file).map_err(|errno| self.failed_aside(name, errno)))
            .and_then(|()| self.move_into_place(&root, &temporary, name, mode));
        if result.is_err() {
            // What cannot be removed now is removed at some later opening.
            let _ = rustix::fs::unlinkat(&root, &temporary, AtFlags::empty());
        }
        self.descriptors.forget(name);
        result?;
        self.sync_parent(&root, name)
    }

    /// The error of a call on a temporary file: there "not found" is about a directory, not about the object.
    pub(super) fn failed_aside(&self, name: &ObjectName, errno: Errno) -> StoreError {
        self.failed(None, &format!("writing {name}"), errno)
    }

    /// Moves a synced file to the name of an object.
    pub(super) fn move_into_place(
        &self,
        root: &Root,
        from: &str,
        name: &ObjectName,
        mode: PutMode,
    ) -> Result<()> {
        let failed = |errno| self.failed(None, &format!("placing {name}"), errno);
        for last_try in [false, true] {
            self.shards.ensure(root, name).map_err(failed)?;
            let moved = match mode {
                PutMode::Replace => rustix::fs::renameat(root, from, root, name.as_str()),
                PutMode::Create => create(self.create_by, root, from, name.as_str()),
            };
            match moved {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => return Err(self.exists(root, name)),
                // Somebody removed an empty directory that was there a moment ago.
                Err(Errno::NOENT) if !last_try => self.shards.forget(),
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(())
    }

    /// `Exists`, after making sure that what exists is durable: whoever put it may have failed or died before
    /// his own sync, and the caller may take it for his own earlier attempt.
    fn exists(&self, root: &Root, name: &ObjectName) -> StoreError {
        let synced = self.open_object(name).and_then(|(file, _)| {
            rustix::fs::fdatasync(&file).map_err(|errno| self.failed_aside(name, errno))?;
            self.sync_parent(root, name)
        });
        match synced {
            Ok(()) => StoreError::exists(name),
            Err(error) => error,
        }
    }

    /// Makes the entry of an object durable.
    pub(super) fn sync_parent(&self, root: &Root, name: &ObjectName) -> Result<()> {
        open_directory(root, parent(name))
            .and_then(sync_directory)
            .map_err(|errno| self.failed(None, &format!("syncing the directory of {name}"), errno))
    }

    /// Removes temporary files whose owner is long dead. Best effort: whatever stays costs only space.
    pub(super) fn clean_temporary(&self, now: SystemTime) {
        let Ok(directory) = open_directory(self.root(), TEMPORARY) else { return };
        let Ok(entries) = rustix::fs::Dir::read_from(&directory) else { return };
        for entry in entries.flatten() {
            let Ok(stat) = rustix::fs::statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
            else {
                continue;
            };
            let modified = UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
            let old = now.duration_since(modified).is_ok_and(|age| age > TEMPORARY_AGE_MAX);
            if old && rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
                let _ = rustix::fs::unlinkat(&directory, entry.file_name(), AtFlags::empty());
            }
        }
    }
}

/// Makes a temporary file, and its directory should somebody have tidied it away.
fn make_file(root: &Root, path: &str) -> rustix::io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let opened = match rustix::fs::openat(root.as_fd(), path, flags, FILE_MODE) {
        Err(Errno::NOENT) => {
            make_directory(root, TEMPORARY)?;
            rustix::fs::openat(root.as_fd(), path, flags, FILE_MODE)
        }
        result => result,
    };
    Ok(File::from(opened?))
}

/// Moves `from` to `to` unless `to` is there (`EEXIST`).
fn create(by: CreateBy, root: &Root, from: &str, to: &str) -> rustix::io::Result<()> {
    match by {
        CreateBy::Rename => rustix::fs::renameat_with(root, from, root, to, RenameFlags::NOREPLACE),
        CreateBy::Link => {
            rustix::fs::linkat(root, from, root, to, AtFlags::empty())?;
            rustix::fs::unlinkat(root, from, AtFlags::empty())
        }
        CreateBy::Look => match rustix::fs::statat(root, to, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => rustix::fs::renameat(root, from, root, to),
            Err(errno) => Err(errno),
        },
    }
}

/// Makes the directories of a store, and finds out how its file system creates without replacing.
fn prepare(root: &Root) -> rustix::io::Result<CreateBy> {
    let mut made = false;
    for directory in [HEADS, OBJECTS, TEMPORARY, STAGE] {
        made |= make_directory(root, directory)?;
    }
    if made {
        sync_directory(root)?;
    }
    let taken = format!("{TEMPORARY}/{}", temporary_name());
    let moved = format!("{TEMPORARY}/{}", temporary_name());
    let result = probe(root, &taken, &moved);
    for name in [&taken, &moved] {
        // The probe may have failed before it made them.
        let _ = rustix::fs::unlinkat(root, name, AtFlags::empty());
    }
    result
}

/// Tries each way on two files that are there: the right answer is `EEXIST`.
fn probe(root: &Root, taken: &str, moved: &str) -> rustix::io::Result<CreateBy> {
    for name in [taken, moved] {
        make_file(root, name)?;
    }
    if rustix::fs::renameat_with(root, moved, root, taken, RenameFlags::NOREPLACE) == Err(Errno::EXIST) {
        return Ok(CreateBy::Rename);
    }
    // A file system that does not know the flag may have ignored it, so `moved` may be gone: a link from a
    // missing file fails with ENOENT, and the way of last resort is taken, which is right for such a one.
    let linked = rustix::fs::linkat(root, moved, root, taken, AtFlags::empty());
    let fresh = format!("{taken}.link");
    let links = rustix::fs::linkat(root, taken, root, &fresh, AtFlags::empty());
    let _ = rustix::fs::unlinkat(root, &fresh, AtFlags::empty());
    Ok(if linked == Err(Errno::EXIST) && links.is_ok() { CreateBy::Link } else { CreateBy::Look })
}
