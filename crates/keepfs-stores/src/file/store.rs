//! The file store: objects are files, named as they are.
//!
//! ```text
//! vault, vault.bak, h/<26>, o/xx/<26>    the objects
//! tmp/                                   objects being put; leftovers older than a day are removed
//! stage/<26>                             objects that grow until they are published
//! ```
//!
//! Several processes may use one directory at once. Files are 0600, directories 0700.

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use keepfs_store::{
    Capabilities, ObjectInfo, ObjectName, PutMode, Result, Space, Staging, Store, StoreError,
};
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::listing::Listing;
use super::place::Place;
use super::staging::FileStaging;
use crate::os::{errno_of, space_of};

/// Longest object, in bytes: what every file system of today takes.
const OBJECT_LEN_MAX: u64 = 1 << 40;

/// Requests worth having in flight on one disk.
const PARALLEL: usize = 4;

/// How a file store is to be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileOptions {
    /// Objects grow inside the store and are read there. False treats the store as a remote one, for network
    /// mounts and slow removable disks: not `local`, no staging, whole puts only.
    pub in_place: bool,
}

impl Default for FileOptions {
    fn default() -> Self {
        FileOptions { in_place: true }
    }
}

/// A store in a directory.
pub struct FileStore {
    place: Arc<Place>,
    staging: Option<FileStaging>,
}

impl FileStore {
    /// Opens the store in the directory `path`, which must be there. Directories that the store lacks are
    /// made, if it can be written; one that can only be read works for reading.
    pub fn open(path: &Path, options: FileOptions) -> Result<Self> {
        let failed = |error: std::io::Error| {
            let doing = format!("finding the directory {}", path.display());
            crate::os::store_error(None, &doing, errno_of(&error))
        };
        // The process may change its directory later (a daemon does).
        let path = std::fs::canonicalize(path).map_err(failed)?;
        let place = Arc::new(Place::open(&path)?);
        place.clean_temporary(SystemTime::now());
        let staging = options.in_place.then(|| FileStaging::new(place.clone()));
        Ok(FileStore { place, staging })
    }

    fn read_failed(&self, name: &ObjectName, error: &std::io::Error, end: (u64, u64)) -> StoreError {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => StoreError::short(name, end.0, end.1),
            _ => self.place.failed(Some(name), "reading", errno_of(error)),
        }
    }
}

impl Store for FileStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: "file",
            local: self.staging.is_some(),
            create_is_atomic: self.place.create_is_atomic(),
            object_len_max: OBJECT_LEN_MAX,
            parallel: PARALLEL,
        }
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>> {
        let (file, len) = self.place.open_object(name)?;
        let too_large = || StoreError::too_large(name, len, limit);
        if len > limit {
            return Err(too_large());
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| too_large())?];
        file.read_exact_at(&mut bytes, 0).map_err(|error| self.read_failed(name, &error, (0, len)))?;
        Ok(bytes)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<()> {
        let file = match self.place.descriptors.get(name) {
            Some(file) => file,
            None => {
                let file = Arc::new(self.place.open_object(name)?.0);
                self.place.descriptors.keep(name, &file);
                file
            }
        };
        let len = out.len() as u64;
        if offset.checked_add(len).is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(StoreError::short(name, offset, len));
        }
        file.read_exact_at(out, offset).map_err(|error| self.read_failed(name, &error, (offset, len)))
    }

    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.place.put(name, mode, &mut |file| {
            file.write_all(bytes).map_err(|error| self.place.failed_aside(name, errno_of(&error)))
        })
    }

    fn put_file(&self, name: &ObjectName, path: &Path, mode: PutMode) -> Result<()> {
        let unreadable =
            |error: std::io::Error| StoreError::io_never(format!("reading {}: {error}", path.display()));
        let mut source = File::open(path).map_err(unreadable)?;
        let len = source.metadata().map_err(unreadable)?.len();
        self.place.put(name, mode, &mut |file| {
            // The kernel copies, and file systems that can share blocks do.
            let copied = std::io::copy(&mut source, file)
                .map_err(|error| self.place.failed_aside(name, errno_of(&error)))?;
            if copied == len {
                Ok(())
            } else {
                Err(StoreError::io_never(format!("{} changed while it was read", path.display())))
            }
        })
    }

    fn len(&self, name: &ObjectName) -> Result<u64> {
        let root = self.place.root();
        let stat = rustix::fs::statat(&root, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| self.place.failed(Some(name), "finding", errno))?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(StoreError::io_never(format!("{name} is not a regular file")));
        }
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.place.descriptors.forget(name);
        match rustix::fs::unlinkat(self.place.root(), name.as_str(), AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => self.place.absence().map_or(Ok(()), Err),
            Err(errno) => Err(self.place.failed(Some(name), "deleting", errno)),
        }
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>) -> Result<()> {
        Listing { place: &self.place, prefix }.run(each)
    }

    fn space(&self) -> Result<Option<Space>> {
        let space = space_of(self.place.root());
        space.map(Some).map_err(|errno| self.place.failed(None, "asking for free space", errno))
    }

    fn staging(&self) -> Option<&dyn Staging> {
        self.staging.as_ref().map(|staging| staging as &dyn Staging)
    }

    fn device(&self) -> Option<u64> {
        self.staging.is_some().then(|| self.place.root().device())
    }
}

#[cfg(test)]
mod tests {
    use super::super::place::CreateBy;
    use super::*;
    use keepfs_store::conformance::{Options, failures};

    #[test]
    fn file_systems_without_rename_no_replace_conform_as_well() {
        for create_by in [CreateBy::Link, CreateBy::Look] {
            let directory = tempfile::tempdir().unwrap();
            let open = || -> Arc<dyn Store> {
                let mut place = Place::open(directory.path()).unwrap();
                place.pretend_to_create_by(create_by);
                let place = Arc::new(place);
                Arc::new(FileStore { staging: Some(FileStaging::new(place.clone())), place })
            };
            assert_eq!(open().capabilities().create_is_atomic, create_by == CreateBy::Link);
            let options = Options { scratch: Some(directory.path().to_owned()), ..Options::default() };
            let failed = failures(&open, &options);
            assert!(failed.is_empty(), "{create_by:?}: {failed:#?}");
        }
    }
}
