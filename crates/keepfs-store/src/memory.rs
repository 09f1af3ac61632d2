//! A store in memory: the reference for every promise of the trait, and the store of most tests.
//!
//! Clones share their data, so a clone kept by a test is the store that "survives" when the code under test
//! is dropped. It can also do what only a simulated store can: lose un-synced bytes as a power cut does,
//! and be forked and rolled back as a hostile store is.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::{Result, StoreError};
use crate::memory_staging::{MemoryStaging, StagedBytes};
use crate::name::ObjectName;
use crate::staging::Staging;
use crate::store::{Capabilities, ObjectInfo, PutMode, Space, Store, read_local_file};

/// Longest object a memory store takes, in bytes.
const OBJECT_LEN_MAX: u64 = 1 << 30;

/// Room a memory store claims to have, in bytes.
const SPACE_TOTAL: u64 = 1 << 40;

/// What a memory store holds. Objects are shared, not copied, between forks and readers.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) objects: BTreeMap<ObjectName, Arc<Vec<u8>>>,
    pub(crate) staged: BTreeMap<ObjectName, Arc<StagedBytes>>,
}

/// A store in memory; clones see the same data.
#[derive(Clone)]
pub struct MemoryStore {
    contents: Arc<RwLock<Contents>>,
    staging: MemoryStaging,
    local: bool,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty local store with staging.
    pub fn new() -> Self {
        Self::with(Contents::default(), true)
    }

    /// An empty store that passes for a remote one: not local, no staging.
    pub fn remote() -> Self {
        Self::with(Contents::default(), false)
    }

    /// An independent store with the same published objects, and nothing staged. Bytes are shared.
    pub fn fork(&self) -> Self {
        let objects = self.contents.read().objects.clone();
        Self::with(Contents { objects, staged: BTreeMap::new() }, self.local)
    }

    /// Makes the published objects those of `earlier`, for everybody who shares this store.
    pub fn roll_back_to(&self, earlier: &MemoryStore) {
        let objects = earlier.contents.read().objects.clone();
        self.contents.write().objects = objects;
    }

    /// Names of all published objects, sorted.
    pub fn names(&self) -> Vec<ObjectName> {
        self.contents.read().objects.keys().cloned().collect()
    }

    /// Bytes of all published objects together.
    pub fn len_total(&self) -> u64 {
        self.contents.read().objects.values().map(|bytes| bytes.len() as u64).sum()
    }

    /// Loses what a power cut may lose: of every staged object, each write since its last sync is kept, lost
    /// or torn at a sector, as `random` decides; one that was never synced may be gone altogether. Handles
    /// from before the cut go on reading, but write into nothing and can publish nothing.
    pub fn cut_power(&self, random: &mut dyn FnMut() -> u64) {
        let mut contents = self.contents.write();
        let staged = std::mem::take(&mut contents.staged);
        for (name, bytes) in staged {
            if let Some(survivor) = bytes.after_power_cut(random) {
                contents.staged.insert(name, Arc::new(survivor));
            }
        }
    }

    fn with(contents: Contents, local: bool) -> Self {
        let contents = Arc::new(RwLock::new(contents));
        MemoryStore { staging: MemoryStaging::new(contents.clone()), contents, local }
    }

    fn object(&self, name: &ObjectName) -> Result<Arc<Vec<u8>>> {
        self.contents.read().objects.get(name).cloned().ok_or_else(|| StoreError::not_found(name))
    }

    fn put_bytes(&self, name: &ObjectName, bytes: Vec<u8>, mode: PutMode) -> Result<()> {
        let len = bytes.len() as u64;
        if len > OBJECT_LEN_MAX {
            return Err(StoreError::too_large(name, len, OBJECT_LEN_MAX));
        }
        let mut contents = self.contents.write();
        if mode == PutMode::Create && contents.objects.contains_key(name) {
            return Err(StoreError::exists(name));
        }
        contents.objects.insert(name.clone(), Arc::new(bytes));
        Ok(())
    }

