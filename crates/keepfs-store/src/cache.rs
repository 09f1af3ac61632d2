//! The trait of the local cache of sealed bytes, and a cache in memory.
//!
//! A cache holds what can be fetched again from the store. Its keys are opaque to it, and its contents are
//! already sealed by the caller: it neither encrypts nor verifies.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Result, StoreError};
use crate::memory::copy_range;
use crate::name::ObjectName;
use crate::store::read_local_file;

/// Longest key of a cache, in bytes.
pub const CACHE_KEY_LEN_MAX: usize = 80;

/// A bounded cache of blobs, which forgets the least recently used first. Every method may be called from
/// several threads at once.
///
/// Whatever goes wrong inside a cache costs time, never data: a `put` that fails is not reported, a blob that
/// cannot be read is a miss. Keys are 1 to [`CACHE_KEY_LEN_MAX`] bytes of printable ASCII; a blob under any
/// other key is never kept.
pub trait BlobCache: Send + Sync {
    /// Fills `out` from `offset` (bytes) on out of the blob under `key`. False, with `out` unspecified, if
    /// there is no such blob or it ends before `out` is full. An error says that the cache itself is failing
    /// (a dying disk); treat it as false, and report it.
    fn get(&self, key: &str, offset: u64, out: &mut [u8]) -> Result<bool>;

    /// Keeps `bytes` under `key`, replacing what was there; forgets others to stay within the limit. What is
    /// longer than the limit is not kept.
    fn put(&self, key: &str, bytes: &[u8]);

    /// Keeps the contents of a local file under `key`, and removes the file in any case: moved if the cache
    /// is on the same file system, else copied. Nobody may write to the file any more.
    fn put_file(&self, key: &str, path: &Path);

    /// Whether there is a blob under `key` now; does not count as a use.
    fn contains(&self, key: &str) -> bool;

    /// Forgets one blob, for example because what it held turned out to be damaged.
    fn remove(&self, key: &str);

    /// Bytes of all blobs together.
    fn len_total(&self) -> u64;

    /// Forgets everything.
    fn clear(&self);

    /// Forgets the least recently used until at least `len` bytes are gone, or all of them.
    fn give_back(&self, len: u64);

    /// The limit in bytes.
    fn limit(&self) -> u64;

    /// Changes the limit, in bytes, and forgets what no longer fits.
    fn set_limit(&self, limit: u64);
}

/// Whether a cache takes this key; for implementers.
pub fn is_cache_key(key: &str) -> bool {
    (1..=CACHE_KEY_LEN_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A cache in memory, for tests and for machines without a disk.
pub struct MemoryCache(Mutex<Blobs>);

struct Blobs {
    by_key: HashMap<String, (u64, Arc<Vec<u8>>)>,
    /// Keys by the turn of their last use: the first is the next to go.
    by_turn: BTreeMap<u64, String>,
    turn: u64,
    len_total: u64,
    limit: u64,
}

impl MemoryCache {
    /// An empty cache of at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        MemoryCache(Mutex::new(Blobs {
            by_key: HashMap::new(),
            by_turn: BTreeMap::new(),
            turn: 0,
            len_total: 0,
            limit,
        }))
    }

    fn put_bytes(&self, key: &str, bytes: Vec<u8>) {
        let mut blobs = self.0.lock();
        blobs.remove(key);
        if !is_cache_key(key) || bytes.len() as u64 > blobs.limit {
            return;
        }
        blobs.turn += 1;
        let turn = blobs.turn;
        blobs.len_total += bytes.len() as u64;
        blobs.by_turn.insert(turn, key.to_owned());
        blobs.by_key.insert(key.to_owned(), (turn, Arc::new(bytes)));
        let limit = blobs.limit;
        blobs.shrink(limit);
    }
}

impl Blobs {
    fn remove(&mut self, key: &str) {
        if let Some((turn, bytes)) = self.by_key.remove(key) {
            self.by_turn.remove(&turn);
            self.len_total -= bytes.len() as u64;
        }
    }

    fn touch(&mut self, key: &str) -> Option<Arc<Vec<u8>>> {
        self.turn += 1;
        let (turn, bytes) = self.by_key.get_mut(key)?;
        let owned = self.by_turn.remove(turn).unwrap_or_else(|| key.to_owned());
        *turn = self.turn;
        self.by_turn.insert(self.turn, owned);
        Some(bytes.clone())
    }

    fn shrink(&mut self, len_max: u64) {
        while self.len_total > len_max {
            let Some((_, key)) = self.by_turn.pop_first() else { break };
            if let Some((_, bytes)) = self.by_key.remove(&key) {
                self.len_total -= bytes.len() as u64;
            }
        }
    }
}

impl BlobCache for MemoryCache {
    fn get(&self, key: &str, offset: u64, out: &mut [u8]) -> Result<bool> {
        let found = self.0.lock().touch(key);
        Ok(found.is_some_and(|bytes| copy_range(&bytes, offset, out)))
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.put_bytes(key, bytes.to_vec());
    }

    fn put_file(&self, key: &str, path: &Path) {
        let read: Result<_, StoreError> = read_local_file(&ObjectName::vault(), path, self.limit());
        if let Ok(bytes) = read {
            self.put_bytes(key, bytes);
        }
        // A file that is already gone is as good as removed.
        let _ = std::fs::remove_file(path);
    }

    fn contains(&self, key: &str) -> bool {
        self.0.lock().by_key.contains_key(key)
    }

    fn remove(&self, key: &str) {
        self.0.lock().remove(key);
    }

    fn len_total(&self) -> u64 {
        self.0.lock().len_total
    }

    fn clear(&self) {
        let mut blobs = self.0.lock();
        blobs.by_key.clear();
        blobs.by_turn.clear();
        blobs.len_total = 0;
    }

    fn give_back(&self, len: u64) {
        let mut blobs = self.0.lock();
        let len_max = blobs.len_total.saturating_sub(len);
        blobs.shrink(len_max);
    }

    fn limit(&self) -> u64 {
        self.0.lock().limit
    }

    fn set_limit(&self, limit: u64) {
        let mut blobs = self.0.lock();
        blobs.limit = limit;
        blobs.shrink(limit);
    }
}
