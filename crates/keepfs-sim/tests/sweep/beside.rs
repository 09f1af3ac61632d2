//! What stands beside a store that is not local, in memory: packs that are not on it yet, and a cache of what was read.
//! Both can be looked into and filled, which is all that they add to the real ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use keepfs_store::{
    BlobCache, MemoryStore, ObjectName, PutMode, Result, Staged, Staging, Store, StoreError, same_contents,
};
use parking_lot::Mutex;

/// Most bytes that the cache claims to hold.
const CACHE_LEN_MAX: u64 = 64 << 20;

/// A cache that can be looked into.
#[derive(Default)]
pub(crate) struct OpenCache(pub(crate) Mutex<BTreeMap<String, Vec<u8>>>);

impl BlobCache for OpenCache {
    fn get(&self, key: &str, offset: u64, out: &mut [u8]) -> Result<bool> {
        let blobs = self.0.lock();
        let start = usize::try_from(offset).unwrap();
        let found = blobs.get(key).and_then(|bytes| bytes.get(start..start.checked_add(out.len())?));
        if let Some(bytes) = found {
            out.copy_from_slice(bytes);
        }
        Ok(found.is_some())
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.0.lock().insert(key.to_owned(), bytes.to_vec());
    }

    fn put_file(&self, key: &str, path: &Path) {
        if let Ok(bytes) = std::fs::read(path) {
            self.put(key, &bytes);
        }
        let _ = std::fs::remove_file(path);
    }

    fn contains(&self, key: &str) -> bool {
        self.0.lock().contains_key(key)
    }

    fn remove(&self, key: &str) {
        self.0.lock().remove(key);
    }

    fn len_total(&self) -> u64 {
        self.0.lock().values().map(|bytes| bytes.len() as u64).sum()
    }

    fn clear(&self) {
        self.0.lock().clear();
    }

    fn give_back(&self, len: u64) {
        let mut blobs = self.0.lock();
        let mut gone = 0;
        while gone < len
            && let Some((_, bytes)) = blobs.pop_first()
        {
            gone += bytes.len() as u64;
        }
    }

    fn limit(&self) -> u64 {
        CACHE_LEN_MAX
    }

    fn set_limit(&self, _limit: u64) {}
}

/// Objects that grow in the staging of one store in memory, and are put on another when they are published.
pub(crate) struct Beside {
    pub(crate) staged: MemoryStore,
    pub(crate) store: Arc<dyn Store>,
}

impl Beside {
    fn inner(&self) -> &dyn Staging {
        self.staged.staging().unwrap()
    }

    fn handle(&self, name: &ObjectName, inner: Box<dyn Staged>) -> Box<dyn Staged> {
        let (staged, store) = (self.staged.clone(), self.store.clone());
        Box::new(Growing { name: name.clone(), inner, staged, store, is_published: Mutex::new(false) })
    }
}

impl Staging for Beside {
    fn create(&self, name: &ObjectName) -> Result<Box<dyn Staged>> {
        Ok(self.handle(name, self.inner().create(name)?))
    }

    fn reopen(&self, name: &ObjectName) -> Result<Box<dyn Staged>> {
        Ok(self.handle(name, self.inner().reopen(name)?))
    }

    fn list(&self) -> Result<Vec<ObjectName>> {
        self.inner().list()
    }

    fn discard(&self, name: &ObjectName) -> Result<()> {
        self.inner().discard(name)
    }
}

struct Growing {
    name: ObjectName,
    inner: Box<dyn Staged>,
    staged: MemoryStore,
    store: Arc<dyn Store>,
    is_published: Mutex<bool>,
}

impl Staged for Growing {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.inner.write_at(offset, bytes)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.inner.read_at(offset, out)
    }

    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn truncate(&self, len: u64) -> Result<()> {
        self.inner.truncate(len)
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn publish(&self) -> Result<()> {
        let mut is_published = self.is_published.lock();
        if *is_published {
            return Ok(());
        }
        let bytes = all_of(&*self.inner)?;
        match self.store.put(&self.name, &bytes, PutMode::Create) {
            Err(StoreError::Exists { .. }) => {
                let mut read = |offset: u64, out: &mut [u8]| self.inner.read_at(offset, out);
                if !same_contents(&*self.store, &self.name, bytes.len() as u64, &mut read)? {
                    return Err(StoreError::exists(&self.name));
                }
            }
            result => result?,
        }
        *is_published = true;
        self.staged.staging().unwrap().discard(&self.name)
    }
}

/// All bytes of an object that grows.
pub(crate) fn all_of(staged: &dyn Staged) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(staged.len()?).unwrap()];
    staged.read_at(0, &mut bytes)?;
    Ok(bytes)
}