    /// The listing as of now, so that no lock is held while the caller looks at it.
    fn listing(&self, prefix: &str) -> Vec<ObjectInfo> {
        let contents = self.contents.read();
        contents
            .objects
            .iter()
            .filter(|(name, _)| name.as_str().starts_with(prefix))
            .map(|(name, bytes)| ObjectInfo {
                name: name.clone(),
                len: bytes.len() as u64,
                modified_secs: None,
            })
            .collect()
    }
}

/// Copies `out.len()` bytes from `offset` on out of `bytes`; false if it ends before.
pub(crate) fn copy_range(bytes: &[u8], offset: u64, out: &mut [u8]) -> bool {
    let Ok(start) = usize::try_from(offset) else { return false };
    let Some(end) = start.checked_add(out.len()) else { return false };
    match bytes.get(start..end) {
        Some(found) => {
            out.copy_from_slice(found);
            true
        }
        None => false,
    }
}

impl Store for MemoryStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: "memory",
            local: self.local,
            create_is_atomic: true,
            object_len_max: OBJECT_LEN_MAX,
            parallel: 8,
        }
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>> {
        let bytes = self.object(name)?;
        match bytes.len() as u64 {
            len if len > limit => Err(StoreError::too_large(name, len, limit)),
            _ => Ok(bytes.to_vec()),
        }
    }

    fn get_range(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<()> {
        let bytes = self.object(name)?;
        if copy_range(&bytes, offset, out) {
            Ok(())
        } else {
            Err(StoreError::short(name, offset, out.len() as u64))
        }
    }

    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.put_bytes(name, bytes.to_vec(), mode)
    }

    fn put_file(&self, name: &ObjectName, path: &Path, mode: PutMode) -> Result<()> {
        let bytes = read_local_file(name, path, OBJECT_LEN_MAX)?;
        self.put_bytes(name, bytes, mode)
    }

    fn len(&self, name: &ObjectName) -> Result<u64> {
        Ok(self.object(name)?.len() as u64)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.contents.write().objects.remove(name);
        Ok(())
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>) -> Result<()> {
        for info in self.listing(prefix) {
            if each(info).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn space(&self) -> Result<Option<Space>> {
        let free = SPACE_TOTAL.saturating_sub(self.len_total());
        Ok(Some(Space { total: SPACE_TOTAL, free }))
    }

    fn staging(&self) -> Option<&dyn Staging> {
        if self.local { Some(&self.staging) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(first: char) -> ObjectName {
        ObjectName::immutable(&format!("{first}aaaaaaaaaaaaaaaaaaaaaaaaa")).unwrap()
    }

    #[test]
    fn clones_see_the_same_data_and_forks_do_not() {
        let store = MemoryStore::new();
        let fork = store.fork();
        store.clone().put(&name('a'), b"one", PutMode::Create).unwrap();
        assert_eq!(store.get(&name('a'), 3).unwrap(), b"one");
        assert!(fork.get(&name('a'), 3).is_err());
        store.roll_back_to(&fork);
        assert!(store.names().is_empty());
    }

    #[test]
    fn power_cut_keeps_what_was_synced_and_loses_the_rest() {
        let store = MemoryStore::new();
        let staged = store.staging().unwrap().create(&name('a')).unwrap();
        staged.write_at(0, b"kept").unwrap();
        staged.sync().unwrap();
        staged.write_at(4, b"lost").unwrap();
        store.cut_power(&mut || 0);
        let after = store.staging().unwrap().reopen(&name('a')).unwrap();
        assert_eq!(after.len().unwrap(), 4);
        assert!(staged.publish().is_err(), "a handle from before the cut publishes nothing");
        after.publish().unwrap();
        assert_eq!(store.get(&name('a'), 9).unwrap(), b"kept");
    }

    #[test]
    fn power_cut_may_keep_or_tear_unsynced_writes() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..64u64 {
            let store = MemoryStore::new();
            let staged = store.staging().unwrap().create(&name('a')).unwrap();
            staged.sync().unwrap();
            staged.write_at(0, &[7; 2048]).unwrap();
            let mut state = seed;
            store.cut_power(&mut || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                state >> 33
            });
            seen.insert(store.staging().unwrap().reopen(&name('a')).unwrap().len().unwrap());
        }
        assert!(seen.contains(&0) && seen.contains(&2048) && seen.len() > 2, "{seen:?}");
    }
}
