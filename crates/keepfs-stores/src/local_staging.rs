//! Staging for a store that is not local: objects grow in a directory of this machine, and are uploaded when
//! they are published.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keepfs_store::{
    BlobCache, ObjectName, PutMode, Result, Space, Staged, Staging, Store, StoreError, same_contents,
};
use parking_lot::Mutex;

use crate::os::{errno_of, make_directory_all, open_directory_at, store_error};
use crate::stage::{OpenHere, StageDirectory, StageFile, file_name};

/// Where less than this many bytes are free the cache gives way to what is written, unless the store is away.
const FREE_LEN_MIN: u64 = 128 << 20;

/// A staging directory beside a store.
///
/// What is published is uploaded with [`Store::put_file`] and its local file removed, or handed to a cache.
/// The handle goes on reading the local bytes until it is dropped. One directory serves one store.
pub struct LocalStaging {
    shared: Arc<Shared>,
    directory: StageDirectory,
}

struct Shared {
    path: PathBuf,
    store: Arc<dyn Store>,
    cache: Option<Arc<dyn BlobCache>>,
    /// The store did not answer when something was last put: what is cached is all that can be read.
    away: AtomicBool,
}

impl LocalStaging {
    /// Stages in `directory`, which is made if it is not there. `Io`, `Denied`, `Full` or `ReadOnly` if it
    /// cannot be used.
    pub fn new(directory: &Path, store: Arc<dyn Store>) -> Result<Self> {
        Self::open(directory, store, None)
    }

    /// The same, and the file of a published object goes to `cache` under the name of the object, so that
    /// what was just written need not be fetched to be read.
    pub fn with_cache(directory: &Path, store: Arc<dyn Store>, cache: Arc<dyn BlobCache>) -> Result<Self> {
        Self::open(directory, store, Some(cache))
    }

    fn open(path: &Path, store: Arc<dyn Store>, cache: Option<Arc<dyn BlobCache>>) -> Result<Self> {
        let doing = || format!("opening the staging directory {}", path.display());
        make_directory_all(path).map_err(|error| store_error(None, &doing(), errno_of(&error)))?;
        let directory = open_directory_at(path).map_err(|errno| store_error(None, &doing(), errno))?;
        let path =
            std::fs::canonicalize(path).map_err(|error| store_error(None, &doing(), errno_of(&error)))?;
        Ok(LocalStaging {
            shared: Arc::new(Shared { path, store, cache, away: AtomicBool::new(false) }),
            directory: StageDirectory::new(directory, OpenHere::default()),
        })
    }

    fn handle(&self, file: StageFile) -> Box<dyn Staged> {
        Box::new(LocalStaged { shared: self.shared.clone(), file, publishing: Mutex::new(()) })
    }
}

impl Staging for LocalStaging {
    fn create(&self, name: &ObjectName) -> Result<Box<dyn Staged>> {
        Ok(self.handle(self.directory.create(name)?))
    }

    fn reopen(&self, name: &ObjectName) -> Result<Box<dyn Staged>> {
        Ok(self.handle(self.directory.reopen(name)?))
    }

    fn list(&self) -> Result<Vec<ObjectName>> {
        self.directory.list()
    }

    fn discard(&self, name: &ObjectName) -> Result<()> {
        self.directory.discard(name)
    }

    fn space(&self) -> Result<Option<Space>> {
        let mut space = self.directory.space()?;
        if let Some(cache) = self.shared.cache.as_ref().filter(|cache| cache.len_total() > 0)
            && space.free < FREE_LEN_MIN
            && !self.shared.away.load(Ordering::Relaxed)
        {
            cache.give_back(FREE_LEN_MIN - space.free);
            space = self.directory.space()?;
        }
        Ok(Some(space))
    }
}

/// An object growing in the staging directory.
struct LocalStaged {
    shared: Arc<Shared>,
    file: StageFile,
    /// One publication at a time.
    publishing: Mutex<()>,
}

impl LocalStaged {
    /// Uploads the file. An upload whose answer was lost, or that a crash cut off from its consequences, is
    /// recognised by its contents.
    fn upload(&self, path: &Path) -> Result<()> {
        let name = self.file.name();
        let store = &*self.shared.store;
        let put = store.put_file(name, path, PutMode::Create);
        self.shared.away.store(matches!(put, Err(StoreError::Unavailable { .. })), Ordering::Relaxed);
        match put {
            Err(StoreError::Exists { .. }) => {
                let mut read = |offset: u64, out: &mut [u8]| self.file.read_at(offset, out);
                match same_contents(store, name, self.file.len()?, &mut read)? {
                    true => Ok(()),
                    false => Err(StoreError::exists(name)),
                }
            }
            result => result,
        }
    }
}

impl Staged for LocalStaged {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.file.read_at(offset, out)
    }

    fn len(&self) -> Result<u64> {
        self.file.len()
    }

    fn truncate(&self, len: u64) -> Result<()> {
        self.file.truncate(len)
    }

    fn sync(&self) -> Result<()> {
        self.file.sync()
    }

    fn publish(&self) -> Result<()> {
        let _one_at_a_time = self.publishing.lock();
        if self.file.is_closed() {
            return Ok(());
        }
        self.file.trim()?;
        let name = self.file.name();
        let path = self.shared.path.join(file_name(name));
        self.upload(&path)?;
        self.file.close();
        match &self.shared.cache {
            Some(cache) => cache.put_file(name.as_str(), &path),
            // A file that cannot be removed is found again at the next start, and published to no effect.
            None => {
                let _ = self.file.directory().remove(name);
            }
        }
        Ok(())
    }
}
