//! A directory that is used as a remote store and is not there yet: a share that is not mounted, a disk that is not
//! plugged in. It is looked for at every call, and until it is there it cannot be reached.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use keepfs_store::{Capabilities, ObjectInfo, ObjectName, PutMode, Result, Retry, Space, Store, StoreError};

use crate::file::{FileOptions, FileStore};
use crate::open::is_store;

/// Longest object, in bytes, and calls in flight: those of a file store that is there.
const OBJECT_LEN_MAX: u64 = 1 << 40;
const PARALLEL: usize = 4;

/// A file store that comes later.
pub(crate) struct LaterStore {
    path: PathBuf,
    found: OnceLock<Arc<FileStore>>,
}

impl LaterStore {
    pub(crate) fn new(path: &Path) -> Self {
        LaterStore { path: path.to_owned(), found: OnceLock::new() }
    }

    fn store(&self) -> Result<&FileStore> {
        if let Some(store) = self.found.get() {
            return Ok(store);
        }
        if !is_store(&self.path) {
            let detail = format!("there is no store in {}", self.path.display());
            return Err(StoreError::Unavailable { detail, retry: Retry::Soon });
        }
        let store = FileStore::open(&self.path, FileOptions { in_place: false })?;
        Ok(self.found.get_or_init(|| Arc::new(store)))
    }
}

impl Store for LaterStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: "file",
            local: false,
            // Whether it does is known when it is there; to assume less is never wrong.
            create_is_atomic: false,
            object_len_max: OBJECT_LEN_MAX,
            parallel: PARALLEL,
        }
    }
    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>> {
        self.store()?.get(name, limit)
    }
    fn get_range(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<()> {
        self.store()?.get_range(name, offset, out)
    }
    fn read_up_to(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<usize> {
        self.store()?.read_up_to(name, offset, out)
    }
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.store()?.put(name, bytes, mode)
    }
    fn put_file(&self, name: &ObjectName, path: &Path, mode: PutMode) -> Result<()> {
        self.store()?.put_file(name, path, mode)
    }
    fn len(&self, name: &ObjectName) -> Result<u64> {
        self.store()?.len(name)
    }
    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.store()?.delete(name)
    }
    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>) -> Result<()> {
        self.store()?.list(prefix, each)
    }
    fn space(&self) -> Result<Option<Space>> {
        self.store()?.space()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_comes_later_is_found_when_it_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("share");
        let later = LaterStore::new(&path);
        let name = ObjectName::vault();
        assert_eq!(later.get(&name, 9).unwrap_err().retry(), Retry::Soon);
        assert!(!path.exists(), "nothing is made where no store is");
        let options = crate::OpenOptions { create: true };
        let there = crate::open(path.to_str().unwrap(), options).unwrap();
        there.put(&name, b"header", PutMode::Create).unwrap();
        assert_eq!(later.get(&name, 9).unwrap(), b"header");
    }
}
