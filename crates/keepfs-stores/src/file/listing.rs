//! Listings of a file store: only what has the name of an object and is a regular file.

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use keepfs_store::{ObjectInfo, ObjectName, Result, StoreError};
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::place::Place;
use super::root::OBJECTS;
use super::shards::{HEADS, is_shard};
use crate::os::{each_entry, open_directory};

type Each<'a> = &'a mut dyn FnMut(ObjectInfo) -> ControlFlow<()>;

/// One listing under way.
pub(super) struct Listing<'a> {
    pub(super) place: &'a Place,
    pub(super) prefix: &'a str,
}

impl Listing<'_> {
    /// Calls `each` with every object under the prefix, until it breaks.
    pub(super) fn run(&self, each: Each<'_>) -> Result<()> {
        let root = open_directory(self.place.root(), "").map_err(|errno| self.failed(errno))?;
        for name in [ObjectName::vault(), ObjectName::vault_backup()] {
            if name.as_str().starts_with(self.prefix) && self.object(&root, name, each)?.is_break() {
                return Ok(());
            }
        }
        if self.overlaps("h/") && self.directory(HEADS, each)?.is_break() {
            return Ok(());
        }
        if !self.overlaps("o/") {
            return Ok(());
        }
        for shard in self.shards()? {
            if self.directory(&format!("{OBJECTS}/{shard}"), each)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Whether names that start with `directory` (with its slash) can have the prefix.
    fn overlaps(&self, directory: &str) -> bool {
        directory.starts_with(self.prefix) || self.prefix.starts_with(directory)
    }

    fn failed(&self, errno: Errno) -> StoreError {
        self.place.failed(None, "listing", errno)
    }

    /// A directory of the store; `None` if it is not there, and the store is.
    fn open(&self, path: &str) -> Result<Option<OwnedFd>> {
        match open_directory(self.place.root(), path) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT) => self.place.absence().map_or(Ok(None), Err),
            Err(errno) => Err(self.failed(errno)),
        }
    }

    fn shards(&self) -> Result<Vec<String>> {
        let mut shards = Vec::new();
        if let Some(directory) = self.open(OBJECTS)? {
            let mut take = |name: &str| {
                if is_shard(name) && self.overlaps(&format!("o/{name}/")) {
                    shards.push(name.to_owned());
                }
                Ok(ControlFlow::Continue(()))
            };
            let _ = each_entry(&directory, &mut take, &|errno| self.failed(errno))?;
        }
        Ok(shards)
    }

    fn directory(&self, path: &str, each: Each<'_>) -> Result<ControlFlow<()>> {
        let Some(directory) = self.open(path)? else { return Ok(ControlFlow::Continue(())) };
        let mut take = |file: &str| match ObjectName::new(&format!("{path}/{file}")) {
            Ok(name) if name.as_str().starts_with(self.prefix) => self.object(&directory, name, each),
            _ => Ok(ControlFlow::Continue(())),
        };
        each_entry(&directory, &mut take, &|errno| self.failed(errno))
    }

    /// One object, whose file is in `directory`. It may have been deleted since its name was read.
    fn object(&self, directory: &OwnedFd, name: ObjectName, each: Each<'_>) -> Result<ControlFlow<()>> {
        let file = name.id().unwrap_or(name.as_str());
        let stat = match rustix::fs::statat(directory, file, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(ControlFlow::Continue(())),
            Err(errno) => return Err(self.failed(errno)),
        };
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Ok(ControlFlow::Continue(()));
        }
        let len = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(each(ObjectInfo { name, len, modified_secs: Some(stat.st_mtime) }))
    }
}
